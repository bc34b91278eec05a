"""Answers of upstreams of each protocol, made of a text and any report of usage."""

from __future__ import annotations

from typing import Any

import orjson

Json = dict[str, Any]

PROTOCOLS = ("chat", "responses", "anthropic")
ABSENT = object()


def report(protocol: str, inputs: Any, outputs: Any, reasoning: int = 0) -> Json:
    """A report of usage in a protocol's words."""
    names = {
        "chat": ("prompt_tokens", "completion_tokens", "reasoning_tokens"),
        "responses": ("input_tokens", "output_tokens", "reasoning_tokens"),
        "anthropic": ("input_tokens", "output_tokens", "thinking_tokens"),
    }
    entered, written, thought = names[protocol]
    found = {entered: inputs, written: outputs}
    return {**found, f"{written}_details": {thought: reasoning}} if reasoning else found


def whole(protocol: str, text: str, usage: Any = ABSENT, tier: str | None = None) -> bytes:
    """A JSON answer."""
    told = {} if usage is ABSENT else {"usage": usage}
    if tier is not None:
        told["service_tier"] = tier
    if protocol == "chat":
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return orjson.dumps({"id": "c", "created": 1, "model": "m", "choices": [choice], **told})
    if protocol == "responses":
        return orjson.dumps(response(text, **told))
    content = [{"type": "text", "text": text}]
    return orjson.dumps({**_message("end_turn"), "content": content, **told})


def beginning(protocol: str, text: str) -> bytes:
    """A stream up to the end of its text."""
    if protocol == "chat":
        return _chunk({"role": "assistant", "content": text})
    if protocol == "responses":
        item = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
        return b"".join(
            (
                _event("response.created", response=response("", status="in_progress")),
                _event("response.output_item.added", output_index=0, item=item),
                _event(
                    "response.output_text.delta",
                    item_id="msg_1",
                    output_index=0,
                    content_index=0,
                    delta=text,
                ),
            )
        )
    begun = {**_message(None), "content": [], "usage": {"input_tokens": 7, "output_tokens": 1}}
    return (
        _event("message_start", message=begun)
        + _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        + more(protocol, text)
    )


def more(protocol: str, text: str) -> bytes:
    """Another piece of the same text."""
    if protocol == "chat":
        return _chunk({"content": text})
    if protocol == "responses":
        return _event("response.output_text.delta", output_index=0, content_index=0, delta=text)
    delta = {"type": "text_delta", "text": text}
    return _event("content_block_delta", index=0, delta=delta)


def ending(protocol: str, text: str, usage: Any = ABSENT) -> bytes:
    """The rest of the stream: its reason, its report, its end."""
    told = {} if usage is ABSENT else {"usage": usage}
    if protocol == "chat":
        reported = b"" if usage is ABSENT else _data({**_HEAD, "choices": [], **told})
        return _chunk({}, "stop") + reported + b"data: [DONE]\n\n"
    if protocol == "responses":
        return _event("response.completed", response=response(text, **told))
    delta = {"stop_reason": "end_turn"}
    return (
        _event("content_block_stop", index=0)
        + _event("message_delta", delta=delta, **told)
        + _event("message_stop")
    )


_HEAD: Json = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def _chunk(delta: Json, reason: str | None = None) -> bytes:
    return _data({**_HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def response(text: str, status: str = "completed", **fields: Any) -> Json:
    """A Response of one message."""
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    return {"id": "resp_1", "status": status, "output": [item] if text else [], **fields}


def _message(reason: str | None) -> Json:
    return {"id": "m", "type": "message", "role": "assistant", "stop_reason": reason}


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: " + kind.encode() + b"\n" + _data({"type": kind, **fields})


def _data(value: Json) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"
