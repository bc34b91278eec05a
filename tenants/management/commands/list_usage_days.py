"""list_usage_days: the usage days there are."""

from __future__ import annotations

from tenants.api.use import DayRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = DayRows
    columns = (
        "starts_at",
        "tenant",
        "key_public_id",
        "alias",
        "provider",
        "upstream_model",
        "requests",
        "charge_nano",
    )
