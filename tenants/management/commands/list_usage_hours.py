"""list_usage_hours: the usage hours there are."""

from __future__ import annotations

from tenants.api.use import HourRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = HourRows
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
