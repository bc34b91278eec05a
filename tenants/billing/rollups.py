"""Recompute sums by hour and day (UTC) from the ledger's rows wherever those changed.

A process that recomputes holds a lock, takes away the marks it sees, and only then reads the rows. A mark
is written with its rows, so what it stands for is seen; rows that arrive meanwhile bring marks of their
own. A failure leaves everything as it was, and doing it twice changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Max, Min

from gateway_project.lib.progress import SILENT, ProgressLine
from tenants import units
from tenants.billing import end_user_sums, key_sums, model_sums, sum_sql, unit_sums
from tenants.billing.instants import ceil_day, floor_day, floor_hour
from tenants.billing.sum_sql import COUNTS, QUANTITIES, SumSpan
from tenants.models import (
    DirtyHour,
    RetentionHorizon,
    SumsBackfill,
    UsageDay,
    UsageHour,
    UsageRow,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MARKS_AT_ONCE = 2_000
# So many are summed in one statement, at most.
HOURS_AT_ONCE = 24
DAYS_AT_ONCE = 31
_LOCK = 0x70116A7E  # of PostgreSQL's advisory locks, this is ours; SQLite has one writer anyway

_SUBJECT = ("key_public_id", "alias", "provider", "upstream_model")
_SUMMED = (*COUNTS, *QUANTITIES)
_Marked = defaultdict[datetime, set[int]]  # tenants by the hour or day that was marked


def recompute_dirty(limit: int = MARKS_AT_ONCE) -> int:
    """Bring the sums of marked hours up to date, for at most `limit` marks; return how many marks that
    were.
    """
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
        first = _first_whole_day()
        hours: _Marked = defaultdict(set)
        days: _Marked = defaultdict(set)
        for _, tenant, hour in marks:
            if first is None or hour >= first:
                hours[floor_hour(hour)].add(tenant)
                days[floor_day(hour)].add(tenant)
        for span in _spans(hours, HOUR, HOURS_AT_ONCE):
            _sum_hours(span)
        for span in _spans(days, DAY, DAYS_AT_ONCE):
            _sum_days(span)
    return len(marks)


def _spans(marked: _Marked, length: timedelta, most: int) -> Iterator[SumSpan]:
    """Yield what to sum in one statement: all tenants of an hour, or of a day, and those that follow one
    another and are of the same tenants. To plan it costs more than most of them have to sum."""
    instants = sorted(marked)
    while instants:
        start, tenants = instants[0], marked[instants[0]]
        count = 1
        for at in instants[1:most]:
            if at != start + count * length or marked[at] != tenants:
                break
            count += 1
        yield SumSpan(start, start + count * length, sorted(tenants))
        del instants[:count]


def rebuild(
    start: datetime | None = None,
    end: datetime | None = None,
    progress: ProgressLine = SILENT,
) -> int:
    """Recompute all sums of the days from `start` until `end`, and return how many days that were.

    Days whose rows may have been deleted keep their sums, which are all that is left of them.
    """
    days = list(_days(start, end))
    for day in progress.over(days, "days", len(days)):
        with transaction.atomic():
            _lock()
            DirtyHour.objects.filter(hour__gte=day, hour__lt=day + DAY).delete()
            _sum_hours(SumSpan(day, day + DAY))
            _sum_days(SumSpan(day, day + DAY))
    return len(days)


def _days(start: datetime | None, end: datetime | None) -> Iterator[datetime]:
    known = [*_reach(UsageRow, "opened_at"), *_reach(UsageHour, "starts_at")]
    if not known:
        return
    day = floor_day(start or min(known))
    first = _first_whole_day()
    if first is not None:
        day = max(day, first)
    until = ceil_day(end) if end else max(known) + timedelta(microseconds=1)
    while day < until:
        yield day
        day += DAY


def _first_whole_day() -> datetime | None:
    """Return the first day that has all its rows. Sums of earlier days are all that is left of them."""
    horizon = RetentionHorizon.objects.filter(table="usage").first()
    return None if horizon is None else ceil_day(horizon.before)


def _reach(model: type[UsageRow | UsageHour], column: str) -> Iterable[datetime]:
    found = model._default_manager.aggregate(first=Min(column), last=Max(column))
    return [instant for instant in found.values() if instant is not None]


def _lock() -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def backfill() -> bool:
    """Sum one more day of rows from before there were such sums, the newest first; return whether there may
    be more to do.
    """
    with transaction.atomic():
        _lock()
        state = SumsBackfill.objects.filter(sums__in=_BACKFILLS).order_by("-sums").first()
        if state is None:
            return False
        older = UsageHour.objects.filter(starts_at__lt=state.reached).aggregate(at=Max("starts_at"))
        # The day that is cut is summed whole, which changes nothing of what is there.
        day = None if older["at"] is None else floor_day(older["at"])
        if day is None or not _BACKFILLS[state.sums](day):
            state.delete()
        else:
            state.reached = day
            state.save(update_fields=["reached"])
    return True


def _sum_models_again(day: datetime) -> bool:
    """Sum a day by model. Days whose rows may be gone are made of the sums by key, which are all that is left
    of them."""
    sum_hours = model_sums.sum_hours if _is_whole(day) else model_sums.sum_hours_of_keys
    sum_hours(SumSpan(day, day + DAY))
    model_sums.sum_days(SumSpan(day, day + DAY))
    return True


def _sum_end_users_again(day: datetime) -> bool:
    """Sum a day by end user, which go when the rows go."""
    if not _is_whole(day):
        return False
    end_user_sums.sum_hours(SumSpan(day, day + DAY))
    end_user_sums.sum_days(SumSpan(day, day + DAY))
    return True


def _is_whole(day: datetime) -> bool:
    first = _first_whole_day()
    return first is None or day >= first


# Those of rows from before there were any, by the name under which it is kept how far they are.
_BACKFILLS: Mapping[str, Callable[[datetime], bool]] = {
    "model": _sum_models_again,
    "end_user": _sum_end_users_again,
}


def _sum_hours(span: SumSpan) -> None:
    sums = [f"SUM({sum_sql.number(name)})" for name in COUNTS]
    sums += [f"SUM({sum_sql.quantity(name)})" for name in QUANTITIES]
    _replace(_Step(UsageHour, UsageRow, "opened_at", "hour", "quantity"), sums, span)
    model_sums.sum_hours(span)
    end_user_sums.sum_hours(span)


def _sum_days(span: SumSpan) -> None:
    sums = [f"SUM({name})" for name in _SUMMED]
    _replace(_Step(UsageDay, UsageHour, "starts_at", "day", "total"), sums, span)
    key_sums.sum_days(span)
    model_sums.sum_days(span)
    end_user_sums.sum_days(span)


@dataclass(frozen=True, slots=True)
class _Step:
    """From rows of `source`, of the hour or day (`unit`) their `column` says, to sums in `target`. `quantity`
    names how a unit's is read (unit_sums.py)."""

    target: type[UsageHour | UsageDay]
    source: type[UsageRow | UsageHour]
    column: str
    unit: str
    quantity: str

    @property
    def subject(self) -> str:
        """Return the columns grouped by, as expressions of the source."""
        return ", ".join(("tenant_id", sum_sql.truncated(self.column, self.unit), *_SUBJECT))


