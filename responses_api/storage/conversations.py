"""Store and read conversations of one tenant and their items. Another tenant's conversation counts as
unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson
from django.db import transaction
from django.db.models import F, QuerySet

from gateway_project.lib import ids
from gateway_project.lib.errors import BadRequest, NotFound
from gateway_project.lib.json import Json
from responses_api.doors.responses.request import item_kind
from responses_api.models import Conversation, ConversationItem
from responses_api.storage.id_shapes import is_conversation_id, is_item_id
from responses_api.storage.items import identify_all
from responses_api.storage.pages import items_page
from responses_api.storage.pieces import LARGE_BYTES, Pieces, Stored, segment, with_sizes
from responses_api.storage.query import Paging
from responses_api.storage.reading import find_items
from routing.protocols.shared.envelope import NOBODY, Maker


@dataclass(frozen=True, slots=True)
class Entry:
    """An item on its way into a conversation. `maker` is empty if no provider made it."""

    item: Json
    maker: Maker = NOBODY


def conversation_not_found() -> NotFound:
    """Return the same error for a conversation that is unknown, deleted, another tenant's, or not an id at
    all."""
    return NotFound("No such conversation: it never existed or was deleted.")


def item_not_found() -> NotFound:
    """Return the same error for any item that is not in the conversation."""
    return NotFound("No such item in this conversation: it never existed or was deleted.")


# The conversation


def create(tenant_id: int, items: Sequence[Json], metadata: dict[str, str]) -> Json:
    """Create a conversation that begins with `items`, some of which may be references. Raise BadRequest."""
    entries = _resolve_references(tenant_id, items)
    row = Conversation(id=ids.conversation_id(), tenant_id=tenant_id, metadata=metadata)
    with transaction.atomic():
        row.save(force_insert=True)
        append_entries(tenant_id, row.id, entries)
    return _resource(row)


def retrieve(tenant_id: int, conversation_id: str) -> Json:
    """Return the conversation. Raise NotFound."""
    row = _mine(tenant_id, conversation_id).first()
    if row is None:
        raise conversation_not_found()
    return _resource(row)


def update(tenant_id: int, conversation_id: str, metadata: dict[str, str]) -> Json:
    """Replace the metadata. Raise NotFound."""
    _mine(tenant_id, conversation_id).update(metadata=metadata)
    return retrieve(tenant_id, conversation_id)


@transaction.atomic
def delete(tenant_id: int, conversation_id: str) -> None:
    """Delete the conversation and its items. Raise NotFound.

    Its row is locked first, so that an append in progress is waited for and deleted with the rest.
    """
    row = _mine(tenant_id, conversation_id).select_for_update().first()
    if row is None:
        raise conversation_not_found()
    row.delete()


# Its items


def append(
    tenant_id: int, conversation_id: str, items: Iterable[Json], maker: Maker = NOBODY
) -> list[Json]:
    """Append items made by one provider, or by none. See `append_entries`."""
    return append_entries(tenant_id, conversation_id, [Entry(item, maker) for item in items])


@transaction.atomic
def append_entries(tenant_id: int, conversation_id: str, entries: Sequence[Entry]) -> list[Json]:
    """Append items so that they stand together whoever else appends; return them as they are stored.

    Raising `next_position` locks the row: another writer waits until this one has committed. An item whose id
    is already in the conversation gets a new one. Raise NotFound.
    """
    mine = _mine(tenant_id, conversation_id)
    if not mine.update(next_position=F("next_position") + len(entries)):
        raise conversation_not_found()
    start = mine.values_list("next_position", flat=True).get() - len(entries)
    stored = identify_all(
        (entry.item for entry in entries), _find_taken_ids(tenant_id, conversation_id, entries)
    )
    ConversationItem.objects.bulk_create(
        ConversationItem(
            tenant_id=tenant_id,
            conversation_id=conversation_id,
            position=position,
            item_id=item["id"],
            provider=entry.maker.provider,
            account=entry.maker.account,
            body=orjson.dumps(item),
        )
        for position, (entry, item) in enumerate(zip(entries, stored, strict=True), start)
    )
    return stored


def add(tenant_id: int, conversation_id: str, items: Sequence[Json]) -> Json:
    """Append a client's items, some of which may be references; return them as a list.

    Raise NotFound or BadRequest.
    """
    stored = append_entries(tenant_id, conversation_id, _resolve_references(tenant_id, items))
    return {
        "object": "list",
        "data": stored,
        "first_id": stored[0]["id"] if stored else None,
        "last_id": stored[-1]["id"] if stored else None,
        "has_more": False,
    }


def items(tenant_id: int, conversation_id: str, paging: Paging) -> Pieces:
    """Return a page of the items, in two queries. Raise NotFound or BadRequest."""
    return items_page(
        _mine(tenant_id, conversation_id),
        _items(tenant_id, conversation_id),
        paging,
        conversation_not_found(),
    )


def item(tenant_id: int, conversation_id: str, item_id: str) -> Pieces:
    """Return one item as JSON. Raise NotFound."""
    retrieve(tenant_id, conversation_id)
    rows = with_sizes(_item(tenant_id, conversation_id, item_id), "body", LARGE_BYTES)
    row = rows.values_list("pk", "size", "inline").first()
    if row is None:
        raise item_not_found()
    pk, size, inline = row
    return Pieces([segment(Stored(ConversationItem, tenant_id, pk, "body", size), inline)])


def delete_item(tenant_id: int, conversation_id: str, item_id: str) -> Json:
    """Delete one item; return the conversation. Raise NotFound."""
    conversation = retrieve(tenant_id, conversation_id)
    deleted, _ = _item(tenant_id, conversation_id, item_id).delete()
    if not deleted:
        raise item_not_found()
    return conversation


# Rows


def _mine(tenant_id: int, conversation_id: str) -> QuerySet[Conversation]:
    if not is_conversation_id(conversation_id):
        return Conversation.objects.none()
    return Conversation.objects.filter(tenant_id=tenant_id, pk=conversation_id)


def _items(tenant_id: int, conversation_id: str) -> QuerySet[ConversationItem]:
    if not is_conversation_id(conversation_id):
        return ConversationItem.objects.none()
    return ConversationItem.objects.filter(tenant_id=tenant_id, conversation_id=conversation_id)


def _item(tenant_id: int, conversation_id: str, item_id: str) -> QuerySet[ConversationItem]:
    if not is_item_id(item_id):
        return ConversationItem.objects.none()
    return _items(tenant_id, conversation_id).filter(item_id=item_id)


def _find_taken_ids(tenant_id: int, conversation_id: str, entries: Iterable[Entry]) -> set[str]:
    """Return the items' ids that are in the conversation already."""
    given = (entry.item.get("id") for entry in entries)
    known = _items(tenant_id, conversation_id).filter(item_id__in=filter(is_item_id, given))
    return set(known.values_list("item_id", flat=True))


def _resolve_references(tenant_id: int, items: Sequence[Json]) -> list[Entry]:
    """Return a client's items, each reference among them replaced by the item the tenant has stored."""
    references = [item["id"] for item in items if item_kind(item) == "item_reference"]
    stored = find_items(tenant_id, references) if references else {}
    entries = []
    for position, given in enumerate(items):
        if item_kind(given) != "item_reference":
            entries.append(Entry(given))
            continue
        found = stored.get(given["id"])
        if found is None:
            at = f"items[{position}].id"
            raise BadRequest(f"Invalid value for '{at}': no stored item has this id.", param=at)
        entries.append(Entry(orjson.loads(found.body), found.maker))
    return entries


def _resource(row: Conversation) -> Json:
    return {
        "id": row.id,
        "object": "conversation",
        "created_at": int(row.created_at.timestamp()),
        "metadata": row.metadata,
    }
