"""Pass Responses through.

Only the few lifecycle frames carry the whole Response, and with it what the gateway owns: its id, the
model's name and the echo of state. Those are rewritten; every other frame goes out as it came. The frames
that open a stream repeat the request's tools and instructions: only their fields' names are read.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson
from msgspec import Raw, Struct

from gateway_project.lib.errors import (
    GatewayError,
    UpstreamCut,
    UpstreamMalformed,
)
from gateway_project.lib.json import Json
from gateway_project.lib.sse import DONE, Frame, named_event
from responses_api.doors.shapes import ModelCall
from responses_api.stream import events as response_events
from responses_api.stream import response as response_object
from responses_api.stream import written
from responses_api.stream.answer_charge import AnswerCharge
from responses_api.stream.events import CREATED, IN_PROGRESS, KEEPALIVE
from responses_api.stream.frames import FrameRelay
from responses_api.stream.tally import length_of_delta
from responses_api.stream.upstream_reader import Identity, dump_json
from routing.protocols.responses.deltas import BROKEN, ENDINGS, status_of
from routing.protocols.responses.usage import meter
from routing.protocols.shared import failures, said
from routing.route import ResolvedTarget
from tenants.token_classes import Usage

OPENING = frozenset({CREATED, b"response.queued", IN_PROGRESS})
TERMINAL = frozenset({b"response.completed", b"response.failed", b"response.incomplete"})
LIFECYCLE = OPENING | TERMINAL
ITEM_DONE = b"response.output_item.done"
_TYPE_FIRST = b'{"type":"'
# How an opening event begins where a provider writes it as OpenAI does; its Response follows.
_OPENING_HEAD = re.compile(rb'\{"type":"[a-z._]+","sequence_number":\d{1,9},"response":')

_NEVER = (b"", b"")


class OpeningEvent(Struct, forbid_unknown_fields=True):
    """An event that opens a stream, with the fields of its Response as they were written."""

    type: Raw
    sequence_number: Raw
    response: dict[str, Raw]


_decode_opening = msgspec.json.Decoder(OpeningEvent).decode


class ResponsesRelay(FrameRelay):
    """Implements `UpstreamReader` for the Responses API."""

    __slots__ = (
        "_call", "_closing_number", "_delta_begins", "_delta_head", "_items", "_last", "_opened", "_opening",
        "_repeated", "_snapshot", "_tallied",
    )  # fmt: skip

    def __init__(self, call: ModelCall, target: ResolvedTarget, identity: Identity) -> None:
        super().__init__(meter(), target, identity)
        self._call = call
        self._snapshot: Json | None = None
        self._opening: Json | None = (
            None  # the Response of the last opening event, its fields unread
        )
        # The end of that event from its Response on, as it came and as it went out: most providers tell a
        # Response twice. Empty where it cannot be used again.
        self._repeated = _NEVER
        self._items: list[bytes] = []
        self._opened: set[bytes] = set()  # opening events that count as announced once they go out
        self._last = b""
        # How the last delta began, as most events will, and what goes before it; no data begins with LF.
        self._delta_begins, self._delta_head = b"\n", b""
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
        said.note_response(self.upstream_facts, answer)
        self.is_filtered = _is_filtered(answer)
        self._snapshot = self._own(answer)
        self.closing = dump_json(self._snapshot, self._target)
        return self.closing

    def _take_all(self, frames: list[Frame], pieces: list[bytes]) -> None:
        for _, data in frames:
            if self.ended:
                return
            if data.startswith(self._delta_begins) and data[-1:] == b"}" and b"\n" not in data:
                self._last = data
                self.tally.add(length_of_delta(data))
                pieces.append(self._delta_head + data + b"\n\n")
            else:
                self._take(data, pieces)

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
                if data.startswith(_TYPE_FIRST):
                    self._delta_begins = b'%b%b"' % (_TYPE_FIRST, kind)
                    self._delta_head = b"event: %b\ndata: " % kind
            elif kind == ITEM_DONE:
                self._item_done(data)
            pieces.append(named_event(kind, data))

    def finish(self) -> bytes:
        if not self.ended:
            raise UpstreamCut(f"The provider {self._target.provider!r} ended the stream too early.")
        return b""

    def announce(self) -> bytes:
        """Send the upstream's own opening events if they came, otherwise ours."""
        if self._held:
            return self._release([])
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

    def closing_unstored(self) -> bytes:
        assert self._snapshot is not None
        return self._closing_of({**self._snapshot, "store": False})

    def tell_usage(self, charge: AnswerCharge) -> bytes:
        assert self._snapshot is not None
        report = charge.report(self._snapshot.get("usage"))
        self._snapshot = {**self._snapshot, "usage": report}
        self.closing = self._closing_of(self._snapshot)
        return self.closing

    def _closing_of(self, response: Json) -> bytes:
        if self._closing_number is None:
            return dump_json(response, self._target)
        return response_events.terminal(self._closing_number, response)

    def _item_done(self, data: bytes) -> None:
        """Note a finished item, and count one that had no deltas: some servers send none."""
        self._items.append(data)
        if self.tally.deltas == self._tallied and (event := _object(data)) is not None:
            self.tally.add_text(written.of_items([event.get("item")]))
        self._tallied = self.tally.deltas

    def _count_unreported(self, output: Any) -> None:
        """Count a whole answer of which neither a report nor a delta told."""
        if not (self.meter.has_output or self.tally.deltas):
            self.tally.add_text(written.of_items(output))

    def _open(self, kind: bytes, data: bytes, pieces: list[bytes]) -> bool:
        """Forward an opening event; return whether it could be taken apart."""
        head = _OPENING_HEAD.match(data)
        at = head.end() if head is not None else len(data)
        came, goes_out = self._repeated
        if came and data[at:] == came:
            event = data[:at] + goes_out
            self._repeated = _NEVER
        elif (opening := _opening_event(data)) is not None:
            self._opening = self._own(opening.response)
            event = _written(opening, self._opening)
            self._repeated = (data[at:], event[at:]) if event.startswith(data[:at]) else _NEVER
        else:
            return False
        self._last, self._snapshot = data, None
        if kind not in self._identity.announced and kind not in self._opened:
            self._opened.add(kind)
            pieces.append(named_event(kind, event))
        return True

    def _lifecycle(self, kind: bytes, data: bytes, pieces: list[bytes]) -> None:
        if kind in OPENING and self._open(kind, data, pieces):
            return
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
            response = {**response, "error": self._read_error(response.get("error"))}
        if kind in TERMINAL:  # what the event says counts; some servers leave the status out
            response = {**response, "status": kind.removeprefix(b"response.").decode()}
            said.note_response(self.upstream_facts, response)
        self._last = data
        self._snapshot = event["response"] = self._own(response)
        written = dump_json(event, self._target)
        if kind in TERMINAL:
            self.ended = self.has_output = True
            self.status = kind.removeprefix(b"response.").decode()
            self.is_filtered = _is_filtered(response)
            self._closing_number = self._number_of(event)
            self.closing = named_event(kind, written) + DONE
            pieces.append(self.closing)
        elif kind not in self._identity.announced and kind not in self._opened:
            self._opened.add(kind)
            pieces.append(named_event(kind, written))

    def _read_error(self, error: Any) -> Json:
        """Make the error of a response that failed after some output; raise it if there was none. The code
        is the provider's, the words are ours wherever its own must not reach the client."""
        failure = failures.of_event(self._target, error)
        if not self.has_output:
            raise failure
        code = error.get("code") if isinstance(error, dict) else None
        return {"code": code or response_object.failure_code(failure), "message": failure.message}

    def _own(self, response: Json) -> Json:
        """Set the fields of a Response that the gateway owns; everything else as the upstream said."""
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
        if self._opening is not None and (opening := _read_opening(self._opening)) is not None:
            return opening
        identity = self._identity
        return response_object.in_progress(
            self._call.body, identity.id, identity.model, identity.created_at, identity.echo
        )

    def _finished_items(self) -> list[Json]:
        events = [event for data in self._items if (event := _object(data)) is not None]
        events.sort(key=_output_index)
        return [event["item"] for event in events if _is_item(event.get("item"))]

    def _last_number(self) -> int:
        """Return the sequence number of the last event that went out; -1 before the first."""
        return self._number_of(_object(self._last))

    def _number_of(self, event: Json | None) -> int:
        number = event.get("sequence_number") if event is not None else None
        if isinstance(number, int):
            return number
        return 0 if self._identity.announced else -1

    def _release(self, pieces: list[bytes]) -> bytes:
        """Count opening events as announced now that they go out, and not before."""
        if self._opened:
            self._identity.announced |= self._opened
            self._opened.clear()
        return super()._release(pieces)


