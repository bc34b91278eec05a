"""Tell of tenants what their list shows: keys in use, members, and what this month has been charged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum

from gateway_project.lib import clock
from tenants.billing.instants import ceil_hour, month_of
from tenants.models import ApiKey, Membership, ModelHour, Tenant, UsageRow


@dataclass(frozen=True, slots=True)
class TenantFigures:
    """A tenant's keys that are not revoked or expired, its members, and the charge of the month that runs
    in its zone, in nano-dollars and as of the last sums."""

    keys: int
    members: int
    month_starts_at: datetime
    charge_nano: int


def figures(tenants: Sequence[Tenant]) -> dict[int, TenantFigures]:
    """Return the figures of each of these tenants: four queries at most."""
    now, ids = clock.now(), [tenant.pk for tenant in tenants]
    starts = {tenant.pk: month_of(now, tenant.time_zone)[0] for tenant in tenants}
    live = ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
    keys = _by_tenant(live.filter(tenant__in=ids))
    members = _by_tenant(Membership.objects.filter(tenant__in=ids))
    charges = _charges(starts)
    return {
        pk: TenantFigures(keys.get(pk, 0), members.get(pk, 0), start, charges.get(pk, 0))
        for pk, start in starts.items()
    }


def _by_tenant(rows: QuerySet[Any]) -> dict[int, int]:
    return dict(rows.order_by().values_list("tenant").annotate(Count("pk")))


def _charges(starts: dict[int, datetime]) -> dict[int, int]:
    """Return the charge of each tenant since its instant: of whole hours, and of rows where it cuts one."""
    by_start: dict[datetime, list[int]] = {}
    for pk, start in starts.items():
        by_start.setdefault(start, []).append(pk)
    hours, cut = Q(pk__in=()), Q(pk__in=())
    is_cut = False
    for start, sharing in by_start.items():
        first = ceil_hour(start)
        hours |= Q(tenant__in=sharing, starts_at__gte=first)
        if first != start:
            is_cut = True
            cut |= Q(tenant__in=sharing, opened_at__gte=start, opened_at__lt=first)
    found: dict[int, int] = {}
    summed = ModelHour.objects.filter(hours).order_by().values_list("tenant")
    parts: list[QuerySet[Any, Any]] = [summed.annotate(Sum("charge_nano"))]
    if is_cut:
        rows = UsageRow.objects.filter(cut).order_by().values_list("tenant_id")
        parts.append(rows.annotate(Sum("charge_nano")))
    for part in parts:
        for pk, nano in part:
            found[pk] = found.get(pk, 0) + nano
    return found
