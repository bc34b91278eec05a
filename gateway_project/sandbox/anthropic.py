"""Anthropic Messages: reading the request and rendering a Plan as its JSON or its stream."""

from collections.abc import Iterator

import orjson

from gateway_project.lib.json import Json
from gateway_project.sandbox import text as words
from gateway_project.sandbox.ask import Offer, PlainRequest, Thread, dicts, strings, whole_number
from gateway_project.sandbox.errors import anthropic_error
from gateway_project.sandbox.frames import Frames, Mark, StreamTally, deltas, event
from gateway_project.sandbox.plan import AnswerPlan, ScriptedUsage, ToolUse
from gateway_project.sandbox.stamp import Stamp

_STOP_REASON = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
    "length": "max_tokens",
    "tool_calls": "tool_use",
}


def missing(body: Json) -> str | None:
    """Return the name of a required field that is missing."""
    if not isinstance(body.get("model"), str):
        return "model"
    if whole_number(body.get("max_tokens")) is None:
        return "max_tokens"
    return None if isinstance(body.get("messages"), list) else "messages"


def read(body: Json) -> PlainRequest:
    thread = Thread()
    thread.other(body.get("system"))
    for message in dicts(body["messages"]):
        content = message.get("content")
        if message.get("role") != "user":
            thread.other(content)
            for block in dicts(content):
                thread.call(block.get("id"), block.get("name"))
            continue
        thread.user(content)
        for block in dicts(content):
            if block.get("type") == "tool_result":
                thread.result(block.get("content"), block.get("tool_use_id"))
    choice = body.get("tool_choice")
    choice = choice if isinstance(choice, dict) else {}
    return PlainRequest(
        text=thread.text,
        results=tuple(thread.results),
        input_bytes=thread.bytes,
        answered=thread.answered,
        offers=tuple(_offers(body, choice)),
        must_call=choice.get("type") in ("any", "tool"),
        parallel=not choice.get("disable_parallel_tool_use"),
        max_tokens=body["max_tokens"],
        stops=strings(body.get("stop_sequences")),
        schema=_schema(body),
        reason=_thinks(body),
    )


def answer(body: Json, plan: AnswerPlan, stamp: Stamp) -> Json:
    content: list[Json] = []
    if plan.reasoning:
        content.append(
            {"type": "thinking", "thinking": plan.reasoning, "signature": stamp.sealed()}
        )
    if plan.text:
        content.append({"type": "text", "text": plan.text})
    for number, use in enumerate(plan.tools):
        content.append(_tool_block(use, stamp, number) | {"input": _input(use)})
    whole = _message(stamp) | {"content": content, **_stopped(plan), "stop_details": None}
    if counted := usage(plan):
        whole["usage"] = _with_service(counted[-1])
    return whole


def events(body: Json, plan: AnswerPlan, stamp: Stamp, tally: StreamTally) -> Frames:
    """Return the events of a stream: message, blocks, message_delta with the usage, message_stop."""
    counted = usage(plan)
    message = _message(stamp) | {"content": [], "stop_reason": None, "stop_sequence": None}
    if counted:
        first = counted[0] if plan.usage_mode == "decreasing" else counted[0] | {"output_tokens": 1}
        tally.usage = first
        message["usage"] = _with_service(first)
    yield event("message_start", {"message": message})
    yield from _blocks(plan, stamp, tally)
    if plan.marked:
        yield Mark.ENDING
    if plan.ending == "error":
        yield event("error", anthropic_error(529, stamp.id("req_")))
        return
    for _ in range(2 if plan.ending == "twice" else 1):
        for sent in counted or [{}]:
            closing: Json = {"delta": _stopped(plan)}
            if sent:
                tally.usage = closing["usage"] = sent
            yield event("message_delta", closing)
        yield event("message_stop", {})


