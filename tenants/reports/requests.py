"""The log of requests: the calls of the ledger grouped by request, and refused requests among them.

A page is read along an index from where the one before ended, newest first, always within a span of time.
Where no index fits a filter, `matching_hours` first asks the sums which hours hold a match.

A request stands at the call that matches the filter: its first such call, or with a filter by outcome its
last call, which decides it. All its calls are then read, so that what is shown is the whole request.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Q, QuerySet

from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.ledger import row_ids
from tenants.models import ApiKey, RefusedRequest, UsageRow
from tenants.reports import matching_hours
from tenants.reports.logged_request import LoggedRequest, of_calls, of_refusal
from tenants.reports.request_filter import (
    REFUSED,
    REFUSED_BY_GUARDRAILS,
    RequestFilter,
    TimeSpan,
)

PAGE = 50
# A page gives up looking after so many queries for calls; the next one goes on from there.
MOST_READS = 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_PLACE = re.compile(r"([0-9a-f]{1,14})-([0-9a-f]{32})")
SUMMARY = "summary"


@dataclass(frozen=True, slots=True, order=True)
class LogPlace:
    """The place at which a request stands in the log."""

    at: datetime
    number: int  # of the row, whose UUID it is

    def __str__(self) -> str:
        return f"{(self.at - EPOCH) // MICROSECOND:x}-{self.number:032x}"

    @classmethod
    def parse(cls, text: str) -> LogPlace:
        """Read a place as it is written in an address. Raise ValueError."""
        found = _PLACE.fullmatch(text)
        if found is None:  # 14 digits are an instant that every database can hold
            raise ValueError("This is not a place in the log.")
        return cls(EPOCH + int(found[1], 16) * MICROSECOND, int(found[2], 16))


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of the log, newest first. `older` and `newer` are the places from which it goes on; None where
    it ends. There may be more although `rows` are few: see MOST_READS."""

    rows: tuple[LoggedRequest, ...]
    older: LogPlace | None
    newer: LogPlace | None


@dataclass(frozen=True, slots=True)
class _LogPart:
    """Requests with their places, in the order of reading, and where to go on; None at the end."""

    rows: list[tuple[LogPlace, LoggedRequest]]
    next_place: LogPlace | None


def read_page(
    who: Access,
    asked: RequestFilter,
    *,
    before: LogPlace | None = None,
    after: LogPlace | None = None,
    limit: int = PAGE,
    in_whole: bool = True,
) -> LogPage:
    """Return the newest requests, those `before` a place, or those next `after` one. Where no amounts are
    wanted, they need not be read `in_whole`: corrections are left out.

    Raise PermissionDenied for a tenant whose usage they may not view.
    """
    asked = _find_key(narrowed(who, asked))
    if asked.finds_nothing:
        return LogPage((), None, None)
    is_up = after is not None
    place = after if is_up else before
    parts = [_read_calls(who, asked, place, limit, is_up=is_up, in_whole=in_whole)]
    if asked.may_be_refused:
        parts.append(_read_refusals(who, asked, place, limit, is_up=is_up))
    found = _merge(parts, limit, is_up=is_up)
    rows = found.rows[::-1] if is_up else found.rows
    first, last = (rows[0][0], rows[-1][0]) if rows else (place, place)
    older = last if is_up and rows else found.next_place
    newer = found.next_place if is_up else (first if before is not None else None)
    return LogPage(tuple(row for _, row in rows), None if is_up and not rows else older, newer)


def count_newer(who: Access, asked: RequestFilter, after: LogPlace, most: int = 100) -> int:
    """Return how many requests there are after a place, at most `most`."""
    return len(read_page(who, asked, after=after, limit=most, in_whole=False).rows)


def newest_place(rows: Sequence[LoggedRequest], now: datetime) -> LogPlace:
    """Return the place after which a later look finds what is new."""
    return LogPlace(rows[0].at, rows[0].number) if rows else LogPlace(now, 0)


def narrowed(who: Access, asked: RequestFilter) -> RequestFilter:
    """Return the filter within what they may see. Raise PermissionDenied."""
    tenants = asked.tenants
    if (Area.USAGE, "view") not in who.platform:
        seen = who.tenants_where("view", Area.USAGE)
        if tenants is not None and not tenants <= seen:
            raise PermissionDenied
        tenants = seen if tenants is None else tenants
        if asked.names_upstreams:  # who is not shown them cannot search for them either
            tenants = frozenset(each for each in tenants if who.sees_upstreams_of(each))
    return asked.within(tenants)


