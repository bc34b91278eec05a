"""Read answers of an upstream that speaks the Responses API as deltas.

Everything in that API is said several times: in deltas, in `.done` events, in the finished item and in the
finished Response. Deltas are passed on as they come; from the rest is taken only what was missing, because
some servers send no deltas at all, and some an empty `output` (docs/wire.md, pitfall 6). Items are told
apart by `output_index`: GitHub Copilot gives an item another id in every event.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal

from gateway_project.lib.errors import UpstreamMalformed
from gateway_project.lib.json import Json
from gateway_project.lib.sse import Frame
from routing.protocols.responses import usage
from routing.protocols.shared import failures, logprobs, said
from routing.protocols.shared.deltas import Delta, Opaque, Reasoning, Refusal, Stop, Text, ToolCall
from routing.protocols.shared.fields import dicts, mapping, number, parse, text
from routing.protocols.shared.usage import of_input
from routing.route import ResolvedTarget

DONE = b"[DONE]"
ENDINGS = frozenset({"completed", "incomplete"})
BROKEN = frozenset({"failed", "cancelled"})
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}

Reason = Literal["stop", "tool_calls", "length", "content_filter"]
Kind = Literal["summary", "raw"]
Slot = tuple[str, int]


@dataclass(slots=True)
class _Item:
    """The part of an output item that was passed on: characters, annotations and tokens of each part."""

    key: Hashable
    kind: str = ""
    phase: str | None = None
    named: bool = False
    finished: bool = False
    passed: dict[Slot, int] = field(default_factory=dict)

    def rest(self, slot: Slot, whole: str) -> str:
        """Return the end of a text that was not passed on yet; it counts as passed on now."""
        count = self.passed.get(slot, 0)
        self.passed[slot] = max(count, len(whole))
        return whole[count:]

    def rest_of(self, slot: Slot, entries: tuple[Json, ...]) -> tuple[Json, ...]:
        count = self.passed.get(slot, 0)
        self.passed[slot] = max(count, len(entries))
        return entries[count:]

    def passes(self, slot: Slot, count: int) -> None:
        self.passed[slot] = self.passed.get(slot, 0) + count


class ResponsesDeltas:
    """Read one answer. `dropped` counts the frames that could not be read."""

    __slots__ = ("_by_id", "_called", "_items", "_target", "done", "dropped", "facts", "meter")

    def __init__(self, target: ResolvedTarget) -> None:
        self._target = target
        self._items: dict[Hashable, _Item] = {}
        self._by_id: dict[str, _Item] = {}
        self._called = False
        self.meter = usage.meter()
        self.done = False
        self.dropped = 0
        self.facts: Json = {}

    def deltas(self, frame: Frame) -> list[Delta]:
        """Read a frame. Raises the UpstreamError it reports."""
        if self.done or frame.data.strip() == DONE:
            return []
        event = parse(frame.data)
        if event is None:
            self.dropped += 1
            return []
        kind = event.get("type")
        read = _READERS.get(kind) if isinstance(kind, str) else None
        if read is not None:
            return read(self, event)
        if kind is None and event.get("error"):
            raise failures.of_event(self._target, event["error"])
        return []

    def body(self, raw: bytes) -> list[Delta]:
        """Read a whole JSON answer. Raises UpstreamError if it is none, or reports a failure."""
        answer = parse(raw)
        if answer is None or not isinstance(answer.get("output"), list):
            error = failures.error_in(raw)
            if error:
                raise failures.of_event(self._target, error)
            raise UpstreamMalformed(f"The provider {self._target.provider!r} sent no response.")
        return self._end(answer)

    def finish(self) -> list[Delta]:
        """Give nothing: the terminal event brings its usage along, so nothing is held back."""
        return []

    # Items

    def _item(self, event: Json) -> _Item:
        key: Hashable = event.get("output_index")
        if not isinstance(key, int):
            key = text(event.get("item_id")) or text(mapping(event.get("item")).get("id"))
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(key)
        return item

    def _learn(self, item: _Item, fields: Json) -> None:
        item.kind = text(fields.get("type"))
        item.phase = text(fields.get("phase")) or item.phase
        if item_id := text(fields.get("id")):
            self._by_id[item_id] = item

    def _add_item(self, event: Json) -> list[Delta]:
        item, begun = self._item(event), mapping(event.get("item"))
        self._learn(item, begun)
        return self._call(item, begun) if item.kind in _CALLS and begun.get("name") else []

    def _item_done(self, event: Json) -> list[Delta]:
        return self._finish_item(self._item(event), mapping(event.get("item")))

    def _finish_item(self, item: _Item, whole: Json) -> list[Delta]:
        """Give what of an item was not passed on yet, and what only the finished item has."""
        if item.finished:
            return []
        item.finished = True
        self._learn(item, whole)
        kind = item.kind
        if kind == "message":
            return [
                delta
                for index, part in enumerate(dicts(whole.get("content")))
                for delta in self._part(item, index, part)
            ]
        if kind == "reasoning":
            return self._reasoning(item, whole)
        if kind in _CALLS:
            return self._call(item, whole)
        return [Opaque(item.key, whole)] if kind else []

    def _call(self, item: _Item, whole: Json) -> list[Delta]:
        """Begin a call, or add what its finished item has more."""
        self._called = True
        arguments = item.rest(("arguments", 0), text(whole.get(_CALLS[item.kind])))
        if item.named:
            return [ToolCall(item.key, arguments)] if arguments else []
        if not whole.get("name"):
            raise UpstreamMalformed(
                f"The provider {self._target.provider!r} called a tool without a name."
            )
        item.named = True
        call_id = text(whole.get("call_id")) or text(whole.get("id"))
        return [ToolCall(item.key, arguments, call_id, _wire_name(whole))]

    def _reasoning(self, item: _Item, whole: Json) -> list[Delta]:
        found: list[Delta] = []
        for index, part in enumerate(dicts(whole.get("summary"))):
            found += self._thought(item, "summary", index, text(part.get("text")))
        for index, part in enumerate(dicts(whole.get("content"))):
            found += self._thought(item, "raw", index, text(part.get("text")))
        # That of `output_item.added` may be incomplete (docs/wire.md 5.6).
        if sealed := text(whole.get("encrypted_content")):
            found.append(Reasoning(item.key, "", sealed=sealed))
        return found

    # Parts

    def _part(self, item: _Item, index: int, part: Json) -> list[Delta]:
        """Give what a finished part of a message adds to its deltas."""
        if part.get("type") == "refusal":
            words = item.rest(("refusal", index), text(part.get("refusal")))
            return [Refusal((item.key, index), words)] if words else []
        words = item.rest(("text", index), text(part.get("text")))
        marks = item.rest_of(("annotations", index), tuple(dicts(part.get("annotations"))))
        tokens = item.rest_of(("logprobs", index), logprobs.of_tokens(part.get("logprobs")))
        return self._text(item, index, words, marks, tokens)

    def _part_done(self, event: Json) -> list[Delta]:
        item, part = self._item(event), mapping(event.get("part"))
        index = number(event.get("content_index"))
        if part.get("type") == "reasoning_text":
            return self._thought(item, "raw", index, text(part.get("text")))
        return self._part(item, index, part)

    def _text(
        self,
        item: _Item,
        index: int,
        words: str,
        marks: tuple[Json, ...] = (),
        tokens: tuple[Json, ...] = (),
    ) -> list[Delta]:
        if not (words or marks or tokens):
            return []
        return [Text((item.key, index), words, marks, tokens, item.phase)]

    def _text_delta(self, event: Json) -> list[Delta]:
        item, index = self._item(event), number(event.get("content_index"))
        words = text(event.get("delta"))
        item.passes(("text", index), len(words))
        tokens: tuple[Json, ...] = ()
        if event.get("logprobs"):
            tokens = logprobs.of_tokens(event["logprobs"])
            item.passes(("logprobs", index), len(tokens))
        return self._text(item, index, words, (), tokens)

    def _text_done(self, event: Json) -> list[Delta]:
        item, index = self._item(event), number(event.get("content_index"))
        words = item.rest(("text", index), text(event.get("text")))
        tokens = item.rest_of(("logprobs", index), logprobs.of_tokens(event.get("logprobs")))
        return self._text(item, index, words, (), tokens)

    def _annotation(self, event: Json) -> list[Delta]:
        item, index = self._item(event), number(event.get("content_index"))
        annotation = mapping(event.get("annotation"))
        if not annotation:
            return []
        item.passes(("annotations", index), 1)
        return self._text(item, index, "", (annotation,))

    def _refusal_delta(self, event: Json) -> list[Delta]:
        item, index = self._item(event), number(event.get("content_index"))
        words = text(event.get("delta"))
        item.passes(("refusal", index), len(words))
        return [Refusal((item.key, index), words)] if words else []

    def _refusal_done(self, event: Json) -> list[Delta]:
        part = {"type": "refusal", "refusal": event.get("refusal")}
        return self._part(self._item(event), number(event.get("content_index")), part)

    def _thought(self, item: _Item, kind: Kind, index: int, whole: str) -> list[Delta]:
        words = item.rest((kind, index), whole)
        return [Reasoning(item.key, words, kind, index)] if words else []

    def _thought_delta(self, event: Json, kind: Kind, index: int) -> list[Delta]:
        item, words = self._item(event), text(event.get("delta"))
        item.passes((kind, index), len(words))
        return [Reasoning(item.key, words, kind, index)] if words else []

    def _summary_delta(self, event: Json) -> list[Delta]:
        return self._thought_delta(event, "summary", number(event.get("summary_index")))

    def _summary_done(self, event: Json) -> list[Delta]:
        whole = text(event.get("text")) or text(mapping(event.get("part")).get("text"))
        return self._thought(
            self._item(event), "summary", number(event.get("summary_index")), whole
        )

    def _raw_delta(self, event: Json) -> list[Delta]:
        return self._thought_delta(event, "raw", number(event.get("content_index")))

    def _raw_done(self, event: Json) -> list[Delta]:
        whole = text(event.get("text"))
        return self._thought(self._item(event), "raw", number(event.get("content_index")), whole)

    def _arguments_delta(self, event: Json) -> list[Delta]:
        item, piece = self._item(event), text(event.get("delta"))
        if not item.named or not piece:
            return []  # whose name is not known yet: the finished item has both
        item.passes(("arguments", 0), len(piece))
        return [ToolCall(item.key, piece)]

    def _arguments_done(self, event: Json) -> list[Delta]:
        item = self._item(event)
        if not item.named:
            return []
        whole = text(event.get("arguments")) or text(event.get("input"))
        piece = item.rest(("arguments", 0), whole)
        return [ToolCall(item.key, piece)] if piece else []

    # The whole

    def _lifecycle(self, event: Json) -> list[Delta]:
        """Read a response that runs: of its usage only the input is certain, and of its tier nothing."""
        self.meter.observe(of_input(mapping(event.get("response")).get("usage")))
        return []

    def _terminal(self, event: Json) -> list[Delta]:
        response = mapping(event.get("response"))
        status, ending = text(response.get("status")), event["type"].removeprefix("response.")
        if ending in BROKEN or status not in ENDINGS | BROKEN:
            status = ending
        return self._end({**response, "status": status})

    def _error(self, event: Json) -> list[Delta]:
        self.done = True
        raise failures.of_event(self._target, event.get("error") or event)

    def _end(self, response: Json) -> list[Delta]:
        """Read the finished Response: its usage, what of its items is missing, and why it ended."""
        self.meter.observe(response.get("usage"))
        if isinstance(response.get("service_tier"), str):
            self.facts["service_tier"] = response["service_tier"]
        status = status_of(response)
        said.note_response(self.facts, {**response, "status": status})
        if status in BROKEN or (response.get("error") and status not in ENDINGS):
            self.done = True
            raise failures.of_event(self._target, response.get("error") or {})
        found = self._missing(dicts(response.get("output")))
        if status not in ENDINGS:
            return found
        self.done = True
        return [*found, Stop(self._reason(status, mapping(response.get("incomplete_details"))))]

    def _missing(self, output: list[Json]) -> list[Delta]:
        """Give what of the finished items was not told before."""
        return [
            delta
            for index, whole in enumerate(output)
            for delta in self._finish_item(self._find_told(index, whole), whole)
        ]

    def _find_told(self, index: int, whole: Json) -> _Item:
        """Find what is known of a finished item, by its id, or by its place where ids change."""
        item = self._by_id.get(text(whole.get("id"))) or self._items.get(index)
        if item is None or item.kind not in {"", text(whole.get("type"))}:
            return _Item(("output", index))
        return item

    def _reason(self, status: str, details: Json) -> Reason:
        if status == "incomplete":
            return "content_filter" if details.get("reason") == "content_filter" else "length"
        return "tool_calls" if self._called else "stop"


def status_of(response: Json) -> str:
    """Return the status of a whole Response; where it has none, what its other fields say of its end."""
    if status := text(response.get("status")):
        return status
    if response.get("error"):
        return "failed"
    return "incomplete" if response.get("incomplete_details") else "completed"


def _wire_name(call: Json) -> str:
    """Flatten a call's name and namespace as `Toolbox` does it. A tool that was found by searching
    is called with its own name as the namespace."""
    name, namespace = text(call.get("name")), text(call.get("namespace"))
    return f"{namespace}__{name}" if namespace and namespace != name else name


_READERS: dict[str, Callable[[ResponsesDeltas, Json], list[Delta]]] = {
    "response.created": ResponsesDeltas._lifecycle,
    "response.queued": ResponsesDeltas._lifecycle,
    "response.in_progress": ResponsesDeltas._lifecycle,
    "response.output_item.added": ResponsesDeltas._add_item,
    "response.output_item.done": ResponsesDeltas._item_done,
    "response.content_part.done": ResponsesDeltas._part_done,
    "response.output_text.delta": ResponsesDeltas._text_delta,
    "response.output_text.done": ResponsesDeltas._text_done,
    "response.output_text.annotation.added": ResponsesDeltas._annotation,
    "response.refusal.delta": ResponsesDeltas._refusal_delta,
    "response.refusal.done": ResponsesDeltas._refusal_done,
    "response.reasoning_summary_text.delta": ResponsesDeltas._summary_delta,
    "response.reasoning_summary_text.done": ResponsesDeltas._summary_done,
    "response.reasoning_summary_part.done": ResponsesDeltas._summary_done,
    "response.reasoning_text.delta": ResponsesDeltas._raw_delta,
    "response.reasoning_text.done": ResponsesDeltas._raw_done,
    "response.reasoning.delta": ResponsesDeltas._raw_delta,  # Open Responses' names
    "response.reasoning.done": ResponsesDeltas._raw_done,
    "response.function_call_arguments.delta": ResponsesDeltas._arguments_delta,
    "response.function_call_arguments.done": ResponsesDeltas._arguments_done,
    "response.custom_tool_call_input.delta": ResponsesDeltas._arguments_delta,
    "response.custom_tool_call_input.done": ResponsesDeltas._arguments_done,
    "response.completed": ResponsesDeltas._terminal,
    "response.incomplete": ResponsesDeltas._terminal,
    "response.failed": ResponsesDeltas._terminal,
    "response.cancelled": ResponsesDeltas._terminal,
    "error": ResponsesDeltas._error,
}
