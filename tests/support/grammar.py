"""Check the order in which a streamed Response must say what it says (docs/wire.md 5.1, 5.3).

`read` takes the bytes apart, strictly in the form the gateway writes; `check` follows the events and
raises AssertionError at the first that may not stand where it stands. It knows the grammar only, not the
gateway: any stream of the Responses API can be given to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

Json = dict[str, Any]

TERMINAL = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}
OPENING = {
    "response.created": {"queued", "in_progress"},
    "response.queued": {"queued"},
    "response.in_progress": {"in_progress"},
}
# What is streamed piece by piece: the index its events carry, and the field that holds the whole.
STREAMED = {
    "response.output_text": ("content_index", "text"),
    "response.refusal": ("content_index", "refusal"),
    "response.reasoning_text": ("content_index", "text"),
    "response.reasoning_summary_text": ("summary_index", "text"),
    "response.function_call_arguments": (None, "arguments"),
    "response.custom_tool_call_input": (None, "input"),
    "response.mcp_call_arguments": (None, "arguments"),
    "response.code_interpreter_call_code": (None, "code"),
}
PARTS = {
    "response.content_part": ("content_index", "content"),
    "response.reasoning_summary_part": ("summary_index", "summary"),
}
PART_TEXT = {
    "output_text": "text",
    "refusal": "refusal",
    "reasoning_text": "text",
    "summary_text": "text",
}
SAME_IN_DONE = ("id", "type", "call_id", "name", "role", "namespace")


def read(stream: bytes) -> list[Json]:
    """The events of a whole stream as the gateway frames it: LF only, a name that equals the type, no
    `id:` lines, comments between events only, and `[DONE]` last."""
    assert b"\r" not in stream, "a CR on the wire"
    assert stream.endswith(b"\n\n"), "the stream ends inside an event"
    blocks = [block for block in stream[:-2].split(b"\n\n") if not block.startswith(b":")]
    assert blocks[-1] == b"data: [DONE]", f"the last event is {blocks[-1][:100]!r}"
    return [_event(block) for block in blocks[:-1]]


def _event(block: bytes) -> Json:
    lines = block.split(b"\n")
    assert len(lines) == 2, f"not one event and one data line: {block[:200]!r}"
    name, data = lines
    assert name.startswith(b"event: "), f"no event line: {block[:200]!r}"
    assert data.startswith(b"data: "), f"no data line: {block[:200]!r}"
    event: Json = orjson.loads(data[6:])
    assert event["type"] == name[7:].decode(), f"{name!r} names an event of {event['type']!r}"
    return event


def check(events: list[Json]) -> Json:
    """The final Response of a stream that keeps to the grammar."""
    follower = _Follower()
    for event in events:
        try:
            follower.take(event)
        except AssertionError as error:
            raise AssertionError(f"{error}\n  at {str(event)[:500]}") from None
    assert follower.final is not None, "no terminal event"
    return follower.final


def check_stream(stream: bytes) -> Json:
    """`read` and `check`."""
    return check(read(stream))


@dataclass(slots=True)
class _Part:
    kind: str
    text: str = ""
    text_done: bool = False
    done: Json | None = None


@dataclass(slots=True)
class _Item:
    added: Json
    parts: dict[tuple[str, int], _Part] = field(default_factory=dict)
    streamed: str = ""
    whole: str | None = None
    done: Json | None = None


class _Follower:
    def __init__(self) -> None:
        self.final: Json | None = None
        self._number = -1
        self._identity: tuple[str, str] | None = None
        self._opened: list[str] = []
        self._items: list[_Item] = []

    def take(self, event: Json) -> None:
        kind = event["type"]
        assert self.final is None, "an event after the terminal one"
        if kind == "keepalive":
            assert self._identity is not None, "a keep-alive before response.created"
            assert event["sequence_number"] == self._number, "a keep-alive has its own number"
            return
        self._count(event)
        assert kind == "response.created" or self._identity is not None, (
            "not response.created first"
        )
        assert kind != "error", "an error event instead of response.failed"
        if kind in OPENING or kind in TERMINAL:
            self._lifecycle(kind, event["response"])
            return
        self._inner(kind, event)

    def _count(self, event: Json) -> None:
        number = event["sequence_number"]
        if self._number < 0:
            assert number == 0, f"the first number is {number}"
        assert number > self._number, f"number {number} after {self._number}"
        self._number = number

    # The Response

    def _lifecycle(self, kind: str, response: Json) -> None:
        identity = (response["id"], response["model"])
        assert self._identity in {None, identity}, f"the response was {self._identity}"
        self._identity = identity
        if kind in OPENING:
            assert not self._items, "an opening event after output"
            assert kind not in self._opened, "an opening event twice"
            assert response["status"] in OPENING[kind], f"status {response['status']!r}"
            assert response["output"] == [], "output before any item"
            self._opened.append(kind)
            return
        assert response["status"] == TERMINAL[kind], f"status {response['status']!r}"
        self._end(kind, response)
        self.final = response

    def _end(self, kind: str, response: Json) -> None:
        finished = [item.done for item in self._items if item.done is not None]
        assert response["output"] == finished, "output is not the finished items"
        if kind == "response.failed":
            assert response["error"]["code"], "a failure without a code"
            assert response["error"]["message"], "a failure without a message"
            return
        assert len(finished) == len(self._items), "an item was never finished"
        assert not response["error"], "an error in a response that has not failed"
        cut = [item for item in finished if item.get("status") == "incomplete"]
        assert cut == [] or (kind == "response.incomplete" and cut == finished[-1:]), (
            "an incomplete item that is not the last of an incomplete response"
        )
        if kind == "response.incomplete":
            assert response["incomplete_details"]["reason"], "incomplete for no reason"

    # Items

    def _inner(self, kind: str, event: Json) -> None:
        stem, _, verb = kind.rpartition(".")
        if kind == "response.output_item.added":
            self._item_added(event)
        elif kind == "response.output_item.done":
            self._item_done(event)
        elif stem in PARTS:
            handle = {"added": self._part_added, "done": self._part_done}[verb]
            handle(self._item(event), event, *PARTS[stem])
        elif stem in STREAMED:
            action: dict[str, Callable[..., None]] = {"delta": self._delta, "done": self._text_done}
            action[verb](self._item(event), event, *STREAMED[stem])
        elif "output_index" in event:
            self._item(event)

    def _item_added(self, event: Json) -> None:
        item, index = event["item"], event["output_index"]
        assert index == len(self._items), f"item {index} where {len(self._items)} comes next"
        assert item["id"], "an item without id"
        assert item["id"] not in [other.added["id"] for other in self._items], "an item id twice"
        assert item.get("status", "in_progress") == "in_progress", "an item that begins finished"
        self._items.append(_Item(item))

    def _item(self, event: Json) -> _Item:
        """The open item an event belongs to."""
        index = event["output_index"]
        assert index < len(self._items), f"item {index} was never added"
        item = self._items[index]
        assert item.done is None, f"item {index} was finished before"
        assert event.get("item_id", item.added["id"]) == item.added["id"], "another item's id"
        return item

    def _item_done(self, event: Json) -> None:
        item, done = self._item(event), event["item"]
        for name in SAME_IN_DONE:
            assert done.get(name) == item.added.get(name), f"{name!r} changed"
        assert done.get("status") != "in_progress", "a finished item in progress"
        for (index_name, index), part in item.parts.items():
            assert part.done is not None, f"part {index} was never finished"
            listed = done["content" if index_name == "content_index" else "summary"]
            assert listed[index] == part.done, f"part {index} of the item differs from the part"
        if item.whole is not None:
            assert item.whole in {done.get("arguments"), done.get("input"), done.get("code")}
        assert item.streamed == "" or item.whole is not None, "deltas without a done"
        item.done = done

    # Parts and texts

    def _part_added(self, item: _Item, event: Json, index_name: str, _: str) -> None:
        index, part = event[index_name], event["part"]
        known = [found for name, found in item.parts if name == index_name]
        assert index == len(known), f"part {index} where {len(known)} comes next"
        assert part[PART_TEXT[part["type"]]] == "", "a part that begins with text"
        item.parts[index_name, index] = _Part(part["type"])

    def _part(self, item: _Item, event: Json, index_name: str) -> _Part:
        key = (index_name, event[index_name])
        assert key in item.parts, f"part {key[1]} was never added"
        part = item.parts[key]
        assert part.done is None, f"part {key[1]} was finished before"
        return part

    def _part_done(self, item: _Item, event: Json, index_name: str, _: str) -> None:
        part, done = self._part(item, event, index_name), event["part"]
        assert part.text_done, "the part's text was never finished"
        assert done["type"] == part.kind, "the part changed its type"
        assert done[PART_TEXT[part.kind]] == part.text, "the part is not what was streamed"
        part.done = done

    def _delta(self, item: _Item, event: Json, index_name: str | None, _: str) -> None:
        if index_name is None:
            assert item.whole is None, "a delta after done"
            item.streamed += event["delta"]
            return
        part = self._part(item, event, index_name)
        assert not part.text_done, "a delta after done"
        part.text += event["delta"]

    def _text_done(self, item: _Item, event: Json, index_name: str | None, whole: str) -> None:
        if index_name is None:
            assert item.whole is None, "done twice"
            assert event[whole] == item.streamed, f"{whole!r} is not the deltas joined"
            item.whole = event[whole]
            return
        part = self._part(item, event, index_name)
        assert not part.text_done, "done twice"
        assert event[whole] == part.text, f"{whole!r} is not the deltas joined"
        part.text_done = True


def without_keepalives(stream: bytes) -> bytes:
    """Leave the signs of life out of a stream, events and comments: they tell how slow a machine is."""
    events = stream.split(b"\n\n")
    return b"\n\n".join(e for e in events if not e.startswith((b":", b"event: keepalive")))
