"""Sum usage by hour and day (UTC) and model, over all keys, with how long calls took.

Whoever sums holds the lock of rollups.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection

from tenants.billing import histograms, sum_sql
from tenants.billing.sum_sql import COUNTS, ENDINGS, QUANTITIES, SumSpan
from tenants.models import ModelDay, ModelHour, UsageHour, UsageRow

SUBJECT = ("alias", "provider", "upstream_model")
_SUMMED = (*COUNTS, *ENDINGS, *QUANTITIES, *histograms.ALL_COLUMNS)
_KEY = ", ".join(("tenant_id", "starts_at", *SUBJECT))


def sum_hours(span: SumSpan) -> None:
    """Sum the hours of a span from their rows."""
    counted = [f"SUM({sum_sql.number(name)})" for name in (*COUNTS, *ENDINGS)]
    quantities = [f"SUM({sum_sql.quantity(name)})" for name in QUANTITIES]
    sums = [*counted, *quantities, *histograms.of_rows()]
    hour = sum_sql.truncated("opened_at", "hour")
    sum_sql.delete(ModelHour, span)
    _insert(ModelHour, UsageRow, ("opened_at", hour), sums, _SUMMED, span)


def sum_days(span: SumSpan) -> None:
    """Sum the days of a span from their hours."""
    sums = [f"SUM({name})" for name in _SUMMED]
    day = sum_sql.truncated("starts_at", "day")
    sum_sql.delete(ModelDay, span)
    _insert(ModelDay, ModelHour, ("starts_at", day), sums, _SUMMED, span)


def sum_hours_of_keys(span: SumSpan) -> None:
    """Sum the hours of a span from sums by key, where rows are gone. How long calls took is not in those."""
    names = (*COUNTS, *QUANTITIES)
    sums = [*(f"SUM({name})" for name in names), *("0" for _ in ENDINGS)]
    sum_sql.delete(ModelHour, span)
    _insert(ModelHour, UsageHour, ("starts_at", "starts_at"), sums, (*names, *ENDINGS), span)


def _insert(
    target: type[ModelHour | ModelDay],
    source: type[UsageRow | UsageHour | ModelHour],
    instant: tuple[str, str],
    sums: Sequence[str],
    names: Sequence[str],
    span: SumSpan,
) -> None:
    """Insert the sums of a span. `instant` is the column it is chosen by, and what that is truncated to."""
    # Names of columns and tables only, all of them constants of this package.
    column, truncated = instant
    chosen, parameters = span.condition(column)
    subject = ", ".join(("tenant_id", truncated, *SUBJECT))
    query = (
        f"INSERT INTO {target._meta.db_table} ({_KEY}, {', '.join(names)}) "  # noqa: S608
        f"SELECT {subject}, {', '.join(sums)} FROM {source._meta.db_table} "
        f"WHERE {chosen} GROUP BY 1, 2, 3, 4, 5"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
