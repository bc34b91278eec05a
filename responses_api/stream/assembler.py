"""Makes output items of deltas: owns their ids, their indexes, and when they open and close.

1. A message or a reasoning item is open until any other item begins. A tool call is open until its
   arguments are complete JSON and another item begins, because chat servers interleave calls.
2. An item begins with its first visible text: blank text before it is held back, so that there are
   no empty messages before tool calls (docs/wire.md, pitfall 8).
3. An index is given when an item begins; the final output has that order. The final Response is made
   of the very values that were closed, so that nothing can differ (docs/wire.md, pitfall 4).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import orjson

from gateway_project.lib import clock, ids
from gateway_project.lib.errors import GatewayError, UpstreamMalformed
from gateway_project.lib.json import Json
from responses_api.stream import response as response_object
from responses_api.stream.items import Call, OutputMessage, OutputPart, Status, Thought
from responses_api.stream.steps import Closed, Ended, Kind, Place, PlaceOpened, Started, Step
from responses_api.stream.upstream_reader import Identity
from routing.protocols.shared.deltas import Delta, Opaque, Reasoning, Refusal, Stop, Text, ToolCall
from routing.protocols.shared.tools import CustomInput, Toolbox
from tenants.token_classes import Usage

MAX_CALL_ID = 64  # docs/wire.md 3.1
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Assembler:
    """One answer, from its first delta to its end. Raises UpstreamMalformed for deltas that cannot be."""

    __slots__ = (
        "_answers", "_blank_text", "_blank_thought", "_call_ids", "_calls", "_item", "_output", "_part",
        "_response", "_toolbox", "_wraps_custom", "stop",
    )  # fmt: skip

    def __init__(
        self, identity: Identity, request: Json, toolbox: Toolbox, *, wraps_custom: bool = True
    ) -> None:
        """`wraps_custom`: the upstream knows functions only, so custom tools' input comes as JSON."""
        self._response = response_object.in_progress(
            request, identity.id, identity.model, identity.created_at, identity.echo
        )
        self._toolbox = toolbox
        self._wraps_custom = wraps_custom
        self._output: list[Json | None] = []  # None while an item is open
        self._item: OutputMessage | Thought | None = None
        self._part: OutputPart | None = None
        self._calls: dict[Hashable, Call] = {}
        self._call_ids: set[str] = set()
        self._answers: set[Hashable] = set()  # keys of calls whose arguments are the answer itself
        self._blank_text: list[Text] = []
        self._blank_thought: list[Reasoning] = []
        self.stop: Stop | None = None

    def start(self) -> Started:
        return Started(self._response)

    def take(self, delta: Delta) -> list[Step]:
        """Return the steps a delta leads to, possibly none."""
        return _TAKERS[type(delta)](self, delta)

    def end(self, usage: Usage | None, facts: Json) -> list[Step]:
        """Close everything after the upstream's Stop; the last step is the end."""
        reason = INCOMPLETE.get(self.stop.reason) if self.stop is not None else None
        steps = self._flush_blank()
        steps += self._close_all("completed", "incomplete" if reason else "completed")
        ended = response_object.ended(
            self._response, self._finished(), usage, facts, int(clock.timestamp()), reason
        )
        return [*steps, Ended(ended)]

    def fail(self, error: GatewayError, usage: Usage | None = None) -> list[Step]:
        """Close everything after a failure: what is open was not finished."""
        steps = self._close_all("incomplete", "incomplete")
        failed = response_object.failed(
            self._response, self._finished(), response_object.failure_code(error), error.message
        )
        failed["usage"] = response_object.usage_report(usage)
        return [*steps, Ended(failed)]

    # Messages

    def _take_text(self, delta: Text) -> list[Step]:
        part = self._part
        if delta.annotations or delta.logprobs:
            _check_writable([delta.annotations, delta.logprobs])
        if part is not None and part.kind == "text" and part.key == delta.key:
            if not delta.annotations:
                return [part.write(delta.text, delta.logprobs)] if delta.text else []
            return self._said(part, delta)
        if not isinstance(self._item, OutputMessage) and (not delta.text or delta.text.isspace()):
            self._blank_text.append(delta)
            return []
        if not delta.text and not delta.annotations:
            return []
        return self._begin_text(delta)

    def _begin_text(self, delta: Text) -> list[Step]:
        steps = self._message("text", delta.key, delta.phase)
        assert self._part is not None
        for held in self._blank_text:
            steps += self._said(self._part, held)
        self._blank_text.clear()
        return steps + self._said(self._part, delta)

    def _said(self, part: OutputPart, delta: Text) -> list[Step]:
        steps: list[Step] = []
        if delta.text:
            steps.append(part.write(delta.text, delta.logprobs))
        steps += map(part.annotate, delta.annotations)
        return steps

    def _take_refusal(self, delta: Refusal) -> list[Step]:
        if not delta.text:
            return []
        part = self._part
        if part is not None and part.kind == "refusal" and part.key == delta.key:
            return [part.write(delta.text)]
        message = self._item
        phase = message.phase if isinstance(message, OutputMessage) else None
        steps = self._message("refusal", delta.key, phase)
        assert self._part is not None
        return [*steps, self._part.write(delta.text)]

    def _message(self, kind: Kind, key: Hashable, phase: str | None) -> list[Step]:
        """Open a part of the open message, or of a new one where none is or another was meant."""
        message, owner = self._item, _owner(key)
        steps: list[Step] = []
        if (
            not isinstance(message, OutputMessage)
            or message.phase != phase
            or not (owner is None or message.owner is None or owner == message.owner)
        ):
            message = OutputMessage(self._place("msg"), owner, phase)
            steps += self._begin(message)
        return steps + self._enter(message, kind, key)

    def _flush_blank(self) -> list[Step]:
        """Blank text at the end: an answer of nothing else is the answer, otherwise it is noise."""
        if self._output:
            return []
        said = [held for held in self._blank_text if held.text]
        return self._begin_text(Text(said[0].key, "", phase=said[0].phase)) if said else []

    # Reasoning

    def _take_reasoning(self, delta: Reasoning) -> list[Step]:
        part, thought = self._part, self._item
        if isinstance(thought, Thought) and thought.key == delta.key:
            if (
                part is not None
                and part.kind == _PART_OF[delta.kind]
                and part.key == delta.part
                and delta.sealed is None
            ):
                return [part.write(delta.text)] if delta.text else []
            return self._thought(thought, delta)
        if delta.sealed is None and (not delta.text or delta.text.isspace()):
            self._blank_thought.append(delta)
            return []
        return self._begin_thought(delta)

    def _begin_thought(self, delta: Reasoning) -> list[Step]:
        thought = Thought(self._place("rs"), delta.key)
        steps = self._begin(thought)
        for held in self._blank_thought:
            if held.key == delta.key:
                steps += self._thought(thought, held)
        self._blank_thought.clear()
        return steps + self._thought(thought, delta)

    def _thought(self, thought: Thought, delta: Reasoning) -> list[Step]:
        steps: list[Step] = []
        part, kind = self._part, _PART_OF[delta.kind]
        if delta.text:
            if part is None or part.kind != kind or part.key != delta.part:
                steps += self._enter(thought, kind, delta.part)
                part = self._part
                assert part is not None
            steps.append(part.write(delta.text))
        if delta.sealed is not None:
            thought.sealed = delta.sealed
        return steps

    # Tool calls and items of other kinds

    def _take_call(self, delta: ToolCall) -> list[Step]:
        call = self._calls.get(delta.key)
        if call is not None:
            return self._more_of(call, delta.arguments)
        if delta.key in self._answers or self._toolbox.is_answer(delta.name):
            self._answers.add(delta.key)
            return self._take_text(Text(delta.key, delta.arguments))
        call = self._calls[delta.key] = self._new_call(delta)
        steps = self._begin(call)
        steps += self._more_of(call, delta.arguments)
        return steps

    def _more_of(self, call: Call, piece: str) -> list[Step]:
        if call.is_open:
            return call.write(piece) if piece else []
        if not piece or piece.isspace():
            return []
        raise UpstreamMalformed("The model continued a tool call that was already complete.")

    def _new_call(self, delta: ToolCall) -> Call:
        name, toolbox = delta.name, self._toolbox
        if not name:
            raise UpstreamMalformed("The model started a tool call without naming the tool.")
        if toolbox.choice == "none" or not toolbox.permits(name):
            raise UpstreamMalformed(
                f"The model called {name!r}, a tool that 'tool_choice' does not allow."
            )
        fields = toolbox.item(name)
        is_custom = fields["type"] == "custom_tool_call"
        return Call(
            self._place("ctc" if is_custom else "fc"),
            fields,
            self._call_id(delta.call_id),
            CustomInput() if is_custom and self._wraps_custom else None,
        )

    def _call_id(self, given: str) -> str:
        """Return the upstream's id, unless it could not tell calls apart or would be refused when it comes
        back."""
        usable = 0 < len(given) <= MAX_CALL_ID and given not in self._call_ids
        call_id = given if usable else ids.call_id()
        self._call_ids.add(call_id)
        return call_id

    def _take_opaque(self, delta: Opaque) -> list[Step]:
        _check_writable(delta.item)
        item = dict(delta.item)
        steps = self._make_room()
        if not item.get("id"):
            item["id"] = ids.item_id("item")
        place = Place("item", item["id"], len(self._output))
        self._output.append(item)
        begun = {**item, "status": "in_progress"} if "status" in item else item
        return [*steps, PlaceOpened(place, begun), Closed(place, item)]

    def _take_stop(self, delta: Stop) -> list[Step]:
        self.stop = self.stop or delta
        return []

    # Opening and closing

    def _place(self, prefix: str) -> Place:
        return Place("item", ids.item_id(prefix), len(self._output))

    def _begin(self, item: OutputMessage | Thought | Call) -> list[Step]:
        """Open an item, whose place was made for the next index."""
        steps = self._make_room()
        self._output.append(None)
        if not isinstance(item, Call):
            self._item = item
        steps.append(PlaceOpened(item.place, item.value("in_progress")))
        return steps

    def _make_room(self) -> list[Step]:
        """Close what cannot go on once another item begins."""
        steps = self._close_item("completed")
        for call in self._calls.values():
            if call.is_open and call.is_whole:
                steps += self._close_call(call, "completed")
        return steps

    def _enter(self, item: OutputMessage | Thought, kind: Kind, key: Hashable) -> list[Step]:
        """Close the open part of the item and open the next."""
        steps = self._close_part()
        self._part = part = item.part(kind, key)
        steps.append(PlaceOpened(part.place, part.value()))
        return steps

    def _close_part(self) -> list[Step]:
        part, item = self._part, self._item
        if part is None or item is None:
            return []
        self._part = None
        return [Closed(part.place, item.keep(part))]

    def _close_item(self, status: Status) -> list[Step]:
        item = self._item
        if item is None:
            return []
        steps = self._close_part()
        self._item = None
        return [*steps, self._closed(item.place, item.value(status))]

    def _close_call(self, call: Call, status: Status) -> list[Step]:
        call.is_open = False
        steps: list[Step] = list(call.finish(status))
        return [*steps, self._closed(call.place, call.value(status))]

    def _closed(self, place: Place, value: Json) -> Closed:
        self._output[place.output_index] = value
        return Closed(place, value)

    def _close_all(self, status: Status, last_status: Status) -> list[Step]:
        """Close what is open; only the last of all items may have another status than the rest."""
        steps: list[Step] = []
        last = len(self._output) - 1
        for call in self._calls.values():
            if call.is_open:
                is_last = call.place.output_index == last
                steps += self._close_call(call, last_status if is_last else status)
        return steps + self._close_item(last_status)

    def _finished(self) -> list[Json]:
        return [item for item in self._output if item is not None]


def _check_writable(value: Any) -> None:
    """Raise UpstreamMalformed for upstream JSON that is nested deeper than orjson writes, though it was
    read."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise UpstreamMalformed("The provider sent JSON that is nested too deeply.") from None


def _owner(key: Hashable) -> Hashable:
    """Return the upstream's item if it has items; otherwise all text between two other items is one
    message."""
    return key[0] if isinstance(key, tuple) else None


_PART_OF: dict[str, Kind] = {"summary": "summary", "raw": "reasoning"}
_TAKERS: dict[type[Delta], Callable[[Assembler, Any], list[Step]]] = {
    Text: Assembler._take_text,
    Refusal: Assembler._take_refusal,
    Reasoning: Assembler._take_reasoning,
    ToolCall: Assembler._take_call,
    Opaque: Assembler._take_opaque,
    Stop: Assembler._take_stop,
}
