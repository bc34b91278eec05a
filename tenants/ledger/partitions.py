"""Partition the ledger's table on PostgreSQL: months are made ahead of time and dropped whole.

Rows are divided by their ids, which begin with the time. Besides the months there are two partitions
without an end: `before` holds everything older than the first month, and `default` what no other
partition takes, so that a row never lacks a place. SQLite has none of this: one table, from which rows
are deleted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.db import OperationalError, connection, transaction

from gateway_project.lib import clock, ids
from tenants.billing.instants import month_of
from tenants.models import RetentionHorizon, UsageRow

T = TypeVar("T")
logger = logging.getLogger("tollgate.ledger")

TABLE = UsageRow._meta.db_table
DEFAULT = f"{TABLE}_default"
MONTHS_AHEAD = 3
# While we wait for the table, everybody who comes later waits behind us.
LOCK_TIMEOUT = "1s"
_LOCK = 0x70116A7F  # of PostgreSQL's advisory locks
_BOUNDS = re.compile(r"FROM \((.+?)\) TO \((.+?)\)")


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition with ids from `first` on, below `end`. `before` has no `first`, `default` neither of
    them.
    """

    name: str
    first: UUID | None
    end: UUID | None

    @property
    def is_month(self) -> bool:
        return self.first is not None


# Bounds are read as of now and not as of this statement: one dropped meanwhile has none.
BOUNDS_SQL = (
    "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i "  # noqa: S608
    f"JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = '{TABLE}'::regclass"
)
OF_DEFAULT_SQL = f'SELECT 1 FROM "{DEFAULT}" LIMIT 1'  # noqa: S608


def in_order() -> list[Partition]:
    """Return the partitions by time, the default one first; empty if the table has none."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(BOUNDS_SQL)
        return ordered(cursor.fetchall())


def ordered(bounds: Iterable[tuple[str | None, ...]]) -> list[Partition]:
    """Return what BOUNDS_SQL found, by time."""
    found = [_partition(name, text) for name, text in bounds if name and text]
    return sorted(found, key=lambda one: (one.end is not None, one.end))


def missing_months(
    now: datetime, ahead: int = MONTHS_AHEAD, among: Sequence[Partition] | None = None
) -> list[datetime]:
    """Return the beginnings of months without a partition, up to so many months after this one."""
    existing = in_order() if among is None else among
    ends = [one.end for one in existing if one.end is not None]
    if not ends:
        return []
    last, _ = month_of(now, "UTC")
    for _ in range(ahead):
        _, last = month_of(last, "UTC")
    month, missing = _instant(max(ends)), []
    while month <= last:
        missing.append(month)
        _, month = month_of(month, "UTC")
    return missing


def make_ahead() -> Iterator[None]:
    """Make the partitions of the coming months: the periodic job."""
    for month in missing_months(clock.now()):
        if not attempt(partial(make, month)):
            return  # the next turn, or whoever is at it, makes the rest
        logger.info("the ledger has a partition for %s", f"{month:%Y-%m}")
        yield


def make(month: datetime) -> bool:
    """Make the partition of the first month that has none, and move there what the default one has of it.
    Return False if it is another's turn: it was made meanwhile, or somebody is at it."""
    name = f"{TABLE}_{month:%Y_%m}"
    first, end = (ids.first_uuid7(at) for at in month_of(month, "UTC"))
    with transaction.atomic(), connection.cursor() as cursor:
        if not _is_ours(cursor) or missing_months(month, 0) != [month]:
            return False
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        # Attached afterwards, because that lets others read and write the table meanwhile.
        cursor.execute(f'CREATE TABLE "{name}" (LIKE "{TABLE}" INCLUDING ALL)')
        _move_from_default(name, first, end)
        cursor.execute(
            f'ALTER TABLE "{TABLE}" ATTACH PARTITION "{name}" '
            f"FOR VALUES FROM ('{first}') TO ('{end}')"
        )
    return True


def _move_from_default(name: str, first: UUID, end: UUID) -> None:
    """Move rows from the default partition, where they are only if nobody made this one in time."""
    span = f"WHERE id >= '{first}' AND id < '{end}'"
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT EXISTS (SELECT 1 FROM "{DEFAULT}" {span})')  # noqa: S608
        if not cursor.fetchone()[0]:
            return
        cursor.execute(f'LOCK TABLE "{DEFAULT}" IN ACCESS EXCLUSIVE MODE')
        names = ", ".join(f'"{column}"' for column in _columns())
        cursor.execute(f'INSERT INTO "{name}" ({names}) SELECT {names} FROM "{DEFAULT}" {span}')  # noqa: S608
        # Nothing is lost by this deletion, which the ledger's trigger would refuse.
        cursor.execute(f'ALTER TABLE "{DEFAULT}" DISABLE TRIGGER USER')
        cursor.execute(f'DELETE FROM "{DEFAULT}" {span}')  # noqa: S608
        cursor.execute(f'ALTER TABLE "{DEFAULT}" ENABLE TRIGGER USER')


def drop_before(horizon: datetime, least_rows: int) -> str | None:
    """Drop a month all of whose rows are from before then, or empty an endless partition that is all that
    old.

    Return its name, or None if there is none, or another process is doing it. Raise OperationalError if
    the table stays busy.
    """
    if connection.vendor != "postgresql":
        return None
    with transaction.atomic(), connection.cursor() as cursor:
        if not _is_ours(cursor):
            return None
        past = next((one for one in in_order() if _is_past(one, horizon, least_rows)), None)
        # No trigger would refuse what follows.
        permitted = RetentionHorizon.objects.filter(table="usage", before__gte=horizon)
        if past is None or not permitted.exists():
            return None
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        if past.is_month:
            # The table first, as those who write take their locks.
            cursor.execute(f'LOCK TABLE ONLY "{TABLE}" IN ACCESS EXCLUSIVE MODE')
        cursor.execute(f'LOCK TABLE "{past.name}" IN ACCESS EXCLUSIVE MODE')
        if not _is_past(past, horizon, least_rows):  # now that nobody can add to it
            return None
        cursor.execute(f'{"DROP" if past.is_month else "TRUNCATE"} TABLE "{past.name}"')
    return past.name


def deleted_by_row() -> list[str]:
    """Return the tables from which old rows are deleted, because they are never dropped."""
    return [one.name for one in in_order() if not one.is_month] or [TABLE]


def delete_before(horizon: datetime, table: str, limit: int) -> int:
    """Delete the oldest rows from before then; return how many."""
    old = f'SELECT id FROM "{table}" WHERE opened_at < %s ORDER BY opened_at LIMIT {limit:d}'  # noqa: S608
    with connection.cursor() as cursor:
        at = connection.ops.adapt_datetimefield_value(horizon)
        cursor.execute(f'DELETE FROM "{table}" WHERE id IN ({old})', [at])  # noqa: S608
        return int(cursor.rowcount)


def attempt(work: Callable[[], T]) -> T | None:
    """Do what needs the table exclusively; return None if it stays busy."""
    try:
        return work()
    except OperationalError as error:
        if not _is_lock_timeout(error):
            raise
        logger.info("the ledger's table is busy; its partitions are maintained later")
        return None


def _is_lock_timeout(error: OperationalError) -> bool:
    # Imported here because SQLite, too, comes to this module.
    from psycopg.errors import LockNotAvailable  # noqa: PLC0415

    return isinstance(error.__cause__, LockNotAvailable)


def _is_ours(cursor: Any) -> bool:
    """Tell whether nobody else changes the partitions until this transaction ends."""
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
    return bool(cursor.fetchone()[0])


def _is_past(one: Partition, horizon: datetime, least_rows: int) -> bool:
    if one.is_month:
        if one.end is None or one.end > ids.first_uuid7(horizon):
            return False
    elif _count(one.name, least_rows) < least_rows:
        return False
    with connection.cursor() as cursor:
        query = f'SELECT EXISTS (SELECT 1 FROM "{one.name}" WHERE opened_at >= %s)'  # noqa: S608
        cursor.execute(query, [horizon])
        return not cursor.fetchone()[0]


def _count(name: str, most: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM (SELECT 1 FROM "{name}" LIMIT {most:d}) AS found')  # noqa: S608
        return int(cursor.fetchone()[0])


def _columns() -> list[str]:
    with connection.cursor() as cursor:
        table = connection.introspection.get_table_description(cursor, TABLE)
    return [column.name for column in table]


def _partition(name: str, bounds: str) -> Partition:
    found = _BOUNDS.search(bounds)
    if found is None:
        return Partition(name, None, None)
    first, end = (None if "VALUE" in text else UUID(text.strip("'")) for text in found.groups())
    return Partition(name, first, end)


def _instant(bound: UUID) -> datetime:
    return datetime.fromtimestamp((bound.int >> 80) / 1000, UTC)
