"""Sums by hour and day (UTC), recomputed from the ledger's rows wherever those changed.

Who recomputes holds a lock, takes away the marks it sees, and only then reads the rows. A mark is written
with its rows, so what it stood for is seen; rows that come meanwhile bring marks of their own. A failure
leaves everything as it was, and doing it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Max, Min

from tenants.billing.instants import ceil_day, floor_day, floor_hour
from tenants.models import DirtyHour, RetentionHorizon, UsageDay, UsageHour, UsageRow
from tenants.token_classes import TOKEN_CLASSES

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MARKS_AT_ONCE = 2_000
_LOCK = 0x70116A7E  # of PostgreSQL's advisory locks, this is ours; SQLite has one writer anyway

_SUBJECT = ("key_public_id", "alias", "provider", "upstream_model")
_AMOUNTS = ("cost_nano", "charge_nano", "unfunded_nano")
_COUNTS = ("calls", "failed", "estimated", "unpriced")
_SUMMED = (*_COUNTS, *TOKEN_CLASSES, *_AMOUNTS)
# What the counts of a row are; a correction is no call.
_IS = {
    "calls": "status <> 'correction'",
    "failed": "status = 'failed'",
    "estimated": "usage_source IN ('counted', 'reserved') AND status <> 'correction'",
    "unpriced": "charge_version IS NULL AND status <> 'correction'",
}


def recompute_dirty(limit: int = MARKS_AT_ONCE) -> int:
    """Bring the sums of marked hours up to date, for at most `limit` marks; how many marks that were."""
    if not DirtyHour.objects.exists():
        return 0
    with transaction.atomic():
        _lock()
        marks = list(
            DirtyHour.objects.order_by("hour", "tenant_id").values_list("pk", "tenant_id", "hour")[
                :limit
            ]
        )
        DirtyHour.objects.filter(pk__in=[pk for pk, _, _ in marks]).delete()
        hours = {(tenant, floor_hour(hour)) for _, tenant, hour in marks}
        for tenant, hour in sorted(hours):
            _sum_hours(hour, hour + HOUR, tenant)
        for tenant, day in sorted({(tenant, floor_day(hour)) for tenant, hour in hours}):
            _sum_days(day, day + DAY, tenant)
    return len(marks)


def rebuild(start: datetime | None = None, end: datetime | None = None) -> int:
    """Recompute all sums of the days from `start` until `end`, whatever is in them; how many days that were.

    Days whose rows may have been deleted keep their sums, which are all that is left of them.
    """
    days = list(_days(start, end))
    for day in days:
        with transaction.atomic():
            _lock()
            DirtyHour.objects.filter(hour__gte=day, hour__lt=day + DAY).delete()
            _sum_hours(day, day + DAY)
            _sum_days(day, day + DAY)
    return len(days)


def _days(start: datetime | None, end: datetime | None) -> Iterator[datetime]:
    known = [*_reach(UsageRow, "opened_at"), *_reach(UsageHour, "starts_at")]
    if not known:
        return
    day = floor_day(start or min(known))
    horizon = RetentionHorizon.objects.filter(table="usage").first()
    if horizon is not None:
        day = max(day, ceil_day(horizon.before))
    until = ceil_day(end) if end else max(known) + timedelta(microseconds=1)
    while day < until:
        yield day
        day += DAY


def _reach(model: type[UsageRow | UsageHour], column: str) -> Iterable[datetime]:
    found = model._default_manager.aggregate(first=Min(column), last=Max(column))
    return [instant for instant in found.values() if instant is not None]


def _lock() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _sum_hours(start: datetime, end: datetime, tenant: int | None = None) -> None:
    sums = [f"SUM(CASE WHEN {_IS[name]} THEN 1 ELSE 0 END)" for name in _COUNTS]
    sums += [f"SUM({name})" for name in (*TOKEN_CLASSES, *_AMOUNTS)]
    _replace(UsageHour, UsageRow, "opened_at", "hour", sums, (start, end), tenant)


def _sum_days(start: datetime, end: datetime, tenant: int | None = None) -> None:
    sums = [f"SUM({name})" for name in _SUMMED]
    _replace(UsageDay, UsageHour, "starts_at", "day", sums, (start, end), tenant)


def _replace(
    target: type[UsageHour | UsageDay],
    source: type[UsageRow | UsageHour],
    column: str,
    unit: str,
    sums: list[str],
    span: tuple[datetime, datetime],
    tenant: int | None,
) -> None:
    """Delete the sums of a span and insert those that its rows make, within the database."""
    start, end = span
    old = target._default_manager.filter(starts_at__gte=start, starts_at__lt=end)
    old = old if tenant is None else old.filter(tenant_id=tenant)
    old.delete()
    subject = ", ".join(_SUBJECT)
    of_tenant = "" if tenant is None else " AND tenant_id = %s"
    since = _truncated(column, unit)
    # Names of columns only, all of them constants of this module.
    query = (
        f"INSERT INTO {target._meta.db_table} "  # noqa: S608
        f"(tenant_id, starts_at, {subject}, {', '.join(_SUMMED)}) "
        f"SELECT tenant_id, {since}, {subject}, {', '.join(sums)} FROM {source._meta.db_table} "
        f"WHERE {column} >= %s AND {column} < %s{of_tenant} "
        f"GROUP BY tenant_id, {since}, {subject}"
    )
    adapt = connection.ops.adapt_datetimefield_value
    parameters = [adapt(start), adapt(end), *([] if tenant is None else [tenant])]
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)


def _truncated(column: str, unit: str) -> str:
    """The beginning of the hour or day an instant is in. SQLite keeps instants as text in UTC."""
    if connection.vendor == "postgresql":
        return f"date_trunc('{unit}', {column}, 'UTC')"
    if unit == "hour":
        return f"substr({column}, 1, 13) || ':00:00'"
    return f"substr({column}, 1, 10) || ' 00:00:00'"
