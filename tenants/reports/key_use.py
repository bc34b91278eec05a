"""Tell how keys were used: by day, and what a call of each alias costs on average."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from django.db.models import Sum

from gateway_project.lib import clock
from tenants.models import ApiKey, UsageDay

DAYS = 30
DAY = timedelta(days=1)
MOST_ALIASES = 50


@dataclass(frozen=True, slots=True)
class DayOfKey:
    """The use of a key on one day (UTC)."""

    starts_at: datetime
    requests: int
    failed: int
    charge_nano: int


def days_of(key: ApiKey) -> list[DayOfKey]:
    """Return the last thirty days of a key, the oldest first, those without use among them."""
    first = _today() - (DAYS - 1) * DAY
    rows = UsageDay.objects.filter(
        tenant=key.tenant_id, key_public_id=key.public_id, starts_at__gte=first
    )
    sums = rows.order_by().values_list("starts_at")
    found = {
        at: DayOfKey(at, requests, failed, charge)
        for at, requests, failed, charge in sums.annotate(
            Sum("requests"), Sum("failed"), Sum("charge_nano")
        )
    }
    days = (first + number * DAY for number in range(DAYS))
    return [found.get(day, DayOfKey(day, 0, 0, 0)) for day in days]


def mean_charges(tenant_id: int) -> dict[str, int]:
    """Return what a request of each alias was charged on average in the last thirty days, in nano-dollars:
    those used most come first.
    """
    rows = UsageDay.objects.filter(tenant=tenant_id, starts_at__gte=_today() - DAYS * DAY)
    sums = (
        rows.order_by().values_list("alias").annotate(asked=Sum("requests"), sum=Sum("charge_nano"))
    )
    used = sums.filter(asked__gt=0, sum__gt=0).order_by("-asked", "alias")[:MOST_ALIASES]
    return {alias: max(charge // asked, 1) for alias, asked, charge in used}


def _today() -> datetime:
    return datetime.combine(clock.now().astimezone(UTC).date(), time(), UTC)
