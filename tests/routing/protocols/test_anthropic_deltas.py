"""Anthropic Messages as deltas: every recorded answer, and what the protocol can do besides."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from gateway_project.lib.errors import (
    UpstreamError,
    UpstreamMalformed,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
)
from routing.protocols.anthropic.deltas import AnthropicDeltas
from routing.protocols.shared import envelope
from routing.protocols.shared.deltas import Opaque, Reasoning, Refusal, Stop, Text, ToolCall
from routing.protocols.shared.envelope import Sealed
from tenants.token_classes import Usage
from tests.plugins.cases import cases
from tests.support.client import events_in
from tests.support.reference import path_to, recordings
from tests.support.targets import target
from tests.support.told import Told, fed, frames, read, told

Json = dict[str, Any]

BEGINNING = re.compile(rb"(?=event: message_start\n)")
SPLICED = "anthropic-src-spliced-message-start"
STOPS = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "refusal": "content_filter",
}
GROWING = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def adapter() -> AnthropicDeltas:
    return AnthropicDeltas(target("anthropic"))


# Recordings, read independently


def recorded_message(events: list[Json]) -> Json:
    """The message a stream tells, put together as Anthropic's documentation says."""
    message = dict(events[0]["message"])
    blocks: dict[int, Json] = dict(enumerate(message["content"]))
    inputs: dict[int, str] = {}
    reports = [message["usage"]]
    for event in events[1:]:
        if event["type"] == "content_block_start":
            blocks[event["index"]] = dict(event["content_block"])
        elif event["type"] == "message_delta":
            message["stop_reason"] = event["delta"]["stop_reason"]
            reports.append(event["usage"])
        elif event["type"] == "content_block_delta":
            grow(blocks[event["index"]], event["delta"], inputs, event["index"])
    for index, text in inputs.items():
        blocks[index]["input"] = orjson.loads(text or "{}")
    message["content"] = [blocks[index] for index in sorted(blocks)]
    names = {name for report in reports for name in report if name.endswith("_tokens")}
    message["usage"] = {name: max(each.get(name, 0) for each in reports) for name in names}
    if iterations := reports[-1].get("iterations"):  # the first report told of the first of them
        message["usage"] |= {**reports[-1], "iterations": iterations}
    return message


def grow(block: Json, delta: Json, inputs: dict[int, str], index: int) -> None:
    if delta["type"] in GROWING:
        name = GROWING[delta["type"]]
        block[name] = block.get(name, "") + delta[name]
    elif delta["type"] == "citations_delta":
        block["citations"] = [*(block.get("citations") or []), delta["citation"]]
    elif delta["type"] == "input_json_delta":
        inputs[index] = inputs.get(index, "") + delta["partial_json"]


def recorded(message: Json) -> Told:
    """Return what a whole message says, the inputs of its calls as values."""
    blocks = message["content"]
    calls = [block for block in blocks if block["type"] == "tool_use"]
    thoughts = [block for block in blocks if block["type"] == "thinking"]
    return Told(
        text="".join(block["text"] for block in blocks if block["type"] == "text"),
        summaries=[block["thinking"] for block in thoughts],
        sealed=[
            envelope.pack(
                "anthropic",
                "vendor",
                {name: block[name] for name in ("type", "thinking", "signature")},
            )
            for block in thoughts
        ],
        calls=[(block["id"], block["name"], block["input"]) for block in calls],
        stop=STOPS[message["stop_reason"]],
    )


def recorded_usage(usage: Json) -> Usage:
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    apart = [
        iteration
        for iteration in usage.get("iterations") or ()
        if iteration["type"] in {"compaction", "advisor_message"}
    ]
    return Usage(
        input_fresh=sum(part["input_tokens"] for part in (usage, *apart)),
        cache_read=usage.get("cache_read_input_tokens") or 0,
        cache_write=usage.get("cache_creation_input_tokens") or 0,
        output_visible=sum(part["output_tokens"] for part in (usage, *apart)) - thought,
        output_reasoning=thought,
    )


def bare(found: Told) -> Told:
    """Return it without what is tested on its own, and with the arguments as values."""
    found.calls = [(call_id, name, orjson.loads(said)) for call_id, name, said in found.calls]
    found.annotations, found.items = [], []
    return found