def usage(plan: AnswerPlan) -> list[Json]:
    """Return the usage objects of the message_delta events, in order: one, unless a fault differs."""
    match plan.usage_mode:
        case "none":
            return []
        case "twice":
            return [_usage(plan.usage), _usage(plan.usage)]
        case "decreasing":
            counts = plan.usage
            return [_usage(ScriptedUsage(counts.input + 100, counts.output + 100)), _usage(counts)]
    return [_usage(plan.usage)]


def _usage(counts: ScriptedUsage) -> Json:
    return {
        "input_tokens": counts.input,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": counts.cached,
        "output_tokens": counts.output,
    }


def _with_service(counts: Json) -> Json:
    creation = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
    return counts | {"cache_creation": creation, "service_tier": "standard"}


def _blocks(plan: AnswerPlan, stamp: Stamp, tally: StreamTally) -> Frames:
    index = 0
    if plan.reasoning:
        yield from _thinking(index, plan, stamp)
        index += 1
    if plan.text or plan.endless:
        yield from _block(index, {"type": "text", "text": ""})
        before, after = _delta(index, "text_delta", "text")
        yield from deltas(plan.pieces(), before, after, plan.marked, tally)
        if plan.ending == "error":
            return
        yield event("content_block_stop", {"index": index})
        index += 1
    for number, use in enumerate(plan.tools):
        yield from _block(index, _tool_block(use, stamp, number) | {"input": {}})
        before, after = _delta(index, "input_json_delta", "partial_json")
        yield from deltas(["", *words.slices(use.arguments)], before, after, plan.marked)
        yield event("content_block_stop", {"index": index})
        index += 1


def _thinking(index: int, plan: AnswerPlan, stamp: Stamp) -> Frames:
    yield from _block(index, {"type": "thinking", "thinking": "", "signature": ""})
    before, after = _delta(index, "thinking_delta", "thinking")
    yield from deltas(words.words(plan.reasoning), before, after, plan.marked)
    seal = {"type": "signature_delta", "signature": stamp.sealed()}
    yield event("content_block_delta", {"index": index, "delta": seal})
    yield event("content_block_stop", {"index": index})


def _block(index: int, block: Json) -> Frames:
    yield event("content_block_start", {"index": index, "content_block": block})
    if index == 0:
        yield event("ping", {})


def _delta(index: int, kind: str, field: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the piece in a content_block_delta event."""
    whole = event("content_block_delta", {"index": index, "delta": {"type": kind, field: "@"}})
    before, _, after = whole.rpartition(b'"@"')
    return before, after


def _tool_block(use: ToolUse, stamp: Stamp, number: int) -> Json:
    return {"type": "tool_use", "id": stamp.id("toolu_", number), "name": use.offer.name}


def _input(use: ToolUse) -> Json:
    parsed: Json = orjson.loads(use.arguments)
    return parsed


def _stopped(plan: AnswerPlan) -> Json:
    return {"stop_reason": _STOP_REASON[plan.stop], "stop_sequence": plan.stop_sequence}


def _message(stamp: Stamp) -> Json:
    return {
        "model": stamp.model,
        "id": stamp.id("msg_"),
        "type": "message",
        "role": "assistant",
    }


def _offers(body: Json, choice: Json) -> Iterator[Offer]:
    if choice.get("type") == "none":
        return
    for tool in dicts(body.get("tools")):
        name = tool.get("name")
        # Anthropic's own server tools have a dated type and no schema: the caller cannot run them.
        is_callable = isinstance(name, str) and tool.get("type", "custom") == "custom"
        if is_callable and choice.get("name") in (None, name):
            yield Offer(str(name), schema=tool.get("input_schema"))


def _schema(body: Json) -> Json | None:
    config = body.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else body.get("output_format")
    match wanted:
        case {"type": "json_schema", "schema": dict(schema)}:
            return schema
    return None


def _thinks(body: Json) -> bool:
    match body.get("thinking"):
        case {"type": "enabled" | "adaptive"}:
            return True
    return False
