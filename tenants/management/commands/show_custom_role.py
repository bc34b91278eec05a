"""show_custom_role: one custom role in whole."""

from __future__ import annotations

from tenants.api.people import RoleRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = RoleRows
