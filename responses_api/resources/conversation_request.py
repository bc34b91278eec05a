"""Check the bodies of requests that make and fill conversations (docs/wire.md 6.3)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from gateway_project.lib.json import Json
from gateway_project.lib.structure import Caps
from responses_api.doors.metadata import check_metadata
from responses_api.doors.responses.request import check_item, item_kind
from responses_api.doors.shapes import check, parse_object
from responses_api.storage.id_shapes import ItemId

Items = Annotated[list[Json], Meta(max_length=20)]


class Create(Struct):
    items: Items | None = None
    metadata: Json | None = None


class Add(Struct):
    items: Items


class Reference(Struct):
    id: ItemId


class Item(Struct):
    id: ItemId | None = None


def decode_create(raw: bytes, caps: Caps | None = None) -> tuple[list[Json], dict[str, str]]:
    """Return the first items of a conversation and its metadata; everything may be left out, even the body.

    Raise BadRequest naming the field.
    """
    body = parse_object(raw, caps) if raw else {}
    check(body, Create)
    metadata: dict[str, str] = body.get("metadata") or {}
    check_metadata(metadata)
    return _check_items(body.get("items") or []), metadata


def decode_add(raw: bytes, caps: Caps | None = None) -> list[Json]:
    """Return the items to add to a conversation. Raise BadRequest naming the field."""
    body = parse_object(raw, caps)
    check(body, Add)
    return _check_items(body["items"])


def _check_items(items: list[Json]) -> list[Json]:
    for position, item in enumerate(items):
        at = f"items[{position}]"
        if item_kind(item) == "item_reference":
            check(item, Reference, at)
        else:
            check(item, Item, at)
            check_item(item, at)
    return items
