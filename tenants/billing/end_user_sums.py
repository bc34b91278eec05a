"""Sum usage by hour and day (UTC) and end user, over all keys and models, of those who used most.

Clients name their end users, and may name a million: of each hour and each day of a tenant at most TOLD_APART
have a sum of their own, and all others one together, whose `end_user` is NULL. All sums of an hour add up to
its rows whoever is named. They name people, so they go when the rows do, and of a tenant that is deleted none
are made. Whoever sums holds the lock of rollups.py.
"""

from __future__ import annotations

from datetime import datetime

from django.db import connection

from tenants.billing import sum_sql
from tenants.billing.sum_sql import COUNTS, QUANTITIES, SumSpan
from tenants.models import EndUserDay, EndUserHour, TenantDeletion, UsageRow
from tenants.models.rollups import EndUserSum
from tenants.token_classes import TOKEN_CLASSES

TOLD_APART = 1_000
_SUMMED = (*COUNTS, *QUANTITIES)
# The order of reports, the largest first; who is not named comes before, and those who are together behind.
_ORDER = (
    "CASE WHEN end_user = '' THEN 0 WHEN end_user IS NULL THEN 2 ELSE 1 END, charge_nano DESC, "
    f"{' + '.join(TOKEN_CLASSES)} DESC, requests DESC, end_user"
)


def sum_hours(span: SumSpan) -> None:
    """Sum the hours of a span from their rows."""
    sums = [
        *(f"SUM({sum_sql.number(name)}) AS {name}" for name in COUNTS),
        *(f"SUM({sum_sql.quantity(name)}) AS {name}" for name in QUANTITIES),
    ]
    hour = sum_sql.truncated("opened_at", "hour")
    _replace(EndUserHour, (UsageRow._meta.db_table, "opened_at", hour), sums, span)


def sum_days(span: SumSpan) -> None:
    """Sum the days of a span from their hours."""
    sums = [f"SUM({name}) AS {name}" for name in _SUMMED]
    day = sum_sql.truncated("starts_at", "day")
    _replace(EndUserDay, (EndUserHour._meta.db_table, "starts_at", day), sums, span)


def delete_before(horizon: datetime, limit: int) -> int:
    """Delete some of the oldest sums of days whose rows may be gone; return how many."""
    count = 0
    for model in (EndUserHour, EndUserDay):
        old = model.objects.filter(starts_at__lt=horizon).order_by("starts_at")
        some = model.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:limit]))
        count += some.delete()[0]
    return count


def _replace(
    target: type[EndUserSum], source: tuple[str, str, str], sums: list[str], span: SumSpan
) -> None:
    """Delete the sums of a span and insert those of the source: a table, its column of time, and what that is
    truncated to."""
    sum_sql.delete(target, span)
    table, column, truncated = source
    chosen, parameters = span.condition(column)
    names = ", ".join(_SUMMED)
    added = ", ".join(f"SUM({name})" for name in _SUMMED)
    # Names of columns and tables only, all of them constants of this package.
    query = (
        f"INSERT INTO {target._meta.db_table} (tenant_id, starts_at, end_user, {names}) "  # noqa: S608
        f"WITH s AS (SELECT tenant_id, {truncated} AS starts_at, end_user, {', '.join(sums)} FROM {table} "
        f"WHERE {chosen} AND tenant_id NOT IN (SELECT tenant_id FROM {TenantDeletion._meta.db_table}) "
        f"GROUP BY 1, 2, 3), "
        f"r AS (SELECT s.*, ROW_NUMBER() OVER (PARTITION BY tenant_id, starts_at ORDER BY {_ORDER}) AS place "
        f"FROM s) "
        f"SELECT tenant_id, starts_at, CASE WHEN place <= {TOLD_APART:d} THEN end_user END, {added} "
        f"FROM r GROUP BY 1, 2, 3"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
