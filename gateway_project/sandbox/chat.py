"""OpenAI Chat Completions: reading the request and rendering a Plan as its JSON or its stream."""

from collections.abc import Iterator

import orjson

from gateway_project.lib.json import Json
from gateway_project.sandbox import text as words
from gateway_project.sandbox.ask import (
    Offer,
    PlainRequest,
    Thread,
    dicts,
    strings,
    whole_number,
    wish,
)
from gateway_project.sandbox.errors import server_error
from gateway_project.sandbox.frames import Frames, Mark, StreamTally, deltas
from gateway_project.sandbox.plan import AnswerPlan, ScriptedUsage, ToolUse
from gateway_project.sandbox.stamp import Stamp

DONE = b"data: [DONE]\n\n"
MAX_CHOICES = 128

_FINISH = {
    "stop": "stop",
    "stop_sequence": "stop",
    "refusal": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
}


def missing(body: Json) -> str | None:
    """Return the name of a required field that is missing."""
    if not isinstance(body.get("model"), str):
        return "model"
    return None if isinstance(body.get("messages"), list) else "messages"


def read(body: Json) -> PlainRequest:
    thread = Thread()
    for message in dicts(body["messages"]):
        match message.get("role"):
            case "user":
                thread.user(message.get("content"))
            case "tool" | "function":
                thread.result(message.get("content"), message.get("tool_call_id"))
            case _:
                thread.other(message.get("content"))
                for call in dicts(message.get("tool_calls")):
                    thread.call(call.get("id"), _name(call))
    choice = body.get("tool_choice")
    return PlainRequest(
        text=thread.text,
        results=tuple(thread.results),
        input_bytes=thread.bytes,
        answered=thread.answered,
        offers=tuple(_offers(body, choice)),
        must_call=choice == "required" or isinstance(choice, dict),
        parallel=body.get("parallel_tool_calls") is not False,
        max_tokens=whole_number(wish(body, "max_completion_tokens", "max_tokens")),
        stops=strings(body.get("stop")),
        schema=_schema(body.get("response_format")),
        choices=min(whole_number(body.get("n")) or 1, MAX_CHOICES),
    )


def answer(body: Json, plan: AnswerPlan, stamp: Stamp) -> Json:
    message: Json = {"role": "assistant", "content": plan.text or None}
    message["refusal"] = plan.refusal or None
    message["annotations"] = []
    if plan.reasoning:
        message["reasoning_content"] = plan.reasoning
    choices = []
    for index in range(plan.choices):
        said = dict(message)
        if plan.tools:
            said["tool_calls"] = [
                {"id": _call_id(stamp, plan, index, number), **_called(use)}
                for number, use in enumerate(plan.tools)
            ]
        choices.append(
            {"index": index, "message": said, "logprobs": None, "finish_reason": _FINISH[plan.stop]}
        )
    whole = _head(stamp, "chat.completion") | {"choices": choices}
    if counted := usage(plan):
        whole["usage"] = counted[-1]
    return whole


def events(body: Json, plan: AnswerPlan, stamp: Stamp, tally: StreamTally) -> Frames:
    """Return the chunks of a stream. Usage goes out only if asked for; other chunks then say null."""
    options = body.get("stream_options")
    counted = isinstance(options, dict) and bool(options.get("include_usage"))
    head = b"data: " + orjson.dumps(_head(stamp, "chat.completion.chunk"))[:-1] + b',"choices":['
    tail = b'],"usage":null}\n\n' if counted else b"]}\n\n"
    for index in range(plan.choices):
        yield from _choice(index, plan, stamp, head, tail, tally)
    if plan.marked:
        yield Mark.ENDING
    if plan.ending == "error":
        yield b"data: " + orjson.dumps({"error": server_error()}) + b"\n\n"
        return
    for _ in range(2 if plan.ending == "twice" else 1):
        for index in range(plan.choices):
            last = {"index": index, "delta": {}, "logprobs": None}
            yield head + orjson.dumps(last | {"finish_reason": _FINISH[plan.stop]}) + tail
        for sent in usage(plan) if counted else ():
            tally.usage = sent
            yield head + b'],"usage":' + orjson.dumps(sent) + b"}\n\n"
        yield DONE


def usage(plan: AnswerPlan) -> list[Json]:
    """Return the usage objects to send, in order: one, unless a fault differs."""
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
        "prompt_tokens": counts.input,
        "completion_tokens": counts.output,
        "total_tokens": counts.total,
        "prompt_tokens_details": {"cached_tokens": counts.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": counts.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _choice(
    index: int, plan: AnswerPlan, stamp: Stamp, head: bytes, tail: bytes, tally: StreamTally
) -> Frames:
    opening = b'{"index":%d,"delta":' % index
    closing = b',"logprobs":null,"finish_reason":null}' + tail
    first = {"role": "assistant", "content": "" if plan.text else None, "refusal": None}
    yield head + opening + orjson.dumps(first) + closing
    for name, pieces, counts in (
        ("reasoning_content", words.words(plan.reasoning), None),
        ("content", plan.pieces(), tally),
        ("refusal", words.words(plan.refusal), None),
    ):
        before = head + opening + b'{"%b":' % name.encode()
        yield from deltas(pieces, before, b"}" + closing, plan.marked, counts)
    for number, use in enumerate(plan.tools):
        call_id = _call_id(stamp, plan, index, number)
        for delta in _tool_deltas(number, use, call_id):
            if plan.marked:
                yield Mark.DELTA
            yield head + opening + orjson.dumps({"tool_calls": [delta]}) + closing


def _tool_deltas(number: int, use: ToolUse, call_id: str) -> Iterator[Json]:
    kind = use.offer.kind
    field = "input" if kind == "custom" else "arguments"
    opening = {"name": use.offer.name, field: ""}
    yield {"index": number, "id": call_id, "type": kind, kind: opening}
    for piece in words.slices(use.arguments):
        yield {"index": number, kind: {field: piece}}


def _called(use: ToolUse) -> Json:
    kind = use.offer.kind
    field = "input" if kind == "custom" else "arguments"
    return {"type": kind, kind: {"name": use.offer.name, field: use.arguments}}


def _call_id(stamp: Stamp, plan: AnswerPlan, choice: int, number: int) -> str:
    return stamp.id("call_", choice * len(plan.tools) + number)


def _head(stamp: Stamp, kind: str) -> Json:
    return {
        "id": stamp.id("chatcmpl-"),
        "object": kind,
        "created": stamp.created,
        "model": stamp.model,
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }


def _offers(body: Json, choice: object) -> Iterator[Offer]:
    allowed = _allowed(choice)
    for tool in dicts(body.get("tools")) if choice != "none" else ():
        details = tool.get(str(tool.get("type")))
        if not isinstance(details, dict) or not isinstance(details.get("name"), str):
            continue
        if allowed is not None and details["name"] not in allowed:
            continue
        if tool["type"] == "function":
            yield Offer(details["name"], schema=details.get("parameters"))
        elif tool["type"] == "custom":
            yield Offer(details["name"], "custom")


def _allowed(choice: object) -> set[str] | None:
    """Return the tool names a `tool_choice` object allows, or None if it allows all."""
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"tools": list(tools)}}:
            return {_name(tool) for tool in dicts(tools)}
        case {"function": {"name": str(name)}} | {"custom": {"name": str(name)}}:
            return {name}
    return None


def _name(choice: Json) -> str:
    details = choice.get(str(choice.get("type")))
    return str(details.get("name")) if isinstance(details, dict) else ""


def _schema(wanted: object) -> Json | None:
    match wanted:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
        case {"type": "json_object"}:
            return {}
    return None
