"""Read stored responses and items of one tenant. Another tenant's response counts as unknown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.db.models import BinaryField, Case, F, Max, QuerySet, Sum, When, Window
from django.db.models.functions import Length

from gateway_project.lib.errors import NotFound, RequestTooComplex
from gateway_project.lib.json import Json
from responses_api.models import ConversationItem, StoredItem, StoredResponse
from responses_api.storage.id_shapes import is_item_id, is_response_id
from responses_api.storage.pages import items_page
from responses_api.storage.pieces import (
    LARGE_BYTES,
    Pieces,
    Segment,
    Stored,
    cut,
    join_lists,
    large_work,
    read,
    segment,
    with_sizes,
)
from responses_api.storage.query import Paging
from responses_api.stream.response import output_texts
from routing.protocols.shared.envelope import NOBODY, Maker

# Items up to this size are read with the list of them.
INLINE_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Referenced:
    """A stored item's JSON. `maker` is empty if unknown."""

    body: bytes
    maker: Maker


def response_not_found() -> NotFound:
    """Return the same error for a response that is unknown, deleted, another tenant's, or not an id at
    all."""
    return NotFound("No such response: it was never stored, was deleted, or has expired.")


def responses(tenant_id: int, response_id: str) -> QuerySet[StoredResponse]:
    """Return the tenant's response with this id, or none; text that cannot be an id is not looked up."""
    if not is_response_id(response_id):
        return StoredResponse.objects.none()
    return StoredResponse.objects.filter(tenant_id=tenant_id, pk=response_id)


def response(tenant_id: int, response_id: str) -> Pieces:
    """Return the Response as JSON, in two queries if it is not large. Raise NotFound."""
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
    """Return the output items and their size."""
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
    """Return a stored body with its output items; `status` is that of the run, which is ahead of the body."""
    written = read(head) if body is None else bytes(body)
    found = orjson.loads(written)
    if (again := orjson.dumps(found)) != written:
        body = written = again  # otherwise its parts could not be located
    source: Segment = head if body is None else written
    replaced: dict[str, list[Segment]] = {}
    if status is not None:
        replaced["status"] = [orjson.dumps(status)]
    if "output_text" in found:
        texts = (text for item in items for text in _texts(item))
        replaced["output_text"] = [b'"', *texts, b'"']
    output = join_lists([item] for item in items)
    return Pieces([*_around(found, source, replaced), b',"output":[', *output, b"]}"])


def _texts(item: Segment) -> Iterator[Segment]:
    """Return the texts of an output item as they stand in its JSON: escaped, and never twice in memory."""
    body = item if isinstance(item, bytes) else read(item)
    for text in output_texts([orjson.loads(body)]):
        written = orjson.dumps(text)[1:-1]
        place = body.find(written)
        if place < 0 or len(written) <= INLINE_BYTES or isinstance(item, bytes):
            yield written
        else:
            yield item.cut(place, len(written))


def _around(found: Json, source: Segment, replaced: dict[str, list[Segment]]) -> Iterator[Segment]:
    """Return the object in `source` without its closing brace, with some values replaced."""
    written, sent = 1, 0  # bytes of the source: looked at, and given
    for name, value in found.items():
        written += (
            len(orjson.dumps(name)) + 1 + (written > 1)
        )  # plus a colon, and a comma before it
        size = len(orjson.dumps(value))
        if name in replaced:
            yield cut(source, sent, written - sent)
            yield from replaced[name]
            sent = written + size
        written += size
    if sent < written:
        yield cut(source, sent, written - sent)


def input_items(tenant_id: int, response_id: str, paging: Paging) -> Pieces:
    """Return a page of what the response was given, in two queries. Raise NotFound or BadRequest."""
    return items_page(
        responses(tenant_id, response_id),
        _items(tenant_id, response_id, StoredItem.Side.INPUT),
        paging,
        response_not_found(),
    )


def run_of(tenant_id: int, response_id: str) -> tuple[str | None, bool]:
    """Return the status of the response's run, None if it has none, and whether it was made in the
    background.

    Raise NotFound.
    """
    row = responses(tenant_id, response_id).values_list("run__status", "background").first()
    if row is None:
        raise response_not_found()
    return row


def find_items(tenant_id: int, item_ids: Iterable[str]) -> dict[str, Referenced]:
    """Return the tenant's items with these ids, wherever they are stored, in two queries. Raise
    RequestTooComplex.

    Clients send items back, so many responses may hold a copy. An item that a response gave comes before one
    in a conversation, because its maker is known, and both come before an item that a client sent.
    """
    wanted = {item_id for item_id in item_ids if is_item_id(item_id)}
    mine: Any = {"tenant_id": tenant_id, "item_id__in": wanted}
    most = settings.MAX_HISTORY_BYTES
    given, sent = {}, {}
    items = within(_newest(StoredItem.objects.filter(**mine), "item_id", "side"), "body", most)
    for item_id, body, side, *maker in items.values_list(
        "item_id", "within", "side", "response__provider", "response__account"
    ):
        if side == StoredItem.Side.OUTPUT:
            given[item_id] = Referenced(_fits(body), Maker(*maker))
        else:
            sent[item_id] = Referenced(_fits(body), NOBODY)
    items = within(_newest(ConversationItem.objects.filter(**mine), "item_id"), "body", most)
    held = {
        item_id: Referenced(_fits(body), Maker(*maker))
        for item_id, body, *maker in items.values_list("item_id", "within", "provider", "account")
    }
    return sent | held | given


def within(rows: QuerySet[Any], column: str, most: int) -> QuerySet[Any]:
    """Return the rows with the `total` size of a column; its values are read (as `within`) only if
    together they are no more than so many bytes."""
    value = Case(When(total__lte=most, then=F(column)), output_field=BinaryField())
    summed: QuerySet[Any] = rows.annotate(total=Window(Sum(Length(column)))).annotate(within=value)
    return summed


def _fits(body: bytes | memoryview | None) -> bytes:
    if body is None:
        raise RequestTooComplex("history", settings.MAX_HISTORY_BYTES)
    return bytes(body)


def _items(tenant_id: int, response_id: str, side: StoredItem.Side) -> QuerySet[StoredItem]:
    if not is_response_id(response_id):
        return StoredItem.objects.none()
    return StoredItem.objects.filter(tenant_id=tenant_id, response_id=response_id, side=side)


def _newest(items: QuerySet[Any], *of_each: str) -> QuerySet[Any]:
    newest: QuerySet[Any] = items.order_by().values(*of_each).annotate(newest=Max("pk"))
    rows: QuerySet[Any] = items.model._default_manager.filter(pk__in=newest.values("newest"))
    return rows.order_by()