def _merge(parts: Sequence[_LogPart], limit: int, *, is_up: bool) -> _LogPart:
    """Merge parts of the log; go on where the first of them stopped reading, or after the last row shown."""
    rows = sorted((row for part in parts for row in part.rows), key=_place_of, reverse=not is_up)
    stops = [part.next_place for part in parts if part.next_place is not None]
    if stops:  # beyond the nearest stop, rows of that part may be missing
        stop = min(stops) if is_up else max(stops)
        rows = [row for row in rows if (row[0] <= stop if is_up else row[0] >= stop)]
    else:
        stop = None
    if len(rows) > limit:
        rows = rows[:limit]
        stop = rows[-1][0]
    return _LogPart(rows, stop)


def _place_of(row: tuple[LogPlace, LoggedRequest]) -> LogPlace:
    return row[0]


# Calls


def _read_calls(
    who: Access,
    asked: RequestFilter,
    place: LogPlace | None,
    limit: int,
    *,
    is_up: bool,
    in_whole: bool,
) -> _LogPart:
    if asked.status == REFUSED:
        return _LogPart([], None)
    found: list[tuple[LogPlace, LoggedRequest]] = []
    rows = _matching_calls(asked)
    reads = 0
    for spans in matching_hours.chunks(asked, place.at if place else None, limit + 1, is_up=is_up):
        while True:
            reads += 1
            part = rows
            if place is not None:
                part = rows.filter(_beyond(place, "opened_at", is_up=is_up))
            read = _first_of(part, spans, limit + 1, is_up=is_up)
            found += _requests_of(who, asked, read, in_whole=in_whole)
            if read:
                place = LogPlace(read[-1].opened_at, read[-1].pk.int)
            if len(found) > limit:
                return _LogPart(found[:limit], found[limit - 1][0])
            if len(read) <= limit:
                break
            if reads >= MOST_READS:
                return _LogPart(found, place)
        if reads >= MOST_READS:
            edge = max(span.end for span in spans) if is_up else min(span.start for span in spans)
            return _LogPart(found, LogPlace(edge, 0))
    return _LogPart(found, None)


def _first_of(
    rows: QuerySet[UsageRow], spans: Sequence[TimeSpan], limit: int, *, is_up: bool
) -> list[UsageRow]:
    """Return the first rows within the spans, in the order of reading."""
    order = ("opened_at", "pk") if is_up else ("-opened_at", "-pk")
    if len(spans) == 1:
        return list(rows.filter(_within(spans)).order_by(*order)[:limit])
    # Asked for an order, databases would go through all the time between the spans; and asked for all
    # spans at once, SQLite would even without.
    places = rows.order_by().values_list("opened_at", "pk")
    if connection.vendor == "sqlite":
        first, *others = (places.filter(_within([span])) for span in spans)
        found = sorted(first.union(*others, all=True), reverse=not is_up)
    else:
        found = sorted(places.filter(_within(spans)), reverse=not is_up)
    return list(UsageRow.objects.filter(pk__in=[pk for _, pk in found[:limit]]).order_by(*order))


def _matching_calls(asked: RequestFilter) -> QuerySet[UsageRow]:
    rows = UsageRow.objects.exclude(status=UsageRow.Status.CORRECTION)
    exact = {
        "alias": asked.alias,
        "provider": asked.provider,
        "upstream_model": asked.model,
        "status": asked.status,
        "error_code": asked.code,
        "usage_source": asked.source,
        "end_user": asked.end_user,
        "guardrail_outcome": asked.guardrail,
        "cache_outcome": asked.cache,
    }
    rows = rows.filter(**{name: value for name, value in exact.items() if value})
    if asked.tenants is not None:
        rows = rows.filter(tenant_id__in=asked.tenants)
    if asked.key:
        rows = rows.filter(**_of_key(asked))
    if asked.is_rare:  # said as the index of such rows says it
        rows = rows.exclude(status=UsageRow.Status.COMPLETED)
    if asked.status:
        return rows.filter(absorbed=False)
    if asked.stands_at_failure:
        return rows.filter(absorbed=True)
    return rows if asked.is_about_attempts else rows.filter(leg=0)


def _find_key(asked: RequestFilter) -> RequestFilter:
    """Look up the key's number, by which there is an index; a key that is gone has none."""
    if not asked.key or asked.key_id is not None:
        return asked
    key = ApiKey.objects.filter(public_id=asked.key).values_list("pk", flat=True).first()
    return replace(asked, key_id=key)