def _kind(data: bytes) -> bytes:
    """Return an event's `type`, which is its name (docs/wire.md 2.1); empty if it has none."""
    if data.startswith(_TYPE_FIRST):
        return data[9 : data.find(b'"', 9)]
    event = _object(data)
    kind = event.get("type") if event is not None else None
    return kind.encode() if isinstance(kind, str) else b""


def _opening_event(data: bytes) -> OpeningEvent | None:
    """Take an opening event apart; None if it has other fields than usual, or is not JSON."""
    try:
        data.decode()  # which msgspec does not check of text that it does not read
        return _decode_opening(data)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return None


def _written(opening: OpeningEvent, response: Json) -> bytes:
    """Write an opening event with this Response; what stands before it keeps its length."""
    event = {"type": opening.type, "sequence_number": opening.sequence_number, "response": response}
    return msgspec.json.encode(event)


def _read_opening(response: Json) -> Json | None:
    """Read the fields of a Response that were left unread; None if they are nested too deep to be written
    again."""
    found = _object(msgspec.json.encode(response))
    try:
        orjson.dumps(found)
    except orjson.JSONEncodeError:
        return None
    return found


def _is_filtered(response: Json) -> bool:
    details = response.get("incomplete_details")
    return isinstance(details, dict) and details.get("reason") == "content_filter"


def _object(data: bytes) -> Json | None:
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _are_items(output: Any) -> bool:
    return isinstance(output, list) and all(map(_is_item, output))


def _is_item(item: Any) -> bool:
    """Tell whether it can be stored and replayed as an item of the output."""
    return isinstance(item, dict) and isinstance(item.get("type"), str)


def _output_index(event: Json) -> int:
    index = event.get("output_index")
    return index if isinstance(index, int) else 0
