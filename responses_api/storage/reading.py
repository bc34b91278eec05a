"""Reading stored responses and items of one tenant. Whatever is not the tenant's is not there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.db.models import BinaryField, Case, F, Max, QuerySet, Sum, When, Window
from django.db.models.functions import Length

from gateway_project.lib.errors import NotFound, RequestTooComplex
from responses_api.models import ConversationItem, StoredItem, StoredResponse
from responses_api.query import Paging
from responses_api.response_object import output_texts
from responses_api.storage.items import is_usable_id
from responses_api.storage.pages import items_page
from responses_api.storage.pieces import (
    LARGE_BYTES,
    Pieces,
    Segment,
    Stored,
    cut,
    joined,
    large_work,
    read,
    segment,
    with_sizes,
)

Json = dict[str, Any]

# Items up to this size are read with the list of them.
INLINE_BYTES = 8 * 1024
_RESPONSE_ID = re.compile(r"resp_[A-Za-z0-9_-]{1,59}")


@dataclass(frozen=True, slots=True)
class Referenced:
    """A stored item's JSON; `provider` made it, if any is known."""

    body: bytes
    provider: str


def response_not_found() -> NotFound:
    """The one answer for a response that is unknown, deleted, another tenant's, or no id at all."""
    return NotFound("There is no such response: it was never stored, was deleted, or has expired.")


def responses(tenant_id: int, response_id: str) -> QuerySet[StoredResponse]:
    """The tenant's response with this id, or none; what cannot be an id is not asked for."""
    if not _RESPONSE_ID.fullmatch(response_id):
        return StoredResponse.objects.none()
    return StoredResponse.objects.filter(tenant_id=tenant_id, pk=response_id)


def response(tenant_id: int, response_id: str) -> Pieces:
    """The Response as JSON, in two queries where it is not large. Raises NotFound."""
    rows = with_sizes(responses(tenant_id, response_id), "body", LARGE_BYTES)
    row = rows.values_list("size", "inline", "run__status").first()
    if row is None:
        raise response_not_found()
    size, body, status = row
    head = Stored(StoredResponse, tenant_id, response_id, "body", size)
    items, output_size = _output(tenant_id, response_id)
    if size + output_size <= LARGE_BYTES:
        return _whole(head, body, items, status)
    with large_work():
        return _whole(head, body, items, status)


def _output(tenant_id: int, response_id: str) -> tuple[list[Segment], int]:
    """The output items, and their size."""
    output = _items(tenant_id, response_id, StoredItem.Side.OUTPUT).order_by("position")
    sized = with_sizes(output, "body", INLINE_BYTES)
    rows = list(sized.values_list("pk", "size", "inline"))
    total = sum(size for _, size, _ in rows)
    is_small = total <= LARGE_BYTES
    items = [
        segment(Stored(StoredItem, tenant_id, pk, "body", size), inline if is_small else None)
        for pk, size, inline in rows
    ]
    return items, total


def _whole(
    head: Stored, body: bytes | memoryview | None, items: list[Segment], status: str | None
) -> Pieces:
    """A stored body with its output items; `status` is that of the run, which is ahead of the body."""
    written = read(head) if body is None else bytes(body)
    found = orjson.loads(written)
    if (again := orjson.dumps(found)) != written:
        body = written = again  # places in it could not be told
    source: Segment = head if body is None else written
    replaced: dict[str, list[Segment]] = {}
    if status is not None:
        replaced["status"] = [orjson.dumps(status)]
    if "output_text" in found:
        texts = (text for item in items for text in _texts(item))
        replaced["output_text"] = [b'"', *texts, b'"']
    output = joined([item] for item in items)
    return Pieces([*_around(found, source, replaced), b',"output":[', *output, b"]}"])


