"""set_custom_role: other values for a custom role."""

from __future__ import annotations

from tenants.api.people import RoleRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = RoleRows
