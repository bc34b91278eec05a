"""Build the events of a streamed OpenAI Responses answer."""

from collections.abc import Iterable

import orjson

from gateway_project.lib.json import Json
from gateway_project.sandbox import responses
from gateway_project.sandbox import text as words
from gateway_project.sandbox.errors import server_error
from gateway_project.sandbox.frames import REMEMBERED_PIECES, Frames, Mark, StreamTally
from gateway_project.sandbox.plan import AnswerPlan, ScriptedUsage, ToolUse
from gateway_project.sandbox.stamp import Stamp


class _Numbered:
    """Builds events that carry consecutive sequence numbers."""

    def __init__(self, marked: bool) -> None:
        self.next_number = 0
        self.marked = marked

    def event(self, kind: str, fields: Json) -> bytes:
        whole = {"type": kind, "sequence_number": self.next_number} | fields
        self.next_number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(whole))

    def deltas(
        self, kind: str, place: Json, pieces: Iterable[str], tally: StreamTally | None = None
    ) -> Frames:
        """Frame deltas in the hot loop: like `frames.deltas`, with a number in each event that differs."""
        name = kind.encode()
        before = b'event: %b\ndata: {"type":"%b","sequence_number":' % (name, name)
        opening = b"," + orjson.dumps(place)[1:-1] + b',"delta":'
        closing = b',"logprobs":[]}\n\n' if kind == "response.output_text.delta" else b"}\n\n"
        known: dict[str, tuple[bytes, int]] = {}
        for piece in pieces:
            entry = known.get(piece)
            if entry is None:
                entry = (opening + orjson.dumps(piece) + closing, len(piece.encode()))
                if len(known) < REMEMBERED_PIECES:
                    known[piece] = entry
            if self.marked:
                yield Mark.DELTA
            if tally is not None:
                tally.text_bytes += entry[1]
            number = self.next_number
            self.next_number = number + 1
            yield b"%b%d%b" % (before, number, entry[0])


def events(body: Json, plan: AnswerPlan, stamp: Stamp, tally: StreamTally) -> Frames:
    """Return created, in_progress, every item from its opening to its close, and one terminal event."""
    numbered = _Numbered(plan.marked)
    opening = responses.shell(body, stamp)
    yield numbered.event("response.created", {"response": opening})
    early = _early_usage(plan)
    if early is not None:
        tally.usage = early
    yield numbered.event("response.in_progress", {"response": opening | {"usage": early}})
    yield from _items(numbered, plan, stamp, tally)
    if plan.marked:
        yield Mark.ENDING
    if plan.ending == "error":
        yield from _failure(numbered, opening)
        return
    whole = responses.finished(body, plan, stamp, responses.output(plan, stamp))
    tally.usage = whole["usage"] or tally.usage
    for _ in range(2 if plan.ending == "twice" else 1):
        yield numbered.event(f"response.{whole['status']}", {"response": whole})


def _early_usage(plan: AnswerPlan) -> Json | None:
    """Put usage in an event before the last one, which only a fault does."""
    counts = plan.usage
    match plan.usage_mode:
        case "twice":
            return responses.usage_of(counts)
        case "decreasing":
            return responses.usage_of(ScriptedUsage(counts.input + 100, counts.output + 100))
    return None


def _failure(numbered: _Numbered, opening: Json) -> Frames:
    error = server_error()
    flat = {"code": "server_error", "message": error["message"], "param": None}
    yield numbered.event("error", flat)
    failed = {
        "status": "failed",
        "error": {"code": "server_error", "message": error["message"]},
    }
    yield numbered.event("response.failed", {"response": opening | failed})


def _items(numbered: _Numbered, plan: AnswerPlan, stamp: Stamp, tally: StreamTally) -> Frames:
    index = 0
    if plan.reasoning:
        yield from _reasoning(numbered, index, plan, stamp)
        index += 1
    if plan.text or plan.refusal or plan.endless:
        yield from _message(numbered, index, plan, stamp, tally)
        index += 1
    for number, use in enumerate(plan.tools):
        yield from _tool(numbered, index, use, stamp, number)
        index += 1
    if plan.compact:
        yield from _compaction(numbered, index, stamp)


def _reasoning(numbered: _Numbered, index: int, plan: AnswerPlan, stamp: Stamp) -> Frames:
    item = responses.reasoning_item("", stamp)
    kind = "response.reasoning_summary"
    place = {"item_id": item["id"], "output_index": index, "summary_index": 0}
    yield numbered.event("response.output_item.added", {"output_index": index, "item": item})
    empty = {"type": "summary_text", "text": ""}
    yield numbered.event(f"{kind}_part.added", place | {"part": empty})
    yield from numbered.deltas(f"{kind}_text.delta", place, words.words(plan.reasoning))
    yield numbered.event(f"{kind}_text.done", place | {"text": plan.reasoning})
    full = empty | {"text": plan.reasoning}
    yield numbered.event(f"{kind}_part.done", place | {"part": full})
    item = responses.reasoning_item(plan.reasoning, stamp)
    yield numbered.event("response.output_item.done", {"output_index": index, "item": item})


def _message(
    numbered: _Numbered, index: int, plan: AnswerPlan, stamp: Stamp, tally: StreamTally
) -> Frames:
    item = responses.message_item(None, stamp, "in_progress")
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    yield numbered.event("response.output_item.added", {"output_index": index, "item": item})
    if plan.refusal:
        part = responses.refusal_part(plan.refusal)
        yield numbered.event(
            "response.content_part.added", place | {"part": part | {"refusal": ""}}
        )
        pieces = words.words(plan.refusal)
        yield from numbered.deltas("response.refusal.delta", place, pieces)
        yield numbered.event("response.refusal.done", place | {"refusal": plan.refusal})
    else:
        part = responses.text_part(plan.text)
        yield numbered.event("response.content_part.added", place | {"part": part | {"text": ""}})
        yield from numbered.deltas("response.output_text.delta", place, plan.pieces(), tally)
        if plan.ending == "error":
            return
        done = place | {"logprobs": [], "text": plan.text}
        yield numbered.event("response.output_text.done", done)
    yield numbered.event("response.content_part.done", place | {"part": part})
    status = "incomplete" if plan.stop == "length" else "completed"
    item = responses.message_item(part, stamp, status)
    yield numbered.event("response.output_item.done", {"output_index": index, "item": item})


def _tool(numbered: _Numbered, index: int, use: ToolUse, stamp: Stamp, number: int) -> Frames:
    custom = use.offer.kind == "custom"
    item = responses.tool_item(use, stamp, number, "", "in_progress")
    yield numbered.event("response.output_item.added", {"output_index": index, "item": item})
    kind = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
    place = {"item_id": item["id"], "output_index": index}
    yield from numbered.deltas(f"{kind}.delta", place, words.slices(use.arguments))
    field = "input" if custom else "arguments"
    done = place | {field: use.arguments}
    yield numbered.event(f"{kind}.done", done if custom else done | {"name": use.offer.name})
    item = responses.tool_item(use, stamp, number, use.arguments, "completed")
    yield numbered.event("response.output_item.done", {"output_index": index, "item": item})


def _compaction(numbered: _Numbered, index: int, stamp: Stamp) -> Frames:
    place = {"output_index": index, "item": responses.compaction_item(stamp)}
    if numbered.marked:
        yield Mark.DELTA
    yield numbered.event("response.output_item.added", place)
    yield numbered.event("response.output_item.done", place)