def _of_key(asked: RequestFilter) -> dict[str, object]:
    is_gone = asked.key_id is None
    return {"key_public_id": asked.key} if is_gone else {"key_id": asked.key_id}


def _within(spans: Iterable[TimeSpan]) -> Q:
    return reduce(or_, (Q(opened_at__gte=span.start, opened_at__lt=span.end) for span in spans))


def _beyond(place: LogPlace, column: str, *, is_up: bool) -> Q:
    """Return the condition for rows after the place in the order of reading."""
    than = "gt" if is_up else "lt"
    later = Q((f"{column}__{than}", place.at))
    equal = Q((column, place.at), (f"pk__{than}", UUID(int=place.number)))
    # Says the same of the column alone, which is what an index is entered with.
    return Q((f"{column}__{than}e", place.at)) & (later | equal)


def _requests_of(
    who: Access, asked: RequestFilter, read: Sequence[UsageRow], *, in_whole: bool
) -> list[tuple[LogPlace, LoggedRequest]]:
    """Return the requests that stand at these calls."""
    whole = _whole_requests(read, in_whole=in_whole)
    found = []
    for row in read:
        calls = whole[row_ids.request_id_of(row.pk)]
        if _stands_at(row, calls, asked):
            place = LogPlace(row.opened_at, row.pk.int)
            found.append((place, of_calls(who, calls, row)))
    return found


def _stands_at(row: UsageRow, calls: Sequence[UsageRow], asked: RequestFilter) -> bool:
    attempts = [call for call in calls if call.corrects is None]
    failed = [call for call in attempts if call.absorbed]
    if asked.attempts and not failed:
        return False
    if asked.stands_at_failure:
        return row.pk == failed[0].pk
    if asked.status:
        return row.pk == attempts[-1].pk
    if not asked.is_about_attempts:
        return True
    return row.pk == next(call.pk for call in attempts if asked.matches_attempt(call))


def _whole_requests(read: Sequence[UsageRow], *, in_whole: bool) -> dict[str, list[UsageRow]]:
    """Return the calls of the requests that these are calls of, in order; in whole, with corrections."""
    known = {row.pk: row for row in read}
    apart = [row for row in read if row.leg or row.absorbed or row.route == SUMMARY]
    if apart:
        ranges = {row_ids.rows_of(row_ids.request_id_of(row.pk)) for row in apart}
        some = [Q(pk__gte=first, pk__lte=last) for first, last in ranges]
        tenants = {row.tenant_id for row in apart}
        # Asked for many ranges at once, or for the tenants too, SQLite goes through all rows.
        if connection.vendor == "sqlite":
            first_range, *others = (UsageRow.objects.filter(each).order_by() for each in some)
            found = first_range.union(*others, all=True) if others else first_range
        else:
            found = UsageRow.objects.filter(reduce(or_, some))
        known |= {row.pk: row for row in found if row.tenant_id in tenants}
    if in_whole:
        known |= {row.pk: row for row in corrections_of(known)}
    whole: dict[str, list[UsageRow]] = {}
    for pk in sorted(known):
        whole.setdefault(row_ids.request_id_of(pk), []).append(known[pk])
    return whole


def corrections_of(rows: Collection[UUID]) -> Iterable[UsageRow]:
    """Return the corrections of these rows."""
    return UsageRow.objects.filter(corrects__in=list(rows)).order_by() if rows else ()


# Refusals


def _read_refusals(
    who: Access, asked: RequestFilter, place: LogPlace | None, limit: int, *, is_up: bool
) -> _LogPart:
    rows = RefusedRequest.objects.filter(at__gte=asked.start, at__lt=asked.end)
    if asked.tenants is not None:
        rows = rows.filter(tenant_id__in=asked.tenants)
    if asked.key:
        rows = rows.filter(**_of_key(asked))
    if asked.alias:
        rows = rows.filter(model=asked.alias)
    if asked.code:
        rows = rows.filter(code=asked.code)
    if asked.guardrail:
        rows = rows.filter(code=REFUSED_BY_GUARDRAILS[asked.guardrail])
    if place is not None:
        rows = rows.filter(_beyond(place, "at", is_up=is_up))
    order = ("at", "pk") if is_up else ("-at", "-pk")
    read = [
        (LogPlace(row.at, row.pk.int), of_refusal(who, row))
        for row in rows.order_by(*order)[: limit + 1]
    ]
    more = read[limit - 1][0] if len(read) > limit else None
    return _LogPart(read[:limit], more)