def _replace(step: _Step, sums: list[str], span: SumSpan) -> None:
    """Delete the sums of a span and insert those that its rows make, within the database."""
    sum_sql.delete(step.target, span)
    chosen, parameters = span.condition(step.column)
    query = _query(step, sums, chosen)
    with connection.cursor() as cursor:
        cursor.execute(query, parameters * query.count(chosen))


def _query(step: _Step, sums: list[str], chosen: str) -> str:
    """Return the statement that inserts the sums, joining units beside tokens if there are any."""
    # Names of columns only, all of them constants of this module.
    key = ", ".join(("tenant_id", "starts_at", *_SUBJECT))
    names = ", ".join((key, *_SUMMED))
    summed = (
        f"SELECT {step.subject}, {', '.join(sums)} FROM {step.source._meta.db_table} "  # noqa: S608
        f"WHERE {chosen} GROUP BY {step.subject}"
    )
    into = f"INSERT INTO {step.target._meta.db_table} ({names}"
    if not units.beside_tokens():
        return f"{into}) {summed}"
    is_postgres = connection.vendor == "postgresql"
    as_object = "jsonb_object_agg" if is_postgres else "json_group_object"
    return (
        f"WITH s ({names}) AS ({summed}), "  # noqa: S608
        f"q ({key}, name, quantity) AS ({_of_units(step, chosen)}), "
        f"u ({key}, units) AS (SELECT {key}, {as_object}(name, quantity) FROM q GROUP BY {key}) "
        f"{into}, units) SELECT s.*, u.units FROM s LEFT JOIN u USING ({key})"
    )


def _of_units(step: _Step, chosen: str) -> str:
    """Return a query for the quantities of units beside tokens, a row per subject and unit."""
    each, values = unit_sums.exploded("units")
    return (
        f"SELECT {step.subject}, e.key, SUM({values[step.quantity]}) "  # noqa: S608
        f"FROM {step.source._meta.db_table}, {each} "
        f"WHERE units IS NOT NULL AND {chosen} GROUP BY {step.subject}, e.key"
    )
