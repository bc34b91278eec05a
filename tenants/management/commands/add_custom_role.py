"""add_custom_role: a new custom role."""

from __future__ import annotations

from tenants.api.people import RoleRows
from tenants.management.rows import AddRow


class Command(AddRow):
    rows = RoleRows
