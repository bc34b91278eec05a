"""list_custom_roles: the custom roles there are."""

from __future__ import annotations

from tenants.api.people import RoleRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = RoleRows
    columns = ("tenant", "name", "permissions")
