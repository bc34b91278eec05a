"""Define the five steps of an answer, which every door renders in its own format."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gateway_project.lib.json import Json

Kind = Literal["item", "text", "refusal", "summary", "reasoning", "arguments", "input"]


class Place:
    """The place of something in the output; one object per place, so that it can be a cache's key."""

    __slots__ = ("item_id", "kind", "output_index", "part_index")

    def __init__(self, kind: Kind, item_id: str, output_index: int, part_index: int = 0) -> None:
        self.kind = kind
        self.item_id = item_id
        self.output_index = output_index
        self.part_index = part_index


class Started(Struct, frozen=True):
    """The answer begins; `response` is in progress."""

    response: Json


class PlaceOpened(Struct, frozen=True):
    """An item, or a part of an item, begins; `value` is its JSON with nothing in it yet."""

    place: Place
    value: Json


class Appended(Struct, frozen=True):
    """More text at a place, or an annotation of it, whose index then is given."""

    place: Place
    delta: str
    logprobs: tuple[Json, ...] = ()
    annotation: Json | None = None
    annotation_index: int = 0


class Closed(Struct, frozen=True):
    """An item or a part is as it will stay; `value` is its JSON."""

    place: Place
    value: Json


class Ended(Struct, frozen=True):
    """The answer is over; `response` is completed, incomplete or failed, as its status says."""

    response: Json


Step = Started | PlaceOpened | Appended | Closed | Ended
