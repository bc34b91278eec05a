"""Say how far reports reach: up to when the ledger knows every call, and from when on there are sums."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection

from tenants.models import DirtyHour, RetentionHorizon, SpoolPosition, SumsBackfill

LAG_TOLERATED = timedelta(minutes=1)
# So many marks are summed in one go (tenants/billing/rollups.py); more stand for a backlog.
MARKS_OF_A_BACKLOG = 2_000


@dataclass(frozen=True, slots=True)
class Freshness:
    """`as_of`: the ledger has every call opened before. `sums_from`: there are no sums by model of earlier
    rows yet, because they are still being computed; None: there are all. `end_users_from`: those by end
    user likewise. `unsummed`: marks of hours that wait to be summed, counted up to MARKS_OF_A_BACKLOG.
    `kept_from`: earlier rows may be gone."""

    as_of: datetime
    sums_from: datetime | None = None
    unsummed: int = 0
    kept_from: datetime | None = None
    end_users_from: datetime | None = None

    def lag(self, now: datetime) -> timedelta:
        return now - self.as_of

    def is_behind(self, now: datetime) -> bool:
        return self.lag(now) > LAG_TOLERATED or self.unsummed >= MARKS_OF_A_BACKLOG


def freshness(now: datetime) -> Freshness:
    """Read it, by one query. Where no process writes calls, nothing is missing."""
    marks, backfill = DirtyHour._meta.db_table, SumsBackfill._meta.db_table
    query = (
        f"SELECT (SELECT MIN(watermark_at) FROM {SpoolPosition._meta.db_table} WHERE NOT is_done), "  # noqa: S608
        f"(SELECT MIN(reached) FROM {backfill} WHERE sums = 'model'), "
        f"(SELECT COUNT(*) FROM (SELECT 1 FROM {marks} LIMIT {MARKS_OF_A_BACKLOG}) m), "
        f"(SELECT before FROM {RetentionHorizon._meta.db_table} WHERE \"table\" = 'usage'), "
        f"(SELECT MIN(reached) FROM {backfill} WHERE sums = 'end_user')"
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        watermark, reached, unsummed, before, of_users = cursor.fetchone()
    as_of = min(now, instant(watermark) or now)
    return Freshness(as_of, instant(reached), unsummed, instant(before), instant(of_users))


def instant(value: str | datetime | None) -> datetime | None:
    """Return what the database gave; SQLite has texts, in UTC."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)
