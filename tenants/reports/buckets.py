"""Divide a span of time into the buckets of a chart, by the clock on the wall of a time zone, and say which
sums make up each of them.

A day of a zone is the nearest day of UTC with the hours between their midnights added or taken away, so that
90 days are read from 90 sums of days and a few hours each. Midnights that are not at a full hour of UTC, as
those of Kolkata, cut an hour: what of it is before and after is read from the ledger's rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from tenants.billing.instants import ceil_hour, floor_day, floor_hour

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Step = Literal["hour", "quarter", "day", "month"]
Grain = Literal["day", "hour", "row"]
Span = tuple[datetime, datetime]  # from the first until the second
# The longest span that is shown in steps of this length. Longer ones are shown by month.
LONGEST: tuple[tuple[timedelta, Step], ...] = (
    (timedelta(days=2, hours=2), "hour"),
    (timedelta(days=8), "quarter"),
    (timedelta(days=100), "day"),
)
_HOURS: dict[Step, tuple[int, ...]] = {"quarter": (0, 6, 12, 18)}


@dataclass(frozen=True, slots=True)
class TimeBuckets:
    """TimeBuckets from each edge to the next, `step` long by the clock on the wall of `zone`."""

    edges: tuple[datetime, ...]
    step: Step
    zone: str

    @property
    def spans(self) -> tuple[Span, ...]:
        return tuple(pairwise(self.edges))

    @property
    def start(self) -> datetime:
        return self.edges[0]

    @property
    def end(self) -> datetime:
        return self.edges[-1]

    def __len__(self) -> int:
        return len(self.edges) - 1


@dataclass(frozen=True, slots=True)
class Segment:
    """Sums or rows from `start` until `end` that count for a bucket; `sign` -1: they are taken away."""

    bucket: int
    start: datetime
    end: datetime
    sign: int
    grain: Grain


def divide(start: datetime, end: datetime, zone: str) -> TimeBuckets:
    """Return the buckets that contain the span: its first and last bucket are whole."""
    step: Step = next((step for most, step in LONGEST if end - start <= most), "month")
    if (
        step == "hour"
    ):  # full hours of UTC, so that sums hold them, whatever minute that is in the zone
        first, last = floor_hour(start), ceil_hour(end)
        count = max(1, (last - first) // HOUR)
        return TimeBuckets(tuple(first + place * HOUR for place in range(count + 1)), step, zone)
    edges: list[datetime] = []
    for edge in _edges(start, step, zone):
        if edge <= start:
            edges = [edge]
        elif edge > edges[-1]:  # clocks that go forward at midnight make two of one instant
            edges.append(edge)
        if edge >= end and len(edges) > 1:
            break
    return TimeBuckets(tuple(edges), step, zone)


def _edges(start: datetime, step: Step, zone: str) -> Iterator[datetime]:
    """Return the beginnings of steps, from one at or before `start` on."""
    day = start.astimezone(ZoneInfo(zone)).date() - DAY
    if step == "month":
        day = day.replace(day=1)
    while True:
        for hour in _HOURS.get(step, (0,)):
            yield datetime.combine(day, time(hour), ZoneInfo(zone)).astimezone(UTC)
        day = _next_month(day) if step == "month" else day + DAY


def _next_month(day: date) -> date:
    return (day + timedelta(days=32)).replace(day=1)


def segments(spans: Iterable[Span]) -> list[Segment]:
    """Return what is summed for buckets that are these spans."""
    found: list[Segment] = []
    for bucket, (start, end) in enumerate(spans):
        found += (
            _of_days(bucket, start, end)
            if end - start > DAY - 2 * HOUR
            else _of_hours(bucket, start, end, 1)
        )
    return found


def undivided(spans: Iterable[Span]) -> list[Segment]:
    """Return a segment of rows for each bucket, for what only rows know."""
    return [Segment(n, start, end, 1, "row") for n, (start, end) in enumerate(spans)]


def _of_days(bucket: int, start: datetime, end: datetime) -> Iterator[Segment]:
    first, last = _nearest_day(start), _nearest_day(end)
    if first < last:
        yield Segment(bucket, first, last, 1, "day")
    yield from _between(bucket, start, first, 1)
    yield from _between(bucket, end, last, -1)


def _between(bucket: int, edge: datetime, midnight: datetime, sign: int) -> Iterator[Segment]:
    """Return the hours from an edge to the midnight beside it, or those from that to the edge taken away."""
    if edge < midnight:
        yield from _of_hours(bucket, edge, midnight, sign)
    elif midnight < edge:
        yield from _of_hours(bucket, midnight, edge, -sign)


def _of_hours(bucket: int, start: datetime, end: datetime, sign: int) -> Iterator[Segment]:
    first, last = ceil_hour(start), floor_hour(end)
    if first > last:  # within one hour
        yield Segment(bucket, start, end, sign, "row")
        return
    if start < first:
        yield Segment(bucket, start, first, sign, "row")
    if first < last:
        yield Segment(bucket, first, last, sign, "hour")
    if last < end:
        yield Segment(bucket, last, end, sign, "row")


def _nearest_day(at: datetime) -> datetime:
    return floor_day(at + DAY / 2)
