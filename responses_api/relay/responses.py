"""Responses to Responses.

Only the few lifecycle frames carry the whole Response, and with it what the gateway owns: its id, the
model's name and the echo of state. Those are parsed and rewritten; every other frame goes out as it came.
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway_project.lib.errors import (
    GatewayError,
    UpstreamCut,
    UpstreamMalformed,
)
from gateway_project.lib.sse import DONE, named_event
from responses_api import response_events, response_object
from responses_api.doors.shapes import ModelCall
from responses_api.relay import Identity, dumped, written
from responses_api.relay.frames import FrameRelay
from responses_api.relay.tally import length_of_delta
from responses_api.response_events import CREATED, IN_PROGRESS, KEEPALIVE
from routing.protocols import failures
from routing.protocols.responses_deltas import BROKEN, ENDINGS, status_of
from routing.route import Target
from tenants.token_classes import Usage

Json = dict[str, Any]

OPENING = frozenset({CREATED, b"response.queued", IN_PROGRESS})
TERMINAL = frozenset({b"response.completed", b"response.failed", b"response.incomplete"})
LIFECYCLE = OPENING | TERMINAL
ITEM_DONE = b"response.output_item.done"
_TYPE_FIRST = b'{"type":"'


class ResponsesRelay(FrameRelay):
    """Implements `Relay` for the Responses API."""

    __slots__ = (
        "_call", "_closing_number", "_items", "_last", "_opened", "_snapshot", "_tallied",
    )  # fmt: skip

    def __init__(self, call: ModelCall, target: Target, identity: Identity) -> None:
        super().__init__("responses", target, identity)
        self._call = call
        self._snapshot: Json | None = None
        self._items: list[bytes] = []
        self._opened: set[bytes] = set()  # opening events that count as announced once they go out
        self._last = b""
        self._tallied = 0  # deltas up to the last item that ended
        self._closing_number: int | None = None

    def body(self, raw: bytes) -> bytes:
        answer = _object(raw)
        if answer is None or not _are_items(answer.get("output")):
            if answer is not None and answer.get("error"):
                raise failures.of_event(self._target, answer["error"])
            raise UpstreamMalformed(f"The provider {self._target.provider!r} sent no response.")
        self.meter.observe(answer.get("usage"))
        status = status_of(answer)
        if status in BROKEN:
            raise failures.of_event(self._target, answer.get("error") or {})
        if status not in ENDINGS:
            raise UpstreamMalformed(
                f"The provider {self._target.provider!r} sent a response that has not ended; its status "
                f"is {status[:50]!r}."
            )
        self.has_output = self.ended = True
        self._count_unreported(answer["output"])
        self.service_tier = answer.get("service_tier")
        self.status = answer["status"] = status
        self._snapshot = self._owned(answer)
        self.closing = dumped(self._snapshot, self._target)
        return self.closing

    def _take(self, data: bytes, pieces: list[bytes]) -> None:
        kind = _kind(data)
        if kind in LIFECYCLE or kind == b"error":
            self._lifecycle(kind, data, pieces)
        elif not kind or not data.endswith(b"}"):
            self.frames_dropped += 1
        elif kind != KEEPALIVE or self.has_output:
            self.has_output = True
            self._last = data
            if kind.endswith(b".delta"):
                self.tally.add(length_of_delta(data))
            elif kind == ITEM_DONE:
                self._item_done(data)
            pieces.append(named_event(kind, data))

    def finish(self) -> bytes:
        if not self.ended:
            raise UpstreamCut(f"The provider {self._target.provider!r} ended the stream too early.")
        return b""

    def announce(self) -> bytes:
        """The upstream's own opening events if they came, otherwise ours."""
        if self._held:
            return self._released([])
        return response_events.announcement(self._identity, self._response())

    def keepalive(self) -> bytes:
        return response_events.keepalive(self._last_number())

    def failed(self, error: GatewayError) -> bytes:
        self.ended = True
        self.status = "failed"
        code, message = response_object.failure_code(error), error.message
        response = response_object.failed(self._response(), self._finished_items(), code, message)
        self._snapshot = response
        self._closing_number = self._last_number() + 1
        self.closing = response_events.terminal(self._closing_number, response)
        return self.closing

    def cut_short(self, usage: Usage, why: str) -> bytes:
        self.ended = True
        self.status = "incomplete"
        items = self._finished_items()
        response = response_object.cut_short(self._response(), items, usage, why)
        self._snapshot = response
        self._closing_number = self._last_number() + 1
        self.closing = response_events.terminal(self._closing_number, response)
        return self.closing

    def answer(self) -> Json | None:
        snapshot = self._snapshot
        if snapshot is None or _are_items(snapshot.get("output")):
            return snapshot
        # Some servers leave it out at the end (docs/wire.md, pitfall 6).
        return {**snapshot, "output": self._finished_items()}

    def unkept(self) -> bytes:
        assert self._snapshot is not None
        response = {**self._snapshot, "store": False}
        if self._closing_number is None:
            return dumped(response, self._target)
        return response_events.terminal(self._closing_number, response)

    def _item_done(self, data: bytes) -> None:
        """Some servers send no deltas, so an item that had none is counted when it is finished."""
        self._items.append(data)
        if self.tally.deltas == self._tallied and (event := _object(data)) is not None:
            self.tally.add_text(written.of_items([event.get("item")]))
        self._tallied = self.tally.deltas

    def _count_unreported(self, output: Any) -> None:
        """Count a whole answer of which neither a report nor a delta told."""
        if not (self.meter.has_output or self.tally.deltas):
            self.tally.add_text(written.of_items(output))

    def _lifecycle(self, kind: bytes, data: bytes, pieces: list[bytes]) -> None:
        event = _object(data)
        if event is None:
            self.frames_dropped += 1
            return
        if kind == b"error":
            raise failures.of_event(self._target, event.get("error") or event)
        response = event.get("response")
        if not isinstance(response, dict):
            self.frames_dropped += 1
            return
        if kind in TERMINAL:  # what a response that runs tells of usage and tier is not yet true
            self.meter.observe(response.get("usage"))
            self._count_unreported(response.get("output"))
            self.service_tier = response.get("service_tier")
        if kind == b"response.failed":
            response = {**response, "error": self._reported(response.get("error"))}
        if kind in TERMINAL:  # what the event says counts; some servers leave the status out
            response = {**response, "status": kind.removeprefix(b"response.").decode()}
        self._last = data
        self._snapshot = event["response"] = self._owned(response)
        written = dumped(event, self._target)
        if kind in TERMINAL:
            self.ended = self.has_output = True
            self.status = kind.removeprefix(b"response.").decode()
            self._closing_number = self._last_number()
            self.closing = named_event(kind, written) + DONE
            pieces.append(self.closing)
        elif kind not in self._identity.announced and kind not in self._opened:
            self._opened.add(kind)
            pieces.append(named_event(kind, written))

    def _reported(self, error: Any) -> Json:
        """The error of a response that failed after some output; raises it if there was none. The code
        is the provider's, the words are ours wherever its own must not reach the client."""
        failure = failures.of_event(self._target, error)
        if not self.has_output:
            raise failure
        code = error.get("code") if isinstance(error, dict) else None
        return {"code": code or response_object.failure_code(failure), "message": failure.message}

    def _owned(self, response: Json) -> Json:
        """The Response with the fields the gateway owns; everything else as the upstream said."""
        owned = {
            **response,
            "id": self._identity.id,
            "model": self._identity.model,
        }
        owned.pop("conversation", None)
        return {**owned, **self._identity.echo}

    def _response(self) -> Json:
        if self._snapshot is not None:
            return self._snapshot
        identity = self._identity
        return response_object.in_progress(
            self._call.body, identity.id, identity.model, identity.created_at, identity.echo
        )

    def _finished_items(self) -> list[Json]:
        events = [event for data in self._items if (event := _object(data)) is not None]
        events.sort(key=_output_index)
        return [event["item"] for event in events if _is_item(event.get("item"))]

    def _last_number(self) -> int:
        """The sequence number of the last event that went out; -1 before the first."""
        event = _object(self._last)
        number = event.get("sequence_number") if event is not None else None
        if isinstance(number, int):
            return number
        return 0 if self._identity.announced else -1

    def _released(self, pieces: list[bytes]) -> bytes:
        """Opening events count as announced once they go out, and not before."""
        if self._opened:
            self._identity.announced |= self._opened
            self._opened.clear()
        return super()._released(pieces)


def _kind(data: bytes) -> bytes:
    """Return an event's `type`, which is its name (docs/wire.md 2.1); empty if it has none."""
    if data.startswith(_TYPE_FIRST):
        return data[9 : data.find(b'"', 9)]
    event = _object(data)
    kind = event.get("type") if event is not None else None
    return kind.encode() if isinstance(kind, str) else b""


def _object(data: bytes) -> Json | None:
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _are_items(output: Any) -> bool:
    return isinstance(output, list) and all(map(_is_item, output))


def _is_item(item: Any) -> bool:
    """Whether it can be stored and replayed as an item of the output."""
    return isinstance(item, dict) and isinstance(item.get("type"), str)


def _output_index(event: Json) -> int:
    index = event.get("output_index")
    return index if isinstance(index, int) else 0
