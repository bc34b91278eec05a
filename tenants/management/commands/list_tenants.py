"""list_tenants: the tenants there are."""

from __future__ import annotations

from tenants.api.accounts import TenantRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = TenantRows
    columns = ("slug", "name", "status", "time_zone", "created_at")