def _texts(item: Segment) -> Iterator[Segment]:
    """The texts of an output item as they stand in its JSON: escaped, and never twice in memory."""
    body = item if isinstance(item, bytes) else read(item)
    for text in output_texts([orjson.loads(body)]):
        written = orjson.dumps(text)[1:-1]
        place = body.find(written)
        if place < 0 or len(written) <= INLINE_BYTES or isinstance(item, bytes):
            yield written
        else:
            yield item.cut(place, len(written))


def _around(found: Json, source: Segment, replaced: dict[str, list[Segment]]) -> Iterator[Segment]:
    """The object in `source` without its closing brace, other values in the place of some."""
    written, sent = 1, 0  # bytes of the source: looked at, and given
    for name, value in found.items():
        written += len(orjson.dumps(name)) + 1 + (written > 1)  # with a colon, and a comma before
        size = len(orjson.dumps(value))
        if name in replaced:
            yield cut(source, sent, written - sent)
            yield from replaced[name]
            sent = written + size
        written += size
    if sent < written:
        yield cut(source, sent, written - sent)


def input_items(tenant_id: int, response_id: str, paging: Paging) -> Pieces:
    """A page of what the response was given, in two queries. Raises NotFound, BadRequest."""
    return items_page(
        responses(tenant_id, response_id),
        _items(tenant_id, response_id, StoredItem.Side.INPUT),
        paging,
        response_not_found(),
    )


def run_of(tenant_id: int, response_id: str) -> tuple[str | None, bool]:
    """The status of the response's run, None if it has none, and whether it was made in the background.

    Raises NotFound.
    """
    row = responses(tenant_id, response_id).values_list("run__status", "background").first()
    if row is None:
        raise response_not_found()
    return row


def referenced(tenant_id: int, item_ids: Iterable[str]) -> dict[str, Referenced]:
    """The tenant's items with these ids, wherever they are stored, in two queries. Raises RequestTooComplex.

    Clients send items back, so that many responses may hold a copy. What a response gave comes before
    what a conversation holds, because it is known who made it, and both before what a client sent.
    """
    wanted = {item_id for item_id in item_ids if is_usable_id(item_id)}
    mine: Any = {"tenant_id": tenant_id, "item_id__in": wanted}
    most = settings.MAX_HISTORY_BYTES
    given, sent = {}, {}
    items = within(_newest(StoredItem.objects.filter(**mine), "item_id", "side"), "body", most)
    for item_id, body, side, provider in items.values_list(
        "item_id", "within", "side", "response__provider"
    ):
        if side == StoredItem.Side.OUTPUT:
            given[item_id] = Referenced(_fits(body), provider)
        else:
            sent[item_id] = Referenced(_fits(body), "")
    items = within(_newest(ConversationItem.objects.filter(**mine), "item_id"), "body", most)
    held = {
        item_id: Referenced(_fits(body), provider)
        for item_id, body, provider in items.values_list("item_id", "within", "provider")
    }
    return sent | held | given


def within(rows: QuerySet[Any], column: str, most: int) -> QuerySet[Any]:
    """The rows with the `total` size of a column, whose values are read (as `within`) only where they are
    no more than so many bytes together."""
    value = Case(When(total__lte=most, then=F(column)), output_field=BinaryField())
    summed: QuerySet[Any] = rows.annotate(total=Window(Sum(Length(column)))).annotate(within=value)
    return summed


def _fits(body: bytes | memoryview | None) -> bytes:
    if body is None:
        raise RequestTooComplex("history", settings.MAX_HISTORY_BYTES)
    return bytes(body)


def _items(tenant_id: int, response_id: str, side: StoredItem.Side) -> QuerySet[StoredItem]:
    if not _RESPONSE_ID.fullmatch(response_id):
        return StoredItem.objects.none()
    return StoredItem.objects.filter(tenant_id=tenant_id, response_id=response_id, side=side)


def _newest(items: QuerySet[Any], *of_each: str) -> QuerySet[Any]:
    newest: QuerySet[Any] = items.order_by().values(*of_each).annotate(newest=Max("pk"))
    rows: QuerySet[Any] = items.model._default_manager.filter(pk__in=newest.values("newest"))
    return rows.order_by()
