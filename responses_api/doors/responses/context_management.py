"""Read the parameter `context_management`: when to compact a conversation before it is answered."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway_project.lib.json import Json
from responses_api.doors.shapes import check

MIN_THRESHOLD = 1000


class _Entry(Struct):
    type: Literal["compaction"]
    compact_threshold: Annotated[int, Meta(ge=MIN_THRESHOLD)] | None = None


def compact_threshold(body: Json, window: int | None) -> int | None:
    """Return from how many tokens on a conversation is to be compacted; None for never.

    Without a number it is nine tenths of the context window, if that is known. Raises BadRequest.
    """
    wishes = body.get("context_management")
    if not wishes:
        return None
    check(wishes, list[_Entry], "context_management")
    given = [wish.get("compact_threshold") for wish in wishes]
    numbers = [number for number in given if number is not None]
    if numbers:
        return int(min(numbers))
    return None if window is None else window * 9 // 10
