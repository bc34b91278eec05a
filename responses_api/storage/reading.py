"""Reading stored responses and items of one tenant. Whatever is not the tenant's is not there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from django.db.models import Max, QuerySet

from gateway_project.lib.errors import NotFound
from responses_api.models import ConversationItem, StoredItem, StoredResponse
from responses_api.query import Paging
from responses_api.response_object import output_text
from responses_api.storage.items import is_usable_id
from responses_api.storage.pages import items_page

Json = dict[str, Any]

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


def response(tenant_id: int, response_id: str) -> bytes:
    """The Response as JSON, in two queries. Raises NotFound."""
    row = responses(tenant_id, response_id).values_list("body", "run__status").first()
    if row is None:
        raise response_not_found()
    body, status = row
    output = _items(tenant_id, response_id, StoredItem.Side.OUTPUT).order_by("position")
    return whole(bytes(body), output.values_list("body", flat=True), status)


def whole(body: bytes, output: Iterable[bytes | memoryview], status: str | None = None) -> bytes:
    """A stored body with its output items; `status` is that of the run, which is ahead of the body."""
    items = b"[%b]" % b",".join(map(bytes, output))
    found = orjson.loads(body)
    if status is not None:
        found["status"] = status
    if "output_text" in found:
        found["output_text"] = output_text(orjson.loads(items))
    return orjson.dumps({**found, "output": orjson.Fragment(items)})


def input_items(tenant_id: int, response_id: str, paging: Paging) -> Json:
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
    """The tenant's items with these ids, wherever they are stored, in two queries.

    Clients send items back, so that many responses may hold a copy. What a response gave comes before
    what a conversation holds, because it is known who made it, and both before what a client sent.
    """
    wanted = {item_id for item_id in item_ids if is_usable_id(item_id)}
    mine: Any = {"tenant_id": tenant_id, "item_id__in": wanted}
    given, sent = {}, {}
    for item_id, body, side, provider in StoredItem.objects.filter(
        pk__in=_newest(StoredItem.objects.filter(**mine), "item_id", "side")
    ).values_list("item_id", "body", "side", "response__provider"):
        if side == StoredItem.Side.OUTPUT:
            given[item_id] = Referenced(bytes(body), provider)
        else:
            sent[item_id] = Referenced(bytes(body), "")
    held = {
        item_id: Referenced(bytes(body), provider)
        for item_id, body, provider in ConversationItem.objects.filter(
            pk__in=_newest(ConversationItem.objects.filter(**mine), "item_id")
        ).values_list("item_id", "body", "provider")
    }
    return sent | held | given


def _items(tenant_id: int, response_id: str, side: StoredItem.Side) -> QuerySet[StoredItem]:
    if not _RESPONSE_ID.fullmatch(response_id):
        return StoredItem.objects.none()
    return StoredItem.objects.filter(tenant_id=tenant_id, response_id=response_id, side=side)


def _newest(items: QuerySet[Any], *of_each: str) -> QuerySet[Any]:
    newest: QuerySet[Any] = items.order_by().values(*of_each).annotate(newest=Max("pk"))
    return newest.values("newest")
