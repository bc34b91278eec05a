"""Read answers of an upstream that speaks Anthropic Messages as deltas.

Blocks come one after the other and are told apart by their `index`. A thinking block goes to the client
readable, and once more sealed: Anthropic wants it back unmodified (docs/wire.md 9.3).
https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal

from gateway_project.lib.errors import UpstreamMalformed
from gateway_project.lib.json import Json
from gateway_project.lib.sse import Frame
from routing.protocols.anthropic import hosted as anthropic_hosted
from routing.protocols.anthropic import usage
from routing.protocols.shared import citations, envelope, failures, said
from routing.protocols.shared.deltas import Delta, Opaque, Reasoning, Refusal, Stop, Text, ToolCall
from routing.protocols.shared.fields import compact, dicts, mapping, number, parse, text
from routing.protocols.shared.usage import of_input
from routing.route import ResolvedTarget

Reason = Literal["stop", "tool_calls", "length", "content_filter"]

# https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons
# A paused turn wants to be continued, so what there is of it is not the whole answer.
_REASONS: dict[str, Reason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "compaction": "length",
    "refusal": "content_filter",
}
_SERVICE_TIERS = {"standard": "default", "priority": "priority"}
_HOSTED = frozenset({"server_tool_use", "mcp_tool_use"})
_RESULT = "_tool_result"


@dataclass(slots=True)
class _Block:
    """A block that is not finished. `pieces` is its thinking, or the JSON of a tool's input; `start`
    is where its text begins in the text of which it is a part."""

    key: Hashable
    fields: Json
    pieces: list[str] = field(default_factory=list)
    signature: str = ""
    citations: list[Json] = field(default_factory=list)
    start: int = 0

    @property
    def kind(self) -> str:
        return text(self.fields.get("type"))


class AnthropicDeltas:
    """Read one answer. `dropped` counts the frames that could not be read."""

    __slots__ = (
        "_called", "_empty", "_explanation", "_length", "_message_id", "_open", "_stop_reason", "_stopped",
        "_target", "_text_key", "_uses", "done", "dropped", "facts", "meter",
    )  # fmt: skip

    def __init__(self, target: ResolvedTarget) -> None:
        self._target = target
        self._message_id: str | None = None
        self._open: dict[Hashable, _Block] = {}
        self._uses: dict[str, _Block] = {}
        self._empty: list[Hashable] = []  # calls that brought no input so far
        self._called = False
        self._text_key: Hashable = None  # adjacent text blocks are one text ...
        self._length = 0  # ... of so many characters
        self._stop_reason = ""
        self._explanation = ""
        self._stopped = False
        self.meter = usage.meter()
        self.done = False
        self.dropped = 0
        self.facts: Json = {}

    def deltas(self, frame: Frame) -> list[Delta]:
        """Read a frame. Raises the UpstreamError it reports."""
        if self.done:
            return []
        event = parse(frame.data)
        if event is None:
            self.dropped += 1
            return []
        kind = event.get("type")
        read = _READERS.get(kind) if isinstance(kind, str) else None
        return read(self, event) if read is not None else []

    def body(self, raw: bytes) -> list[Delta]:
        """Read a whole JSON answer. Raises UpstreamError if it is none."""
        message = parse(raw)
        if message is None or not isinstance(message.get("content"), list):
            if error := failures.error_in(raw):
                raise failures.of_event(self._target, error)
            raise UpstreamMalformed(f"The provider {self._target.provider!r} sent no message.")
        return [*self._message(message), *self._end_message({})]

    def finish(self) -> list[Delta]:
        """Give what was held back, now that the stream has ended; no Stop if the upstream named no reason."""
        return self._stop()

    # Events

    def _start_message(self, event: Json) -> list[Delta]:
        """Begin a message. Servers repeat this event, and intermediaries begin a second message after
        the first was cut; the thoughts of both in one answer could never be sent back.
        https://github.com/vercel/ai/issues/18331
        """
        message = mapping(event.get("message"))
        message_id = text(message.get("id"))
        if self._message_id is None:
            self._message_id = message_id
            return self._message({**message, "usage": of_input(message.get("usage"))})
        if message_id == self._message_id:
            return []
        raise UpstreamMalformed(
            f"The provider {self._target.provider!r} began a second message before the first ended."
        )

    def _message(self, message: Json) -> list[Delta]:
        """Read a message object; in a stream it is usually still empty."""
        self._note(message.get("usage"))
        said.note_answer(self.facts, message)
        found: list[Delta] = []
        for index, block in enumerate(dicts(message.get("content"))):
            found += self._begin(("whole", index), block)
            found += self._close(("whole", index))
        self._note_reason(message)
        return found

    def _start_block(self, event: Json) -> list[Delta]:
        return self._begin(number(event.get("index")), mapping(event.get("content_block")))

    def _block_delta(self, event: Json) -> list[Delta]:
        block = self._open.get(number(event.get("index")))
        delta = mapping(event.get("delta"))
        if block is None:
            return []
        match delta.get("type"):
            case "text_delta":
                return self._text(block, text(delta.get("text")))
            case "thinking_delta":
                return self._thought(block, text(delta.get("thinking")))
            case "input_json_delta":
                return self._input(block, text(delta.get("partial_json")))
            case "signature_delta":
                block.signature += text(delta.get("signature"))
            case "citations_delta":
                block.citations.append(mapping(delta.get("citation")))
        return []

    def _stop_block(self, event: Json) -> list[Delta]:
        return self._close(number(event.get("index")))

    def _delta(self, event: Json) -> list[Delta]:
        self._note(event.get("usage"))
        self._note_reason(mapping(event.get("delta")))
        return []

    def _end_message(self, _: Json) -> list[Delta]:
        self.done = True
        return self._stop()

    def _error(self, event: Json) -> list[Delta]:
        self.done = True
        raise failures.of_event(self._target, event.get("error") or event)

    # Blocks

    def _begin(self, key: Hashable, fields: Json) -> list[Delta]:
        block = self._open[key] = _Block(key, fields)
        if block.kind != "text":
            self._text_key = None
        match block.kind:
            case "text":
                if self._text_key is None:
                    self._text_key, self._length = key, 0
                block.key, block.start = self._text_key, self._length
                block.citations = dicts(fields.get("citations"))
                return self._text(block, text(fields.get("text")))
            case "thinking":
                block.signature = text(fields.get("signature"))
                return self._thought(block, text(fields.get("thinking")))
            case "tool_use":
                self._called = True
                return [ToolCall(key, "", text(fields.get("id")), text(fields.get("name")))]
        return []

    def _text(self, block: _Block, words: str) -> list[Delta]:
        if not words:
            return []
        self._length += len(words)
        return [Text(block.key, words)]

    def _thought(self, block: _Block, words: str) -> list[Delta]:
        """Show a thought as a summary, which is what it is since Claude 4."""
        if not words:
            return []
        block.pieces.append(words)
        return [Reasoning(block.key, words)]

    def _input(self, block: _Block, piece: str) -> list[Delta]:
        if not piece:
            return []
        block.pieces.append(piece)
        return [ToolCall(block.key, piece)] if block.kind == "tool_use" else []

    def _close(self, key: Hashable) -> list[Delta]:
        block = self._open.pop(key, None)
        if block is None:
            return []
        match block.kind:
            case "text":
                return self._cite(block)
            case "thinking" | "redacted_thinking":
                return self._seal_block(block)
            case "tool_use":
                return self._give_input(block)
            case kind if kind in _HOSTED:
                self._uses[text(block.fields.get("id"))] = block
            case kind if kind.endswith(_RESULT):
                return self._hosted(block)
        return []

    def _cite(self, block: _Block) -> list[Delta]:
        """Give a block's citations, which are for the block as a whole."""
        marks = [
            citations.of_anthropic(cited, block.start, self._length) for cited in block.citations
        ]
        found = tuple(mark for mark in marks if mark is not None)
        return [Text(block.key, "", found)] if found else []

    def _seal_block(self, block: _Block) -> list[Delta]:
        """Seal the block as it must come back. Without its signature it would be refused."""
        if block.kind == "redacted_thinking":
            payload = block.fields
        elif block.signature:
            thinking = "".join(block.pieces)
            payload = {"type": "thinking", "thinking": thinking, "signature": block.signature}
        else:
            return []
        sealed = envelope.pack("anthropic", self._target.provider, payload)
        return [Reasoning(block.key, "", sealed=sealed)]

    def _give_input(self, block: _Block) -> list[Delta]:
        """Give the input that came with the block itself, which some servers write as text; a call without
        any has an empty object in the end."""
        if block.pieces:
            return []
        given = block.fields.get("input")
        if written := text(given):
            return [ToolCall(block.key, written)]
        if fields := mapping(given):
            return [ToolCall(block.key, compact(fields))]
        self._empty.append(block.key)
        return []

    def _hosted(self, result: _Block) -> list[Delta]:
        use = self._uses.get(text(result.fields.get("tool_use_id")))
        if use is None:
            return []
        fields = dict(use.fields)
        if use.pieces:
            fields["input"] = parse("".join(use.pieces).encode())
        item = anthropic_hosted.item(fields, result.fields)
        return [Opaque(use.key, item)] if item is not None else []

    # The end

    def _note(self, report: object) -> None:
        self.meter.observe(report)
        tier = _SERVICE_TIERS.get(text(mapping(report).get("service_tier")))
        if tier is not None:
            self.facts["service_tier"] = tier

    def _note_reason(self, fields: Json) -> None:
        self._stop_reason = text(fields.get("stop_reason")) or self._stop_reason
        said.note_reason(self.facts, fields.get("stop_reason"))
        details = mapping(fields.get("stop_details"))
        self._explanation = text(details.get("explanation")) or self._explanation

    def _stop(self) -> list[Delta]:
        if self._stopped or not self._stop_reason:
            return []
        self._stopped = True
        found = [delta for key in list(self._open) for delta in self._close(key)]
        reason = _REASONS.get(self._stop_reason)
        if reason is None:
            found += [ToolCall(key, "{}") for key in self._empty]
            reason = "tool_calls" if self._called else "stop"
        elif reason == "content_filter" and self._explanation:
            found.append(Refusal("refusal", self._explanation))
        return [*found, Stop(reason)]


_READERS: dict[str, Callable[[AnthropicDeltas, Json], list[Delta]]] = {
    "message_start": AnthropicDeltas._start_message,
    "content_block_start": AnthropicDeltas._start_block,
    "content_block_delta": AnthropicDeltas._block_delta,
    "content_block_stop": AnthropicDeltas._stop_block,
    "message_delta": AnthropicDeltas._delta,
    "message_stop": AnthropicDeltas._end_message,
    "error": AnthropicDeltas._error,
}
