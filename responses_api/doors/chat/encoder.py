"""Write answers of the Chat Completions door: chunks, or the whole completion (docs/wire.md 8.2).

Reasoning has no place in OpenAI's schema; it goes where most clients look for it, `reasoning_content`.
Items of other kinds than messages, reasoning and calls have no form here and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from gateway_project.lib.errors import GatewayError
from gateway_project.lib.json import Json
from gateway_project.lib.sse import COMMENT, DONE, data_event
from responses_api.doors.shapes import ModelCall
from responses_api.stream.error_body import openai_error
from responses_api.stream.response import chat_usage
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

BETWEEN_THOUGHTS = "\n\n"
FINISH = {"max_output_tokens": "length", "content_filter": "content_filter"}
_FIELDS: dict[Kind, str] = {
    "text": "content",
    "refusal": "refusal",
    "summary": "reasoning_content",
    "reasoning": "reasoning_content",
}
_CALLS = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}


class ChatEncoder:
    """Implements `Encoder` for Chat Completions."""

    __slots__ = (
        "_annotations", "_before_usage", "_calls", "_has_begun", "_has_thought", "_head", "_identity",
        "_include_usage", "_offset", "_tail", "_templates", "_written", "closing",
    )  # fmt: skip

    def __init__(self, identity: Identity, *, include_usage: bool) -> None:
        self._identity = identity
        self._include_usage = include_usage
        self.closing = b""
        head = {**_head(identity, "chat.completion.chunk"), "choices": 0}
        self._head = b"data: " + orjson.dumps(head)[:-2] + b"["
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._templates: dict[Place, tuple[bytes, bytes]] = {}
        self._calls: dict[int, int] = {}  # an item's index in the output → the call's index
        self._annotations: list[Json] = []
        self._has_begun = False
        self._has_thought = False
        self._written = 0  # characters of visible text, which annotations count from the start of
        self._offset = 0
        self._before_usage: bytes | None = None  # of the end of a stream, once it is there

    def start(self, response: Json) -> bytes:
        return b""  # the first chunk depends on what the first output is

    def announce(self, response: Json) -> bytes:
        return COMMENT

    def keepalive(self) -> bytes:
        return COMMENT

    def encode(self, step: Step) -> bytes:
        if type(step) is not Appended or step.annotation is not None:
            return _RENDERERS[type(step)](self, step)
        template = self._templates.get(step.place) or self._template(step.place)
        if step.place.kind == "text":
            self._written += len(step.delta)
            if step.logprobs:
                logprobs = {"content": step.logprobs, "refusal": None}
                return self._chunk({"content": step.delta}, None, logprobs)
        return template[0] + orjson.dumps(step.delta) + template[1]

    def failed(self, error: GatewayError, steps: list[Step]) -> bytes:
        """End with an error and no `[DONE]`: the SDKs raise on it (docs/wire.md 8.6)."""
        self.closing = data_event(openai_error(error))
        return self.closing

    def final(self, response: Json) -> bytes:
        """Write the whole completion."""
        self.closing = orjson.dumps(self.document(response))
        return self.closing

    def closing_unstored(self, response: Json) -> bytes:
        return self.closing  # a completion does not say whether it is stored

    def rewrite_end(self, response: Json) -> bytes:
        if self._before_usage is None:
            return self.final(response)
        self.closing = self._before_usage + self._usage_chunk(response) + DONE
        return self.closing

    def document(self, response: Json) -> Json:
        message = _message(response["output"])
        choice = {
            "index": 0,
            "message": message,
            "logprobs": _logprobs(response["output"]),
            "finish_reason": _finish_reason(response, has_calls="tool_calls" in message),
        }
        completion = {**_head(self._identity, "chat.completion"), "choices": [choice]}
        if response["usage"] is not None:
            completion["usage"] = chat_usage(response["usage"])
        if response["service_tier"] != "auto":
            completion["service_tier"] = response["service_tier"]
        return completion

    # Steps

    def _write_started(self, step: Started) -> bytes:
        return self.start(step.response)

    def _write_opened(self, step: PlaceOpened) -> bytes:
        kind, item = step.place.kind, step.value
        if kind == "text":
            self._offset = self._written
        if kind in {"summary", "reasoning"}:
            return self._open_thought()
        if kind != "item":
            return b""
        begun = self._begun("" if item["type"] == "message" else None)
        if item["type"] not in _CALLS:
            return begun
        index = self._calls[step.place.output_index] = len(self._calls)
        return begun + self._chunk({"tool_calls": [{"index": index, **_call(item)}]})

    def _open_thought(self) -> bytes:
        if self._has_thought:
            return self._chunk({"reasoning_content": BETWEEN_THOUGHTS})
        self._has_thought = True
        return b""

    def _note_annotation(self, step: Appended) -> bytes:
        if annotation := _annotation(step.annotation or {}, self._offset):
            self._annotations.append(annotation)
        return b""

    def _write_closed(self, step: Closed) -> bytes:
        return b""

    def _write_ended(self, step: Ended) -> bytes:
        response = step.response
        reason = _finish_reason(response, has_calls=bool(self._calls))
        pieces = [self._begun("")]
        if self._annotations:
            # All at once, as OpenAI does: its SDK cannot add to a list whose entries have no index.
            pieces.append(self._chunk({"annotations": self._annotations}))
        pieces.append(self._chunk({}, reason))
        self._before_usage = b"".join(pieces)
        self.closing = self._before_usage + self._usage_chunk(response) + DONE
        return self.closing

    def _usage_chunk(self, response: Json) -> bytes:
        """Write the chunk after the last choice's; nothing for a client that did not ask for it."""
        if not self._include_usage or response["usage"] is None:
            return b""
        usage = orjson.dumps(chat_usage(response["usage"]))
        return b'%b],"usage":%b}\n\n' % (self._head, usage)

    # Chunks

    def _begun(self, content: str | None) -> bytes:
        """Write the chunk that names the role, before any other. `content` is null unless there is text."""
        if self._has_begun:
            return b""
        self._has_begun = True
        return self._chunk({"role": "assistant", "content": content, "refusal": None})

    def _chunk(self, delta: Json, reason: str | None = None, logprobs: Json | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._head + orjson.dumps(choice) + self._tail

    def _template(self, place: Place) -> tuple[bytes, bytes]:
        """Make a chunk around the text of one place."""
        if place.kind in _FIELDS:
            whole = self._chunk({_FIELDS[place.kind]: 0})
        else:
            kind, field = ("function", "arguments")
            if place.kind == "input":
                kind, field = ("custom", "input")
            called = {"index": self._calls[place.output_index], kind: {field: 0}}
            whole = self._chunk({"tool_calls": [called]})
        before, colon, after = whole.rpartition(b'":0}')
        template = before + colon[:2], colon[3:] + after
        self._templates[place] = template
        return template


def _head(identity: Identity, kind: str) -> Json:
    return {
        "id": identity.id,
        "object": kind,
        "created": identity.created_at,
        "model": identity.model,
    }


def _message(output: list[Json]) -> Json:
    message: Json = {
        "role": "assistant",
        "content": _join(output, "output_text", "text"),
        "refusal": _join(output, "refusal", "refusal"),
    }
    if annotations := list(_annotations(output)):
        message["annotations"] = annotations
    if thoughts := list(_thoughts(output)):
        message["reasoning_content"] = BETWEEN_THOUGHTS.join(thoughts)
    if calls := [_call(item) for item in output if item["type"] in _CALLS]:
        message["tool_calls"] = calls
    return message


def _parts(output: list[Json], kind: str) -> Iterator[Json]:
    for item in output:
        if item["type"] == "message":
            yield from (part for part in item["content"] if part["type"] == kind)


def _join(output: list[Json], kind: str, field: str) -> str | None:
    return "".join(part[field] for part in _parts(output, kind)) or None


def _thoughts(output: list[Json]) -> Iterator[str]:
    for item in output:
        if item["type"] == "reasoning":
            for part in (*item["summary"], *item.get("content", ())):
                yield part["text"]


def _annotations(output: list[Json]) -> Iterator[Json]:
    offset = 0
    for part in _parts(output, "output_text"):
        for annotation in part["annotations"]:
            if found := _annotation(annotation, offset):
                yield found
        offset += len(part["text"])


def _annotation(annotation: Json, offset: int) -> Json | None:
    """Write an annotation. The only kind chat knows is a URL's; it counts from the start of the whole
    text."""
    if annotation.get("type") != "url_citation":
        return None
    cited = {name: value for name, value in annotation.items() if name != "type"}
    for name in ("start_index", "end_index"):
        if isinstance(cited.get(name), int):
            cited[name] += offset
    return {"type": "url_citation", "url_citation": cited}


def _logprobs(output: list[Json]) -> Json | None:
    found = [entry for part in _parts(output, "output_text") for entry in part["logprobs"]]
    return {"content": found, "refusal": None} if found else None


def _call(item: Json) -> Json:
    kind, field = _CALLS[item["type"]]
    return {
        "id": item["call_id"],
        "type": kind,
        kind: {"name": item["name"], field: item[field]},
    }


def _finish_reason(response: Json, *, has_calls: bool) -> str:
    if details := response["incomplete_details"]:
        return FINISH[details["reason"]]
    return "tool_calls" if has_calls else "stop"


def end_failed_stream(call: ModelCall, error: bytes) -> bytes:
    """End a stream that has only shown signs of life with a rendered error."""
    return data_event(error)


_RENDERERS: dict[type[Step], Callable[[ChatEncoder, Any], bytes]] = {
    Started: ChatEncoder._write_started,
    PlaceOpened: ChatEncoder._write_opened,
    Appended: ChatEncoder._note_annotation,
    Closed: ChatEncoder._write_closed,
    Ended: ChatEncoder._write_ended,
}
