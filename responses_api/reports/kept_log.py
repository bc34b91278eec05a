"""Read what is stored and delivered as a log: newest first, from where the page before ended.

Nothing is counted, and no page is found by its number. A page is read along an index within a span of time.
Keys and aliases are in no index, so that storing a response costs no more: pages filtered by them look
through a part of the log at a time, and the next one goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from gateway_project.lib import ids
from responses_api.models import Conversation, Status, StoredResponse, WebhookDelivery
from tenants.managed.values import could_be_key

PAGE = 50
# As many rows are looked through at once for a filter without an index, and so many times for one page.
LOOKED_THROUGH, MOST_READS = 2_000, 3
MOST_APART = 20  # tenants that are read one by one
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MAX_ID = 64

Columns = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class KeptPlace:
    """The place of a row in its log."""

    at: datetime
    id: str

    def __str__(self) -> str:
        return f"{(self.at - EPOCH) // MICROSECOND:x}-{self.id}"

    @classmethod
    def parse(cls, text: str, *, of_uuids: bool = False) -> KeptPlace:
        """Read a place as it is written in an address. Raise ValueError."""
        at, _, row_id = text.partition("-")
        if not (0 < len(at) <= 14 and 0 < len(row_id) <= MAX_ID) or "\0" in row_id:
            raise ValueError("This is not a place in the log.")
        if of_uuids:
            row_id = str(UUID(row_id))
        try:
            return cls(EPOCH + int(at, 16) * MICROSECOND, row_id)
        except OverflowError as error:
            raise ValueError("This is not a place in the log.") from error


@dataclass(frozen=True, slots=True)
class KeptFilter:
    """Conditions on rows; a blank one is no condition. `tenants` is None for every tenant's. `status` is
    that of a response or the state of a delivery."""

    start: datetime
    end: datetime
    tenants: frozenset[int] | None = None
    key: str = ""
    alias: str = ""
    status: str = ""
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class KeptPage:
    """A part of a log, newest first. `older` and `newer` are the places from which it goes on; None where it
    ends. There may be more although `rows` are few: see MOST_READS."""

    rows: tuple[Columns, ...]
    older: KeptPlace | None
    newer: KeptPlace | None


@dataclass(frozen=True, slots=True)
class LogReading:
    """Rows in their order, from `start` until `end` of the column they are ordered by first."""

    rows: QuerySet[Any]
    tenants: frozenset[int] | None
    columns: tuple[str, ...]
    order: tuple[str, ...]
    start: datetime | UUID
    end: datetime | UUID
    keeps: Callable[[Columns], bool] | None = None

    def next_rows(self, place: KeptPlace | None, size: int, *, is_up: bool) -> list[Columns]:
        """Return so many rows after the place, in the order of reading."""
        order = [name if is_up else f"-{name}" for name in self.order]
        ordered = self.rows.order_by(*order)
        part = ordered.filter(self.beyond(place, is_up=is_up))
        tenants = self.tenants
        if tenants is not None and not 1 < len(tenants) <= MOST_APART:
            one = len(tenants) == 1
            part = (
                part.filter(tenant_id=min(tenants)) if one else part.filter(tenant_id__in=tenants)
            )
        elif tenants is not None:
            # Each tenant's rows along its index; asked for all at once, databases would sort every row.
            apart = (part.filter(tenant_id=each).values("pk")[:size] for each in sorted(tenants))
            part = ordered.filter(reduce(or_, (Q(pk__in=found) for found in apart)))
        return list(part.values_list(*self.columns)[:size])

    def beyond(self, place: KeptPlace | None, *, is_up: bool) -> Q:
        """Return the condition for the rows of the span that come after the place in the order of reading.

        The place takes the stead of the bound that it lies within: of two bounds on one side SQLite would
        enter the index with the first, and read all rows from there to the place.
        """
        lead = self.order[0]
        first, last = Q((f"{lead}__gte", self.start)), Q((f"{lead}__lt", self.end))
        at: Any = None if place is None else (UUID(place.id) if lead == "pk" else place.at)
        if place is None or (at < self.start if is_up else at >= self.end):
            return first & last
        than = "gt" if is_up else "lt"
        if lead == "pk":
            further = Q((f"pk__{than}", at))
        else:
            equal = Q((lead, at), (f"pk__{than}", place.id))
            # Says the same of the column alone, which is what an index is entered with.
            further = Q((f"{lead}__{than}e", at)) & (Q((f"{lead}__{than}", at)) | equal)
        return further & (last if is_up else first)


RESPONSE_COLUMNS = (
    "created_at", "pk", "tenant_id", "status", "model", "key_public_id", "background", "expires_at",
)  # fmt: skip
CONVERSATION_COLUMNS = ("created_at", "pk", "tenant_id")
DELIVERY_COLUMNS = (
    "created_at", "pk", "tenant_id", "event_type", "response_id", "state", "attempts",
    "last_status", "last_error", "endpoint__url",
)  # fmt: skip
_MODEL, _KEY = RESPONSE_COLUMNS.index("model"), RESPONSE_COLUMNS.index("key_public_id")
_BY_TIME = ("created_at", "pk")


def responses(
    asked: KeptFilter, before: KeptPlace | None = None, after: KeptPlace | None = None
) -> KeptPage:
    """Return a page of stored responses."""
    rows = StoredResponse.objects.all()
    if asked.status:
        rows = rows.filter(status=asked.status)
        if asked.status != Status.COMPLETED:  # said as the index of such rows says it
            rows = rows.exclude(status=Status.COMPLETED)
    keeps = _keeps(asked) if asked.key or asked.alias else None
    reading = LogReading(
        rows, asked.tenants, RESPONSE_COLUMNS, _BY_TIME, asked.start, asked.end, keeps
    )
    return _page(reading, before, after)


def conversations(
    asked: KeptFilter, before: KeptPlace | None = None, after: KeptPlace | None = None
) -> KeptPage:
    """Return a page of conversations."""
    rows, tenants = Conversation.objects.all(), asked.tenants
    reading = LogReading(rows, tenants, CONVERSATION_COLUMNS, _BY_TIME, asked.start, asked.end)
    return _page(reading, before, after)


def deliveries(
    asked: KeptFilter, before: KeptPlace | None = None, after: KeptPlace | None = None
) -> KeptPage:
    """Return a page of webhook deliveries, whose ids are in time order."""
    rows = WebhookDelivery.objects.all()
    if asked.status:
        rows = rows.filter(state=asked.status)
    if asked.endpoint:
        is_id = could_be_key(WebhookDelivery.endpoint.field.related_model, "pk", asked.endpoint)
        rows = rows.filter(endpoint_id=UUID(asked.endpoint)) if is_id else rows.none()
    start, end = ids.first_uuid7(asked.start), ids.first_uuid7(asked.end)
    reading = LogReading(rows, asked.tenants, DELIVERY_COLUMNS, ("pk",), start, end)
    return _page(reading, before, after)


def _keeps(asked: KeptFilter) -> Callable[[Columns], bool]:
    def keeps(row: Columns) -> bool:
        return asked.key in {"", row[_KEY]} and asked.alias in {"", row[_MODEL]}

    return keeps


def _page(reading: LogReading, before: KeptPlace | None, after: KeptPlace | None) -> KeptPage:
    is_up = after is not None
    found, goes_on = _read(reading, after if is_up else before, is_up=is_up)
    if not is_up:
        newer = before and (_place_of(found[0]) if found else before)
        return KeptPage(tuple(found), goes_on, newer)
    shown = found[::-1]
    older = _place_of(shown[-1]) if shown else None
    return KeptPage(tuple(shown), older, goes_on)


def _read(
    reading: LogReading, place: KeptPlace | None, *, is_up: bool
) -> tuple[list[Columns], KeptPlace | None]:
    """Return the rows that come next in the order of reading, and where to go on; None at the end."""
    found: list[Columns] = []
    keeps = reading.keeps
    size = PAGE + 1 if keeps is None else LOOKED_THROUGH
    for _ in range(MOST_READS):
        read = reading.next_rows(place, size, is_up=is_up)
        found += read if keeps is None else filter(keeps, read)
        if len(found) > PAGE:
            return found[:PAGE], _place_of(found[PAGE - 1])
        if len(read) < size:
            return found, None
        place = _place_of(read[-1])
    return found, place


def _place_of(row: Columns) -> KeptPlace:
    return KeptPlace(row[0], str(row[1]))
