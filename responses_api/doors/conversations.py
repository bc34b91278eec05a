"""Check the bodies of requests that make and fill conversations (docs/wire.md 6.3)."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from gateway_project.lib.structure import Caps
from responses_api.doors.metadata import check_metadata
from responses_api.doors.responses import check_item, item_kind
from responses_api.doors.shapes import check, parse_object

Json = dict[str, Any]
Items = Annotated[list[Json], Meta(max_length=20)]
# A NUL in an id could not be kept by PostgreSQL; the length is that of the column.
ItemId = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^\0]*\Z")]


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
    """The first items of a conversation and its metadata; everything may be left out, the body too.

    Raises BadRequest naming the field.
    """
    body = parse_object(raw, caps) if raw else {}
    check(body, Create)
    metadata: dict[str, str] = body.get("metadata") or {}
    check_metadata(metadata)
    return _checked(body.get("items") or []), metadata


def decode_add(raw: bytes, caps: Caps | None = None) -> list[Json]:
    """The items to add to a conversation. Raises BadRequest naming the field."""
    body = parse_object(raw, caps)
    check(body, Add)
    return _checked(body["items"])


def _checked(items: list[Json]) -> list[Json]:
    for position, item in enumerate(items):
        at = f"items[{position}]"
        if item_kind(item) == "item_reference":
            check(item, Reference, at)
        else:
            check(item, Item, at)
            check_item(item, at)
    return items
