"""Use the sums as an index: which hours hold a match of a filter that no index of the ledger fits.

Only those hours are read, and the few that are not summed yet. A filter that finds nothing reads no other
row, however large the ledger is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from django.db.models import Q, QuerySet, Sum

from tenants.billing.instants import floor_day, floor_hour
from tenants.models import (
    DirtyHour,
    EndUserDay,
    EndUserHour,
    ModelDay,
    ModelHour,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tenants.reports.freshness import freshness
from tenants.reports.request_filter import RequestFilter, TimeSpan

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
# Longer spans are narrowed to days first.
MANY_HOURS = timedelta(days=3)
# So many days or hours are read at once.
SPANS_AT_ONCE = 60
ESTIMATED = {UsageRow.Source.COUNTED, UsageRow.Source.RESERVED}


def chunks(
    asked: RequestFilter, place: datetime | None, enough: int, *, is_up: bool = False
) -> Iterator[list[TimeSpan]]:
    """Yield spans to read in turn, from `place` on in the order of reading, until `enough` is found."""
    whole = _rest(TimeSpan(asked.start, asked.end), place, is_up=is_up)
    if whole.start >= whole.end:
        return
    if not asked.is_scan and asked.has_index:
        yield [whole]
        return
    unsummed, sums = _index_for(asked, whole)
    if sums is None:
        yield from _weeks(whole, is_up=is_up)
        return
    if whole.end - whole.start <= MANY_HOURS:
        days: Iterable[list[TimeSpan]] = [[whole]]
    else:
        within = {"starts_at__gte": floor_day(whole.start), "starts_at__lt": whole.end}
        counted = _counted(sums.days.filter(**within), sums.figure, DAY)
        days = _portions(counted, unsummed, whole, DAY, enough, is_up=is_up)
    for some in days:
        hours = sums.hours.filter(starts_at__in=_hours_of(some))
        counted = _counted(hours, sums.figure, HOUR)
        behind = {hour for hour in unsummed if any(_touches(span, hour) for span in some)}
        yield from _portions(counted, behind, whole, HOUR, enough, is_up=is_up)


@dataclass(frozen=True, slots=True)
class SumTables:
    """The sums to ask, by hour and by day, and which figure of theirs counts the calls."""

    hours: QuerySet[Any]
    days: QuerySet[Any]
    figure: str = "calls"


def _index_for(asked: RequestFilter, whole: TimeSpan) -> tuple[set[datetime], SumTables | None]:
    """Return the hours that sums do not know, and the sums of what the filter names; None where none do."""
    if asked.end_user:
        return _end_user_index(asked, whole)
    if asked.is_scan:
        return set(), None
    unsummed = _unsummed(asked, whole)
    sums = sums_for(asked)
    figure = "estimated" if asked.source in ESTIMATED else "calls"
    figure = "hits" if asked.is_of_hits else figure
    return unsummed, SumTables(of_sums(asked, sums.hours), of_sums(asked, sums.days), figure)


def _end_user_index(
    asked: RequestFilter, whole: TimeSpan
) -> tuple[set[datetime], SumTables | None]:
    """Return the same of an end user, who may be among those of a sum who are not told apart. Sums are gone
    by whole days, rows are not.
    """
    known = freshness(whole.end)
    if known.end_users_from is not None:
        return set(), None
    unsummed = _unsummed(asked, whole)
    if known.kept_from is not None:
        cut = floor_hour(known.kept_from)
        rest = (floor_day(cut) + DAY - cut) // HOUR
        unsummed |= {cut + number * HOUR for number in range(rest)}
    matching = Q(end_user=asked.end_user) | Q(end_user=None)
    if asked.tenants is not None:
        matching &= Q(tenant_id__in=asked.tenants)
    hours, days = (model.objects.order_by().filter(matching) for model in (EndUserHour, EndUserDay))
    return unsummed, SumTables(hours, days)


def _weeks(whole: TimeSpan, *, is_up: bool) -> Iterator[list[TimeSpan]]:
    """Yield a span week by week, for what neither an index nor the sums know: however much there is, a page
    looks at few of them and says where it goes on.
    """
    number = ceil((whole.end - whole.start) / WEEK)
    for place in range(number):
        before = (place if is_up else number - 1 - place) * WEEK
        yield [TimeSpan(whole.start + before, min(whole.start + before + WEEK, whole.end))]


def sums_for(asked: RequestFilter) -> SumTables:
    """Return sums by key where a key is asked for, or sums by model are not there yet; otherwise those by
    model, which are far fewer.
    """
    if asked.key or not asked.reach.has_sums_since(floor_day(asked.start)):
        return SumTables(UsageHour.objects.order_by(), UsageDay.objects.order_by())
    return SumTables(ModelHour.objects.order_by(), ModelDay.objects.order_by())


def of_sums(asked: RequestFilter, sums: QuerySet[Any]) -> QuerySet[Any]:
    """Return the sums of what the filter names, as far as sums know it."""
    exact = {
        "key_public_id": asked.key,
        "alias": asked.alias,
        "provider": asked.provider,
        "upstream_model": asked.model,
    }
    sums = sums.filter(**{name: value for name, value in exact.items() if value})
    if asked.source in ESTIMATED:
        sums = sums.filter(estimated__gt=0)
    if asked.is_of_hits:
        sums = sums.filter(hits__gt=0)
    return sums if asked.tenants is None else sums.filter(tenant_id__in=asked.tenants)


def _rest(span: TimeSpan, place: datetime | None, *, is_up: bool) -> TimeSpan:
    """Return what is left of a span from a place on, that instant included."""
    if place is None:
        return span
    if is_up:
        return TimeSpan(max(span.start, place), span.end)
    return TimeSpan(span.start, min(span.end, place + timedelta(microseconds=1)))


def _counted(sums: QuerySet[Any], figure: str, step: timedelta) -> dict[datetime, int]:
    """Return how many calls the hours or days of these sums hold that match, by their beginning."""
    found = sums.order_by().values_list("starts_at").annotate(n=Sum(figure))
    return {floor(at, step): count for at, count in found}


def _hours_of(spans: Iterable[TimeSpan]) -> list[datetime]:
    """List hours by name, which an index is entered with wherever they lie; spans are not so on SQLite."""
    return [
        floor_hour(span.start) + number * HOUR
        for span in spans
        for number in range(ceil((span.end - floor_hour(span.start)) / HOUR))
    ]


def _portions(
    counted: dict[datetime, int],
    unsummed: Iterable[datetime],
    whole: TimeSpan,
    step: timedelta,
    enough: int,
    *,
    is_up: bool,
) -> Iterator[list[TimeSpan]]:
    """Yield the days or hours in the order of reading, as many at once as hold `enough`."""
    counts = {**{floor(hour, step): 0 for hour in unsummed}, **counted}
    chosen: list[TimeSpan] = []
    reached = 0
    for at in sorted(counts, reverse=not is_up):
        span = TimeSpan(max(at, whole.start), min(at + step, whole.end))
        if span.start < span.end:
            chosen.append(span)
            reached += counts[at]
        if chosen and (reached >= enough or len(chosen) >= SPANS_AT_ONCE):
            yield merged(chosen)
            chosen, reached = [], 0
    if chosen:
        yield merged(chosen)


def _touches(span: TimeSpan, hour: datetime) -> bool:
    return hour < span.end and hour + HOUR > span.start


def floor(at: datetime, step: timedelta) -> datetime:
    return floor_hour(at) if step == HOUR else floor_day(at)


def _unsummed(asked: RequestFilter, span: TimeSpan) -> set[datetime]:
    """Return the hours of a span that have rows which the sums do not know yet."""
    marks = DirtyHour.objects.filter(hour__gt=span.start - HOUR, hour__lt=span.end)
    if asked.tenants is not None:
        marks = marks.filter(tenant_id__in=asked.tenants)
    return {floor_hour(hour) for hour in asked.reach.unsummed(marks)}


def merged(spans: Iterable[TimeSpan]) -> list[TimeSpan]:
    """Join spans that touch, in the order of time."""
    joined: list[TimeSpan] = []
    for span in sorted(spans, key=lambda each: each.start):
        if joined and joined[-1].end >= span.start:
            joined[-1] = TimeSpan(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined
