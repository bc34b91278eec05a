"""The meaning of an answer, read from the wire by hand: the same words for every protocol, streamed or whole.

It reads recordings of providers and answers of the gateway alike, and knows nothing of the product: what it
finds in both must be the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from tests.support.client import events_in

Json = dict[str, Any]

BEGINNING = re.compile(rb"(?=event: (?:response\.created|message_start)\n)")
CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
# What a chunk or a completion says beside its choices.
BESIDE = ("id", "created", "model", "service_tier", "citations", "search_results")
REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


class Tokens(NamedTuple):
    """Counts as OpenAI counts: the cached are part of what went in, the reasoning of what came out."""

    input: int
    cached: int
    cache_written: int
    output: int
    reasoning: int

    @property
    def total(self) -> int:
        return self.input + self.output


class Called(NamedTuple):
    """A tool call. `arguments` is the text, or the value where the wire had a value."""

    call_id: str
    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Meaning:
    """Everything the client of an answer can act on. `thoughts` are readable parts of reasoning."""

    text: str
    refusal: str
    thoughts: tuple[str, ...]
    calls: tuple[Called, ...]
    stop: str
    usage: Tokens | None


def streams_in(recording: bytes) -> list[bytes]:
    """The streams of a recording; a file may hold several, one after the other."""
    return [part for part in BEGINNING.split(recording) if part.strip()]


def parsed(arguments: Any) -> Any:
    """A call's arguments as a value; plain text stays text."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return arguments


# Chat Completions


def of_chat_stream(stream: bytes) -> Meaning:
    return of_chat(chat_whole(stream))


def chat_whole(stream: bytes) -> Json:
    """The completion that a stream's chunks add up to."""
    message: Json = {}
    calls: dict[int, Json] = {}
    choice: Json = {"message": message}
    whole: Json = {"object": "chat.completion", "choices": [choice]}
    for chunk in events_in(stream):
        whole |= {name: chunk[name] for name in BESIDE if chunk.get(name) is not None}
        if chunk.get("usage"):
            whole["usage"] = chunk["usage"]
        for part in chunk["choices"]:
            choice["finish_reason"] = part.get("finish_reason") or choice.get("finish_reason")
            _grow_message(message, part["delta"], calls)
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return whole


def _grow_message(message: Json, delta: Json, calls: dict[int, Json]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for call in value or []:
                # Mistral sends whole calls without an index.
                _grow_call(calls.setdefault(call.get("index", len(calls)), {}), call)
        elif isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
        elif isinstance(value, list):
            message[name] = [*message.get(name, []), *value]
        else:
            message.setdefault(name, value)


def _grow_call(call: Json, piece: Json) -> None:
    for name in ("id", "type"):
        call[name] = call.get(name) or piece.get(name)
    for kind in ("function", "custom"):
        if kind in piece:
            called = call.setdefault(kind, {})
            for name, value in piece[kind].items():
                is_name = name == "name"
                called[name] = (called.get(name) or "") + (
                    "" if is_name and called.get(name) else value or ""
                )


def of_chat(completion: Json) -> Meaning:
    (choice,) = completion["choices"]
    message = choice["message"]
    thought = message.get("reasoning_content") or message.get("reasoning") or ""
    calls = tuple(map(_chat_call, message.get("tool_calls") or ()))
    reason = choice["finish_reason"]
    return Meaning(
        text=message.get("content") or "",
        refusal=message.get("refusal") or "",
        thoughts=(thought,) if thought else (),
        calls=calls,
        stop="tool_calls" if calls and reason == "stop" else reason,
        usage=_chat_tokens(completion["usage"]) if completion.get("usage") else None,
    )


def _chat_call(call: Json) -> Called:
    if "custom" in call:
        return Called(call["id"], call["custom"]["name"], call["custom"]["input"])
    return Called(call["id"], call["function"]["name"], call["function"]["arguments"])


def _chat_tokens(usage: Json) -> Tokens:
    inside = usage.get("prompt_tokens_details") or {}
    outside = usage.get("completion_tokens_details") or {}
    reasoning, output = outside.get("reasoning_tokens") or 0, usage["completion_tokens"]
    if usage["total_tokens"] == usage["prompt_tokens"] + output + reasoning:
        output += reasoning  # xAI counts them beside each other
    cached = inside.get("cached_tokens") or usage.get("prompt_cache_hit_tokens")
    return Tokens(
        input=usage["prompt_tokens"],
        cached=cached or usage.get("cached_tokens") or 0,
        cache_written=inside.get("cache_write_tokens") or 0,
        output=output,
        reasoning=reasoning,
    )


# Responses


def of_responses_stream(stream: bytes) -> Meaning:
    return of_response(responses_whole(stream))


def responses_whole(stream: bytes) -> Json:
    """The Response that a stream ends with, of the items as they were finished: OpenAI encrypts its
    thoughts anew for the last event."""
    events = events_in(stream)
    done = {
        each["output_index"]: each["item"]
        for each in events
        if each["type"] == "response.output_item.done"
    }
    return {**events[-1]["response"], "output": [done[index] for index in sorted(done)]}


def of_response(response: Json) -> Meaning:
    output = response["output"]
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    calls = tuple(
        Called(item["call_id"], _full_name(item), item[CALLS[item["type"]]])
        for item in output
        if item["type"] in CALLS
    )
    return Meaning(
        text="".join(part["text"] for part in parts if part["type"] == "output_text"),
        refusal="".join(part["refusal"] for part in parts if part["type"] == "refusal"),
        thoughts=tuple(_thoughts(output)),
        calls=calls,
        stop=_stop(response, bool(calls)),
        usage=_response_tokens(response["usage"]) if response.get("usage") else None,
    )


def _full_name(call: Json) -> str:
    """Return the name with its namespace before it, unless that only repeats the name."""
    namespace, name = call.get("namespace"), call["name"]
    return f"{namespace}__{name}" if namespace and namespace != name else str(name)


def _thoughts(output: list[Json]) -> Iterator[str]:
    for item in output:
        if item["type"] == "reasoning":
            for part in (*item["summary"], *(item.get("content") or ())):
                yield part["text"]


def _stop(response: Json, has_calls: bool) -> str:
    if response["status"] == "incomplete":
        return REASONS[response["incomplete_details"]["reason"]]
    assert response["status"] == "completed", response["status"]
    return "tool_calls" if has_calls else "stop"


def _response_tokens(usage: Json) -> Tokens:
    inside, outside = usage["input_tokens_details"], usage["output_tokens_details"]
    return Tokens(
        input=usage["input_tokens"],
        cached=inside["cached_tokens"],
        cache_written=inside.get("cache_write_tokens") or 0,
        output=usage["output_tokens"],
        reasoning=outside["reasoning_tokens"],
    )


# Anthropic Messages


def of_anthropic_stream(stream: bytes) -> Meaning:
    return of_message(anthropic_whole(stream))


def anthropic_whole(stream: bytes) -> Json:
    """The message that a stream's events add up to."""
    first, *events = events_in(stream)
    message: Json = dict(first["message"])
    blocks: dict[int, Json] = dict(enumerate(message["content"]))
    inputs: dict[int, str] = {}
    reports = [message["usage"]]
    for event in events:
        if event["type"] == "content_block_start":
            blocks[event["index"]] = dict(event["content_block"])
        elif event["type"] == "content_block_delta":
            _grow_block(blocks[event["index"]], event["delta"], inputs, event["index"])
        elif event["type"] == "message_delta":
            message |= {name: value for name, value in event["delta"].items() if value}
            reports.append(event["usage"])
    for index, text in inputs.items():
        blocks[index]["input"] = orjson.loads(text or "{}")
    message["content"] = [blocks[index] for index in sorted(blocks)]
    message["usage"] = _largest(reports)
    return message


def _grow_block(block: Json, delta: Json, inputs: dict[int, str], index: int) -> None:
    match delta:
        case {"type": "text_delta", "text": text}:
            block["text"] += text
        case {"type": "thinking_delta", "thinking": text}:
            block["thinking"] += text
        case {"type": "signature_delta", "signature": text}:
            block["signature"] = block.get("signature", "") + text
        case {"type": "input_json_delta", "partial_json": text}:
            inputs[index] = inputs.get(index, "") + text
        case {"type": "citations_delta", "citation": cited}:
            block["citations"] = [*(block.get("citations") or []), cited]


def _largest(reports: list[Json]) -> Json:
    """Reports are cumulative; counts that are missing later stay as they were."""
    names = {name for report in reports for name in report if name.endswith("_tokens")}
    counts: Json = {name: max(report.get(name) or 0 for report in reports) for name in names}
    details = [
        each["output_tokens_details"] for each in reports if each.get("output_tokens_details")
    ]
    whole = {**reports[0], **counts}
    if "iterations" in reports[-1]:  # a report of every step, which includes the first
        whole |= reports[-1]
    return {**whole, "output_tokens_details": details[-1]} if details else whole


def of_message(message: Json) -> Meaning:
    blocks = message["content"]
    calls = [block for block in blocks if block["type"] == "tool_use"]
    usage, details = message["usage"], message["usage"].get("output_tokens_details") or {}
    # Steps that the totals leave out: https://platform.claude.com/docs/en/build-with-claude/compaction
    beside = [
        each
        for each in usage.get("iterations") or ()
        if each["type"] not in {"message", "fallback_message"}
    ]

    def count(name: str) -> int:
        return sum(each.get(name) or 0 for each in (usage, *beside))

    cached, written = count("cache_read_input_tokens"), count("cache_creation_input_tokens")
    return Meaning(
        text="".join(block["text"] for block in blocks if block["type"] == "text"),
        refusal=(message.get("stop_details") or {}).get("explanation") or "",
        thoughts=tuple(
            block["thinking"]
            for block in blocks
            if block["type"] == "thinking" and block["thinking"]
        ),
        calls=tuple(Called(block["id"], block["name"], block["input"]) for block in calls),
        stop=STOPS[message["stop_reason"]],
        usage=Tokens(
            input=count("input_tokens") + cached + written,
            cached=cached,
            cache_written=written,
            output=count("output_tokens"),
            reasoning=details.get("thinking_tokens") or 0,
        ),
    )


WHOLE: dict[str, Callable[[bytes], Json]] = {
    "chat": chat_whole,
    "responses": responses_whole,
    "anthropic": anthropic_whole,
}
MEANING: dict[str, Callable[[Json], Meaning]] = {
    "chat": of_chat,
    "responses": of_response,
    "anthropic": of_message,
}
