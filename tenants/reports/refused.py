"""Count the requests that budgets and rate limits refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db.models import Sum

from gateway_project.lib import clock
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.models import Budget, RateLimit, RefusalHour

# Further back, refusals are not counted by the hour of a bound: nobody looks at such a page for that.
FURTHEST = timedelta(days=35)


def of_budgets(who: Access, budgets: Sequence[tuple[Budget, datetime | None]]) -> dict[int, int]:
    """Return how often each budget's key, or tenant, was refused for want of budget since an instant.

    Those whose usage they may not view are left out.
    """
    since = {budget.pk: at for budget, at in budgets}
    return _count(who, [budget for budget, _at in budgets], "insufficient_quota", since)


def of_limits(who: Access, limits: Sequence[RateLimit]) -> dict[int, int]:
    """Return how often each limit's key, or tenant, went too fast in the last 24 hours."""
    day_ago = clock.now() - timedelta(hours=24)
    return _count(
        who, limits, "rate_limit_exceeded", dict.fromkeys((b.pk for b in limits), day_ago)
    )


def _count(
    who: Access,
    bounds: Iterable[Budget] | Iterable[RateLimit],
    code: str,
    since: dict[int, datetime | None],
) -> dict[int, int]:
    seen = [each for each in bounds if who.may("view", Area.USAGE, each.tenant_id)]
    if not seen:
        return {}
    furthest = clock.now() - FURTHEST
    starts = {each.pk: _hour(max(since[each.pk] or furthest, furthest)) for each in seen}
    rows = RefusalHour.objects.filter(
        tenant__in={each.tenant_id for each in seen},
        starts_at__gte=min(starts.values()),
        code=code,
    )
    sums = rows.order_by().values_list("tenant", "key_public_id", "starts_at")
    hours = list(sums.annotate(sum=Sum("refusals")))
    found = {}
    for each in seen:
        key = each.api_key.public_id if each.api_key is not None else None
        found[each.pk] = sum(
            refusals
            for tenant, public_id, at, refusals in hours
            if tenant == each.tenant_id
            and at >= starts[each.pk]
            and (key is None or key == public_id)
        )
    return found


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
