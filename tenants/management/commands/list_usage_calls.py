"""list_usage_calls: the usage calls there are."""

from __future__ import annotations

from tenants.api.use import UsageRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = UsageRows
    columns = (
        "opened_at",
        "tenant",
        "key_public_id",
        "alias",
        "provider",
        "upstream_model",
        "status",
        "charge_nano",
    )
