"""set_tenant: other values for a tenant."""

from __future__ import annotations

from tenants.api.accounts import TenantRows
from tenants.management.rows import SetRow


class Command(SetRow):
    rows = TenantRows