def streams() -> list[Any]:
    """Each stream of the recordings; some files hold several, one after the other."""
    found = []
    for recording in recordings("anthropic", ".sse"):
        if recording.id != SPLICED:
            parts = [
                part for part in BEGINNING.split(recording.values[0].read_bytes()) if part.strip()
            ]
            found += [
                pytest.param(part, id=f"{recording.id}-{number}")
                for number, part in enumerate(parts)
            ]
    return found


@cases("step", [None, 3])
@cases("stream", streams)
def test_a_recorded_stream_says_what_it_says(stream, step):
    message = recorded_message(events_in(stream))
    anthropic = adapter()
    assert bare(told(fed(anthropic, stream, step))) == recorded(message)
    assert anthropic.meter.usage == recorded_usage(message["usage"])
    assert (anthropic.done, anthropic.dropped) == (True, 0)


@cases("stream", streams)
def test_a_recorded_stream_says_the_same_as_one_message(stream):
    message = recorded_message(events_in(stream))
    assert bare(told(adapter().body(orjson.dumps(message)))) == recorded(message)


@cases("stream", streams)
def test_a_recorded_stream_says_the_same_without_its_last_event(stream):
    *events, last = events_in(stream)
    assert last == {"type": "message_stop"}
    assert bare(read(adapter(), *events)) == recorded(recorded_message(events))


@cases("path", lambda: recordings("anthropic", ".json"))
def test_a_recorded_answer_says_what_it_says(path):
    raw = path.read_bytes()
    message = orjson.loads(raw)
    anthropic = adapter()
    assert bare(told(anthropic.body(raw))) == recorded(message)
    assert anthropic.meter.usage == recorded_usage(message["usage"])
    assert anthropic.done


def test_a_second_message_spliced_into_the_first_is_a_failure():
    """https://github.com/vercel/ai/issues/18331"""
    stream = path_to(f"recordings/anthropic/{SPLICED}.sse").read_bytes()
    with pytest.raises(UpstreamMalformed):
        fed(adapter(), stream)


def test_the_citations_of_a_recorded_search_mark_what_they_support():
    stream = path_to(
        "recordings/anthropic/anthropic-src-anthropic-web-search-tool-1.sse"
    ).read_bytes()
    blocks = recorded_message(events_in(stream))["content"]
    supported = [
        (citation["url"], block["text"])
        for block in blocks
        for citation in block.get("citations") or []
    ]
    anthropic = adapter()
    texts: dict[Any, str] = {}
    marked = []
    for delta in fed(anthropic, stream):
        if isinstance(delta, Text):
            texts[delta.key] = texts.get(delta.key, "") + delta.text
            marked += [(delta.key, annotation) for annotation in delta.annotations]
    assert supported == [
        (mark["url"], texts[key][mark["start_index"] : mark["end_index"]]) for key, mark in marked
    ]


def test_a_recorded_search_is_an_item():
    stream = path_to(
        "recordings/anthropic/anthropic-src-anthropic-web-search-tool-1.sse"
    ).read_bytes()
    used, found = [
        block
        for block in recorded_message(events_in(stream))["content"]
        if block["type"] in {"server_tool_use", "web_search_tool_result"}
    ]
    assert told(fed(adapter(), stream)).items == [
        {
            "id": used["id"],
            "type": "web_search_call",
            "status": "completed",
            "action": {
                "type": "search",
                "query": used["input"]["query"],
                "sources": [{"type": "url", "url": page["url"]} for page in found["content"]],
            },
        }
    ]


# Hand-written streams


def started(**fields: Any) -> Json:
    usage = fields.pop("usage", {"input_tokens": 5, "output_tokens": 1})
    message = {"id": "msg_1", "content": [], "stop_reason": None, "usage": usage, **fields}
    return {"type": "message_start", "message": message}


