"""Replace sums of a span by those that its rows make, within the database: the SQL that all sums share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Model

from tenants.token_classes import TOKEN_CLASSES

AMOUNTS = ("cost_nano", "charge_nano", "unfunded_nano", "saved_nano")
QUANTITIES = (*TOKEN_CLASSES, *AMOUNTS)
HIT = "cache_outcome = 'hit'"
# What the counts of a row are; a correction is no call. A request has a first call, whatever follows it, so
# that requests add up over every grouping.
IS = {
    "requests": "leg = 0 AND status <> 'correction'",
    "calls": "status <> 'correction'",
    "failed": "status = 'failed'",
    "absorbed": "absorbed AND status <> 'correction'",
    "estimated": "usage_source IN ('counted', 'reserved') AND status <> 'correction'",
    "unpriced": "charge_version IS NULL AND status <> 'correction'",
    "hits": f"{HIT} AND status <> 'correction'",
    "incomplete": "status = 'incomplete'",
    "client_gone": "status = 'client_gone'",
    "cancelled": "status = 'cancelled'",
    "abandoned": "status = 'abandoned'",
}
COUNTS = ("requests", "calls", "failed", "absorbed", "estimated", "unpriced", "hits")
ENDINGS = ("incomplete", "client_gone", "cancelled", "abandoned")


@dataclass(frozen=True, slots=True)
class SumSpan:
    """From `start` until `end`, of these tenants; None: of all."""

    start: datetime
    end: datetime
    tenants: Sequence[int] | None = None

    def condition(self, column: str) -> tuple[str, list[Any]]:
        """Return the SQL of what lies in the span by this column, and its parameters."""
        adapt = connection.ops.adapt_datetimefield_value
        bounds: list[Any] = [adapt(self.start), adapt(self.end)]
        within = f"{column} >= %s AND {column} < %s"
        if self.tenants is None:
            return within, bounds
        places = ", ".join(["%s"] * len(self.tenants))
        return f"{within} AND tenant_id IN ({places})", [*bounds, *self.tenants]


def number(name: str) -> str:
    """Return SQL for a row of the ledger that is 1 if it counts as this, and else 0."""
    return f"CASE WHEN {IS[name]} THEN 1 ELSE 0 END"


def quantity(expression: str) -> str:
    """Return SQL for tokens or an amount of a row of the ledger. An answer from the response cache has the
    tokens of the answer that was kept, which no model read or wrote again."""
    return expression if expression in AMOUNTS else f"CASE WHEN {HIT} THEN 0 ELSE {expression} END"


def delete(target: type[Model], span: SumSpan) -> None:
    """Delete the sums of a span."""
    chosen, parameters = span.condition("starts_at")
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {target._meta.db_table} WHERE {chosen}", parameters)  # noqa: S608


def truncated(column: str, unit: str) -> str:
    """Truncate an instant to its hour or day. SQLite keeps instants as text in UTC."""
    if connection.vendor == "postgresql":
        return f"date_trunc('{unit}', {column}, 'UTC')"
    if unit == "hour":
        return f"substr({column}, 1, 13) || ':00:00'"
    return f"substr({column}, 1, 10) || ' 00:00:00'"
