"""The limits that bind a caller, as frozen values read with the caller."""

from __future__ import annotations

from django.db.models import Q
from msgspec import Struct

from tenants.models import ApiKey, RateLimit

WINDOW_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400, "": 0}


class Limit(Struct, frozen=True):
    """At most `amount` per `seconds` (0: at the same time). `name`, the bucket's: who and what it counts."""

    name: str
    metric: str
    amount: int
    seconds: int


def of_key(key: ApiKey) -> tuple[Limit, ...]:
    """Those of the key and of its tenant."""
    rows = RateLimit.objects.filter(Q(api_key=None) | Q(api_key=key), tenant=key.tenant_id)
    return tuple(_limit(row) for row in rows.order_by("pk"))


def _limit(row: RateLimit) -> Limit:
    owner = f"key:{row.api_key_id}" if row.api_key_id is not None else f"tenant:{row.tenant_id}"
    return Limit(
        f"{owner}:{row.metric}:{row.window}", row.metric, row.amount, WINDOW_SECONDS[row.window]
    )
