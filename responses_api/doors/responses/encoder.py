"""Write answers of the Responses door: the events of docs/wire.md 5.1 and 5.2.

Sequence numbers come from one counter, at the moment an event is written (docs/wire.md, pitfall 1). What the
deltas of one place have in common is put together once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from gateway_project.lib import clock, ids
from gateway_project.lib.errors import GatewayError
from gateway_project.lib.json import Json
from responses_api.doors.shapes import ModelCall
from responses_api.stream import events as response_events
from responses_api.stream import response as response_object
from responses_api.stream.events import CREATED, IN_PROGRESS
from responses_api.stream.steps import (
    Appended,
    Closed,
    Ended,
    Kind,
    Place,
    PlaceOpened,
    Started,
    Step,
)
from responses_api.stream.upstream_reader import Identity

# What is streamed piece by piece: the events' stem, the part's stem, the index both carry, and the
# field that holds the whole.
STEMS: dict[Kind, tuple[bytes, bytes, str, str]] = {
    "text": (b"response.output_text", b"response.content_part", "content_index", "text"),
    "refusal": (b"response.refusal", b"response.content_part", "content_index", "refusal"),
    "reasoning": (b"response.reasoning_text", b"response.content_part", "content_index", "text"),
    "summary": (
        b"response.reasoning_summary_text",
        b"response.reasoning_summary_part",
        "summary_index",
        "text",
    ),
    "arguments": (b"response.function_call_arguments", b"", "", "arguments"),
    "input": (b"response.custom_tool_call_input", b"", "", "input"),
}
ANNOTATION_ADDED = b"response.output_text.annotation.added"
_WHOLE: dict[str, Kind] = {"function_call": "arguments", "custom_tool_call": "input"}


class ResponsesEncoder:
    """Implements `Encoder` for the Responses API."""

    __slots__ = ("_identity", "_number", "_templates", "closing")

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self.closing = b""
        self._number = 0  # of the next event
        self._templates: dict[Place, tuple[bytes, bytes, bytes]] = {}

    def start(self, response: Json) -> bytes:
        announced = self._identity.announced
        self._number = len(announced)
        pieces, written = [], orjson.dumps(response)
        for kind in (CREATED, IN_PROGRESS):
            if kind not in announced:
                announced.add(kind)
                pieces.append(response_events.lifecycle(kind, self._take_number(), written))
        return b"".join(pieces)

    def announce(self, response: Json) -> bytes:
        return response_events.announcement(self._identity, response)

    def keepalive(self) -> bytes:
        # What was announced may have been by an earlier attempt, even after this one began.
        return response_events.keepalive(max(self._number, len(self._identity.announced)) - 1)

    def encode(self, step: Step) -> bytes:
        if type(step) is not Appended or step.annotation is not None:
            return _RENDERERS[type(step)](self, step)
        template = self._templates.get(step.place) or self._template(step.place)
        number = self._number
        self._number = number + 1
        before, between, after = template
        if step.logprobs:
            after = b',"logprobs":%b}\n\n' % orjson.dumps(step.logprobs)
        return b"%b%d%b%b%b" % (before, number, between, orjson.dumps(step.delta), after)

    def failed(self, error: GatewayError, steps: list[Step]) -> bytes:
        return b"".join(map(self.encode, steps))

    def final(self, response: Json) -> bytes:
        self.closing = orjson.dumps(response)
        return self.closing

    def document(self, response: Json) -> Json:
        return response

    def closing_unstored(self, response: Json) -> bytes:
        return self._closing_of({**response, "store": False})

    def rewrite_end(self, response: Json) -> bytes:
        self.closing = self._closing_of(response)
        return self.closing

    def _closing_of(self, response: Json) -> bytes:
        if not self._number:
            return orjson.dumps(response)
        return response_events.terminal(self._number - 1, response)

    def _template(self, place: Place) -> tuple[bytes, bytes, bytes]:
        """Make what stands before the number, between it and the text, and after the text."""
        kind = STEMS[place.kind][0] + b".delta"
        before = b'event: %b\ndata: {"type":"%b","sequence_number":' % (kind, kind)
        between = b",%b," % orjson.dumps(_where(place))[1:-1] + b'"delta":'
        after = b',"logprobs":[]}\n\n' if place.kind == "text" else b"}\n\n"
        self._templates[place] = before, between, after
        return before, between, after

    def _write_started(self, step: Started) -> bytes:
        return self.start(step.response)

    def _write_annotation(self, step: Appended) -> bytes:
        added = {"annotation_index": step.annotation_index, "annotation": step.annotation}
        return self._event(ANNOTATION_ADDED, {**_where(step.place), **added})

    def _write_opened(self, step: PlaceOpened) -> bytes:
        place = step.place
        if place.kind == "item":
            return self._item(b"added", place, step.value)
        _, part, _, _ = STEMS[place.kind]
        return self._event(part + b".added", {**_where(place), "part": step.value})

    def _write_closed(self, step: Closed) -> bytes:
        place, value = step.place, step.value
        if place.kind != "item":
            text, part, _, field = STEMS[place.kind]
            where = _where(place)
            whole = {field: value[field]}
            if place.kind == "text":
                whole["logprobs"] = value["logprobs"]
            return self._event(text + b".done", {**where, **whole}) + self._event(
                part + b".done", {**where, "part": value}
            )
        done = b""
        if streamed := _WHOLE.get(value["type"]):
            stem, _, _, field = STEMS[streamed]
            done = self._event(stem + b".done", {**_where(place), field: value[field]})
        return done + self._item(b"done", place, value)

    def _item(self, verb: bytes, place: Place, item: Json) -> bytes:
        kind = b"response.output_item." + verb
        return self._event(kind, {"output_index": place.output_index, "item": item})

    def _write_ended(self, step: Ended) -> bytes:
        self.closing = response_events.terminal(self._take_number(), step.response)
        return self.closing

    def _event(self, kind: bytes, fields: Json) -> bytes:
        return response_events.event(kind, self._take_number(), fields)

    def _take_number(self) -> int:
        self._number += 1
        return self._number - 1


def _where(place: Place) -> Json:
    where: Json = {"item_id": place.item_id, "output_index": place.output_index}
    if place.kind in STEMS and (index := STEMS[place.kind][2]):
        where[index] = place.part_index
    return where


def end_failed_stream(call: ModelCall, error: bytes) -> bytes:
    """End a stream that has only shown signs of life with a rendered error."""
    begun = response_object.in_progress(
        call.body, ids.response_id(), call.model, int(clock.timestamp())
    )
    message = orjson.loads(error)["error"]["message"]
    failed = response_object.failed(begun, [], "server_error", message)
    created = response_events.event(CREATED, 0, {"response": begun})
    return created + response_events.terminal(1, failed)


_RENDERERS: dict[type[Step], Callable[[ResponsesEncoder, Any], bytes]] = {
    Started: ResponsesEncoder._write_started,
    PlaceOpened: ResponsesEncoder._write_opened,
    Appended: ResponsesEncoder._write_annotation,
    Closed: ResponsesEncoder._write_closed,
    Ended: ResponsesEncoder._write_ended,
}
