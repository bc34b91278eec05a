"""remove_custom_role: a custom role goes."""

from __future__ import annotations

from tenants.api.people import RoleRows
from tenants.management.rows import RemoveRow


class Command(RemoveRow):
    rows = RoleRows
