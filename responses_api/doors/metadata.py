"""Check metadata, the pairs of text that clients attach to what is stored (docs/wire.md 3.2)."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from gateway_project.lib.errors import BadRequest
from gateway_project.lib.structure import Caps
from responses_api.doors.shapes import check, parse_object

Key = Annotated[str, Meta(min_length=1, max_length=64)]
Value = Annotated[str, Meta(max_length=512)]
Metadata = Annotated[dict[Key, Value], Meta(max_length=16)]


class Update(Struct):
    """The body of a request that replaces metadata; null removes all of it."""

    metadata: dict[str, Any] | None


def decode_update(raw: bytes, caps: Caps | None = None) -> dict[str, str]:
    """Check the new metadata in a request body. Raises BadRequest naming the field."""
    body = parse_object(raw, caps)
    check(body, Update)
    metadata: dict[str, str] = body["metadata"] or {}
    check_metadata(metadata)
    return metadata


def check_metadata(metadata: Any) -> None:
    """Check pairs. Raises BadRequest naming the pair; a NUL is refused because PostgreSQL cannot keep one."""
    check(metadata, Metadata, "metadata")
    for key, value in metadata.items():
        if "\0" in key or "\0" in value:
            raise BadRequest("Invalid value for 'metadata': a text holds a NUL.", param="metadata")
