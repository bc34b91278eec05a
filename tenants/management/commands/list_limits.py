"""list_limits: the limits there are."""

from __future__ import annotations

from tenants.api.money import LimitRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = LimitRows
    columns = ("tenant", "api_key", "metric", "window", "amount")
