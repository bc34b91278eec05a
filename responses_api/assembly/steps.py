"""The five steps of an answer, which every door renders in its own format.

A step carries values that will not change any more: what an encoder keeps of it stays true.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Json = dict[str, Any]

Kind = Literal["item", "text", "refusal", "summary", "reasoning", "arguments", "input"]


class Place:
    """Where in the output something stands; one object a place, so that it can be a cache's key.

    `kind` is what stands there: an item, a part of one (text, refusal, summary, reasoning), or the text
    of a call (arguments, input). `part_index` counts among the item's parts of its list; 0 where the
    item has no parts.
    """

    __slots__ = ("item_id", "kind", "output_index", "part_index")

    def __init__(self, kind: Kind, item_id: str, output_index: int, part_index: int = 0) -> None:
        self.kind = kind
        self.item_id = item_id
        self.output_index = output_index
        self.part_index = part_index


class Started(NamedTuple):
    """The answer begins; `response` is in progress."""

    response: Json


class Opened(NamedTuple):
    """An item, or a part of an item, begins; `value` is its JSON with nothing in it yet."""

    place: Place
    value: Json


class Appended(NamedTuple):
    """More text at a place, or an annotation of it, whose index then is given."""

    place: Place
    delta: str
    logprobs: tuple[Json, ...] = ()
    annotation: Json | None = None
    annotation_index: int = 0


class Closed(NamedTuple):
    """An item or a part is as it will stay; `value` is its JSON."""

    place: Place
    value: Json


class Ended(NamedTuple):
    """The answer is over; `response` is completed, incomplete or failed, as its status says."""

    response: Json


Step = Started | Opened | Appended | Closed | Ended