def block(index: int, kind: str, *deltas: Json, **fields: Any) -> list[Json]:
    return [
        {
            "type": "content_block_start",
            "index": index,
            "content_block": {"type": kind, **fields},
        },
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def says(*words: str) -> list[Json]:
    return [{"type": "text_delta", "text": word} for word in words]


def writes(*pieces: str) -> list[Json]:
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def ended(reason: str | None = "end_turn", **fields: Any) -> list[Json]:
    usage = fields.pop("usage", {"output_tokens": 9})
    delta = {"type": "message_delta", "delta": {"stop_reason": reason, **fields}, "usage": usage}
    return [delta, {"type": "message_stop"}]


def read_all(*events: Any) -> Told:
    return read(adapter(), *events)


SIGNED = [
    {"type": "thinking_delta", "thinking": "Hm"},
    {"type": "thinking_delta", "thinking": "m."},
    {"type": "signature_delta", "signature": "sig"},
]


def test_a_thought_is_sealed_when_its_block_ends():
    anthropic = adapter()
    events = frames(started(), *block(0, "thinking", *SIGNED, thinking="", signature=""))
    found = [delta for frame in events for delta in anthropic.deltas(frame)]
    payload = {"type": "thinking", "thinking": "Hmm.", "signature": "sig"}
    sealed = envelope.pack("anthropic", "vendor", payload)
    assert found == [Reasoning(0, "Hm"), Reasoning(0, "m."), Reasoning(0, "", sealed=sealed)]
    assert envelope.opened_for(target("anthropic"), sealed) == payload
    assert envelope.opened_for(target("anthropic", provider="another"), sealed) is None


def test_a_thought_that_is_not_shown_is_sealed_all_the_same():
    signature = {"type": "signature_delta", "signature": "sig"}
    found = read_all(started(), *block(0, "thinking", signature, thinking=""), *ended())
    (sealed,) = found.sealed
    opened = envelope.unpack(sealed)
    assert found.summaries == []
    assert opened is not None
    assert opened.payload == {"type": "thinking", "thinking": "", "signature": "sig"}


def test_a_thought_without_a_signature_is_not_sealed():
    found = read_all(started(), *block(0, "thinking", *SIGNED[:2], thinking=""), *ended())
    assert (found.summaries, found.sealed) == (["Hmm."], [])


def test_a_redacted_thought_is_sealed_as_it_came():
    found = read_all(started(), *block(0, "redacted_thinking", data="opaque"), *ended())
    (sealed,) = found.sealed
    opened = envelope.unpack(sealed)
    assert opened == Sealed("anthropic", "vendor", {"type": "redacted_thinking", "data": "opaque"})


def test_thoughts_and_calls_keep_their_order():
    anthropic = adapter()
    events = frames(
        started(),
        *block(0, "thinking", *SIGNED, thinking=""),
        *block(1, "tool_use", *writes("{}"), id="a", name="f", input={}),
        *block(2, "thinking", *SIGNED, thinking=""),
        *block(3, "tool_use", *writes("{}"), id="b", name="f", input={}),
        *ended("tool_use"),
    )
    found = [delta for frame in events for delta in anthropic.deltas(frame)]
    seals = [n for n, delta in enumerate(found) if isinstance(delta, Reasoning) and delta.sealed]
    begun = [n for n, delta in enumerate(found) if isinstance(delta, ToolCall) and delta.name]
    assert seals[0] < begun[0] < seals[1] < begun[1]


def test_parallel_calls_keep_apart():
    found = read_all(
        started(),
        *block(0, "tool_use", *writes("", '{"a":', "1}"), id="x", name="f", input={}),
        *block(1, "tool_use", *writes('{"b":2}'), id="y", name="g", input={}),
        *ended("tool_use"),
    )
    assert found == Told(calls=[("x", "f", '{"a":1}'), ("y", "g", '{"b":2}')], stop="tool_calls")


def test_input_that_comes_with_the_block_survives():
    begun = block(0, "tool_use", id="x", name="f", input={"a": [1]})
    assert read_all(started(), *begun, *ended("tool_use")).calls == [("x", "f", '{"a":[1]}')]


def test_a_call_without_input_has_an_empty_object():
    begun = block(0, "tool_use", *writes(""), id="x", name="f", input={})
    assert read_all(started(), *begun, *ended("tool_use")).calls == [("x", "f", "{}")]


def test_a_call_cut_before_its_input_has_none():
    begun = block(0, "tool_use", id="x", name="f", input={})
    found = read_all(started(), *begun, *ended("max_tokens"))
    assert found == Told(calls=[("x", "f", "")], stop="length")


def test_adjacent_texts_are_one_and_their_citations_count_through():
    cited = {"type": "web_search_result_location", "url": "https://a", "title": "A"}
    anthropic = adapter()
    events = frames(
        started(),
        *block(0, "text", *says("One. "), text=""),
        *block(1, "text", {"type": "citations_delta", "citation": cited}, *says("Two."), text=""),
        *block(2, "tool_use", id="x", name="f", input={"a": 1}),
        *block(3, "text", *says("Three."), text=""),
    )
    found = [delta for frame in events for delta in anthropic.deltas(frame)]
    mark = {"type": "url_citation", "url": "https://a", "title": "A"}
    assert [delta for delta in found if isinstance(delta, Text)] == [
        Text(0, "One. "),
        Text(0, "Two."),
        Text(0, "", ({**mark, "start_index": 5, "end_index": 9},)),
        Text(3, "Three."),
    ]


def test_citations_of_files_and_of_nothing_that_has_a_name():
    block_of_text = {
        "type": "text",
        "text": "x",
        "citations": [
            {"type": "char_location", "file_id": "file_1", "document_title": "a.pdf"},
            {"type": "char_location", "document_index": 0},
        ],
    }
    message = {"content": [block_of_text], "stop_reason": "end_turn"}
    found = told(adapter().body(orjson.dumps(message)))
    assert found.annotations == [
        {"type": "file_citation", "file_id": "file_1", "filename": "a.pdf", "index": 0}
    ]


def test_a_remote_tool_is_an_item():
    used = block(0, "mcp_tool_use", *writes('{"q":', "1}"), id="m", name="f", server_name="s")
    output = [{"type": "text", "text": "42"}]
    result = block(1, "mcp_tool_result", tool_use_id="m", is_error=False, content=output)
    assert read_all(started(), *used, *result, *ended()).items == [
        {
            "id": "m",
            "type": "mcp_call",
            "status": "completed",
            "server_label": "s",
            "name": "f",
            "arguments": '{"q":1}',
            "output": "42",
        }
    ]


def test_a_remote_tool_that_failed_says_so():
    used = block(0, "mcp_tool_use", id="m", name="f", server_name="s", input={})
    result = block(1, "mcp_tool_result", tool_use_id="m", is_error=True, content="no")
    (item,) = read_all(started(), *used, *result, *ended()).items
    assert (item["status"], item["error"], "output" in item) == ("failed", "no", False)


def test_a_search_that_failed_says_so():
    used = block(0, "server_tool_use", id="w", name="web_search", input={"query": "q"})
    error = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    result = block(1, "web_search_tool_result", tool_use_id="w", content=error)
    anthropic = adapter()
    found = [
        delta for frame in frames(started(), *used, *result) for delta in anthropic.deltas(frame)
    ]
    action = {"type": "search", "query": "q", "sources": []}
    item = {"id": "w", "type": "web_search_call", "status": "failed", "action": action}
    assert found == [Opaque(0, item)]


@cases(
    "extra",
    [
        block(0, "server_tool_use", *writes('{"code"'), id="s", name="code_execution", input={}),
        block(0, "mcp_tool_result", tool_use_id="nobody", content="x"),
        block(0, "compaction", {"type": "compaction_delta", "content": "x"}, content=None),
        block(0, "fallback"),
        block(0, "text", text="", citations=None),
        [{"type": "ping"}],
        [{"type": "brand_new", "index": 0}],
        [{"type": "content_block_start", "index": 0, "content_block": None}],
        [{"type": "content_block_delta", "index": 9, "delta": {"type": "text_delta"}}],
        [{"type": "content_block_delta", "index": 0, "delta": None}],
        [{"type": "content_block_stop", "index": 9}],
        [{"type": "message_delta", "delta": None, "usage": None}],
        [{"type": 3}],
    ],
)
def test_what_has_no_place_in_an_answer_is_nothing(extra):
    assert read_all(started(), *extra, *ended()) == Told(stop="stop")


@cases(
    ("reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("refusal", "content_filter"),
        ("tool_use", "stop"),
        ("something_new", "stop"),
    ],
)
def test_reasons(reason, expected):
    assert read_all(started(), *ended(reason)).stop == expected
    raw = orjson.dumps({"content": [], "stop_reason": reason})
    assert told(adapter().body(raw)).stop == expected


def test_a_call_before_the_end_of_the_turn_is_a_call():
    begun = block(0, "tool_use", *writes("{}"), id="x", name="f", input={})
    assert read_all(started(), *begun, *ended("end_turn")).stop == "tool_calls"


def test_a_refusal_that_is_explained_says_why():
    details = {"type": "refusal", "category": "cyber", "explanation": "Declined."}
    anthropic = adapter()
    events = frames(
        started(),
        *block(0, "text", *says("Hello"), text=""),
        *ended("refusal", stop_details=details),
    )
    found = [delta for frame in events for delta in anthropic.deltas(frame)]
    assert found == [Text(0, "Hello"), Refusal("refusal", "Declined."), Stop("content_filter")]


def test_a_stream_without_a_reason_has_no_stop_even_with_its_last_event():
    anthropic = adapter()
    assert read(anthropic, started(), {"type": "message_stop"}).stop == ""
    assert anthropic.done


def test_blocks_that_never_stop_end_with_the_message():
    events = block(0, "thinking", *SIGNED, thinking="")[:-1]
    found = read_all(started(), *events, *ended())
    assert len(found.sealed) == 1


def test_a_message_that_comes_whole_with_its_start_survives():
    content = [{"type": "tool_use", "id": "x", "name": "f", "input": {"a": 1}}]
    begun = started(content=content, stop_reason="tool_use")
    assert read_all(begun, {"type": "message_stop"}) == Told(
        calls=[("x", "f", '{"a":1}')], stop="tool_calls"
    )


def test_a_repeated_start_is_ignored():
    content = [{"type": "text", "text": "x"}]
    again = started(content=content)
    assert read_all(again, again, *ended()).text == "x"


def test_what_follows_the_end_is_ignored():
    assert read_all(started(), *ended(), started(id="msg_2"), *ended("refusal")) == Told(
        stop="stop"
    )


def test_a_frame_that_is_no_json_is_counted_and_skipped():
    anthropic = adapter()
    found = read(anthropic, started(), b'{"type":', b"[]", *ended())
    assert (found.stop, anthropic.dropped) == ("stop", 2)


def test_facts_are_kept():
    anthropic = adapter()
    read(anthropic, started(usage={"input_tokens": 1, "service_tier": "standard"}), *ended())
    assert anthropic.facts == {
        "id": "msg_1", "service_tier": "default", "finish_reasons": ["end_turn"],
    }  # fmt: skip


# Usage


def test_usage_is_put_together_from_start_and_end():
    begun = {"input_tokens": 5, "cache_read_input_tokens": 100, "output_tokens": 1}
    anthropic = adapter()
    read(anthropic, started(usage=begun), *ended(usage={"output_tokens": 40}))
    assert anthropic.meter.usage == Usage(input_fresh=5, cache_read=100, output_visible=40)


def test_usage_that_is_repeated_is_not_added_up():
    usage = {
        "input_tokens": 5,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 100,
        "output_tokens": 40,
    }
    anthropic = adapter()
    read(anthropic, started(usage=usage), ended(usage=usage)[0], *ended(usage=usage))
    assert anthropic.meter.usage == Usage(
        input_fresh=5, cache_read=100, cache_write=7, output_visible=40
    )


def test_usage_only_at_the_end_is_enough():
    anthropic = adapter()
    usage = {"input_tokens": 5, "output_tokens": 40}
    read(anthropic, started(usage=None), *ended(usage=usage))
    assert anthropic.meter.usage == Usage(input_fresh=5, output_visible=40)


def test_usage_may_be_missing():
    anthropic = adapter()
    read(anthropic, started(usage=None), *ended(usage=None))
    assert anthropic.meter.usage is None


# Failures


@cases(
    ("kind", "expected"),
    [
        ("overloaded_error", UpstreamOverloaded),
        ("rate_limit_error", UpstreamRateLimited),
        ("api_error", UpstreamError),
        ("invalid_request_error", UpstreamRejected),
    ],
)
def test_an_error_in_the_stream_is_raised(kind, expected):
    error = {"type": "error", "error": {"type": kind, "message": "m"}, "request_id": "r"}
    anthropic = adapter()
    with pytest.raises(UpstreamError) as raised:
        read(anthropic, started(), error)
    assert type(raised.value) is expected
    assert anthropic.meter.usage == Usage(input_fresh=5)
    with pytest.raises(expected):
        adapter().body(orjson.dumps(error))


@cases("raw", [b"<html>", b"[]", b"{}", b'{"content": "a"}'])
def test_an_answer_that_is_none_is_a_failure(raw):
    with pytest.raises(UpstreamMalformed):
        adapter().body(raw)


def test_an_answer_without_a_reason_has_no_stop():
    raw = b'{"content": [{"type": "text", "text": "a"}], "stop_reason": null}'
    assert told(adapter().body(raw)) == Told(text="a")
