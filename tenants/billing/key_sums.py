"""Sum usage by day (UTC) and key, over all models: an eighth of the rows that sums by key and model have.

Whoever sums holds the lock of rollups.py.
"""

from __future__ import annotations

from django.db import connection

from tenants.billing import sum_sql
from tenants.billing.sum_sql import COUNTS, QUANTITIES, SumSpan
from tenants.models import KeyDay, UsageDay

_SUBJECT = "tenant_id, starts_at, key_public_id"
_SUMMED = (*COUNTS, *QUANTITIES)


def sum_days(span: SumSpan) -> None:
    """Sum the days of a span from those by key and model."""
    sum_sql.delete(KeyDay, span)
    chosen, parameters = span.condition("starts_at")
    sums = ", ".join(f"SUM({name})" for name in _SUMMED)
    # Names of columns and tables only, all of them constants of this package.
    query = (
        f"INSERT INTO {KeyDay._meta.db_table} ({_SUBJECT}, {', '.join(_SUMMED)}) "  # noqa: S608
        f"SELECT {_SUBJECT}, {sums} FROM {UsageDay._meta.db_table} WHERE {chosen} GROUP BY {_SUBJECT}"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
