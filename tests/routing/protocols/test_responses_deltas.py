"""The Responses API as deltas: every recorded answer, and what servers leave out or say twice."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from gateway_project.lib.errors import (
    UpstreamError,
    UpstreamMalformed,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamRejected,
)
from routing.protocols.responses.deltas import ResponsesDeltas
from routing.protocols.shared.deltas import Opaque, Refusal, Stop, Text, ToolCall
from tenants.token_classes import Usage
from tests.plugins.cases import cases
from tests.support.client import events_in
from tests.support.reference import recordings
from tests.support.targets import target
from tests.support.told import Told, fed, frames, read, told

Json = dict[str, Any]

BEGINNING = re.compile(rb"(?=event: response\.created\n)")
NOT_A_RESPONSE = {
    "openai-src-responses-openai-error-1": UpstreamQuotaExhausted,
    "openai-src-responses-reasoning-model-temperature-error": UpstreamRejected,
}
TOLD = {"message", "reasoning", "function_call", "custom_tool_call"}


def adapter() -> ResponsesDeltas:
    return ResponsesDeltas(target("responses"))


# Recordings, read independently


def recorded(response: Json) -> Told:
    """Return what a finished Response says, item by item."""
    found = Told(stop="stop")
    for item in response["output"]:
        for part in item.get("content") or []:
            if part["type"] == "output_text":
                found.text += part["text"]
                found.annotations += part.get("annotations") or []
                found.logprobs += part.get("logprobs") or []
            elif part["type"] == "reasoning_text":
                found.thoughts.append(part["text"])
        if item["type"] == "reasoning":
            found.summaries += [part["text"] for part in item["summary"]]
            if item.get("encrypted_content"):
                found.sealed.append(item["encrypted_content"])
        if item["type"] in {"function_call", "custom_tool_call"}:
            found.stop = "tool_calls"
            said = item["arguments"] if item["type"] == "function_call" else item["input"]
            found.calls.append((item["call_id"], item["name"], said))
        if item["type"] not in TOLD:
            found.items.append(item)
    return found


def recorded_stream(events: list[Json]) -> Told:
    """Return what a stream says. OpenAI encrypts thoughts anew in the last event; the items' own count."""
    found = recorded(events[-1]["response"])
    items = [each["item"] for each in events if each["type"] == "response.output_item.done"]
    found.sealed = [item["encrypted_content"] for item in items if item.get("encrypted_content")]
    return bare(found)


def recorded_usage(usage: Json) -> Usage:
    """A usage object in disjoint classes, worked out the long way."""
    inside, outside = usage["input_tokens_details"], usage["output_tokens_details"]
    written = inside.get("cache_write_tokens") or 0
    return Usage(
        input_fresh=usage["input_tokens"] - inside["cached_tokens"] - written,
        cache_read=inside["cached_tokens"],
        cache_write=written,
        output_visible=usage["output_tokens"] - outside["reasoning_tokens"],
        output_reasoning=outside["reasoning_tokens"],
        anomaly=usage["total_tokens"] != usage["input_tokens"] + usage["output_tokens"],
    )


def bare(found: Told) -> Told:
    """Leave out what is compared on its own: top_logprobs are lists even where none were asked for."""
    found.logprobs = [
        {name: token[name] for name in ("token", "logprob", "bytes")} for token in found.logprobs
    ]
    return found


def streams() -> list[Any]:
    """Each stream of the recordings; one file holds several, one after the other."""
    found = []
    for recording in recordings("responses", ".sse"):
        whole = recording.values[0].read_bytes()
        if b"chat.completion.chunk" not in whole:
            parts = [part for part in BEGINNING.split(whole) if part.strip()]
            found += [
                pytest.param(part, id=f"{recording.id}-{number}")
                for number, part in enumerate(parts)
            ]
    return found


def answers() -> list[Any]:
    return [each for each in recordings("responses", ".json") if each.id not in NOT_A_RESPONSE]


@cases("step", [None, 3])
@cases("stream", streams)
def test_a_recorded_stream_says_what_its_finished_response_says(stream, step):
    events = events_in(stream)
    responses = adapter()
    assert bare(told(fed(responses, stream, step))) == recorded_stream(events)
    assert responses.meter.usage == recorded_usage(events[-1]["response"]["usage"])
    assert (responses.done, responses.dropped) == (True, 0)


@cases("stream", streams)
def test_a_recorded_stream_says_the_same_when_its_finished_response_is_empty(stream):
    """Some servers end with an empty `output` (docs/wire.md, pitfall 6)."""
    events = events_in(stream)
    expected = recorded_stream(events)
    events[-1]["response"]["output"] = []
    assert bare(read(adapter(), *events)) == expected


@cases("stream", streams)
def test_a_recorded_stream_says_the_same_without_its_deltas(stream):
    events = [each for each in events_in(stream) if not each["type"].endswith(".delta")]
    assert bare(read(adapter(), *events)) == recorded_stream(events)


@cases("stream", streams)
def test_a_recorded_stream_says_the_same_with_its_last_event_alone(stream):
    last = events_in(stream)[-1]
    assert bare(read(adapter(), last)) == bare(recorded(last["response"]))


@cases("stream", streams)
def test_a_recorded_stream_without_its_last_event_has_no_stop(stream):
    *events, _ = events_in(stream)
    responses = adapter()
    assert read(responses, *events).stop == ""
    assert not responses.done


@cases("path", answers)
def test_a_recorded_answer_says_what_it_says(path):
    raw = path.read_bytes()
    answer = orjson.loads(raw)
    responses = adapter()
    assert bare(told(responses.body(raw))) == bare(named(recorded(answer), answer))
    assert responses.meter.usage == recorded_usage(answer["usage"])
    assert responses.done


def named(found: Told, answer: Json) -> Told:
    """Return it with the namespaces of calls before their names, unless they are the same."""
    spaces = {
        item["call_id"]: item["namespace"]
        for item in answer["output"]
        if item.get("namespace") and item["namespace"] != item["name"]
    }
    found.calls = [
        (call_id, f"{spaces[call_id]}__{name}" if call_id in spaces else name, arguments)
        for call_id, name, arguments in found.calls
    ]
    return found


@cases(
    "path", lambda: [each for each in recordings("responses", ".json") if each.id in NOT_A_RESPONSE]
)
def test_a_recorded_answer_that_is_none_is_a_failure(path):
    with pytest.raises(NOT_A_RESPONSE[path.stem]):
        adapter().body(path.read_bytes())


# Hand-written streams


def event(kind: str, **fields: Any) -> Json:
    return {"type": f"response.{kind}", "output_index": 0, "item_id": "i", **fields}


def added(item: Json, index: int = 0) -> Json:
    return event("output_item.added", item=item, output_index=index)


def done(item: Json, index: int = 0) -> Json:
    return event("output_item.done", item=item, output_index=index)


def completed(*output: Json, **fields: Any) -> Json:
    response = {"status": "completed", "output": list(output), **fields}
    return {"type": "response.completed", "response": response}


def function(arguments: str = "", call_id: str = "a", name: str = "f", **fields: Any) -> Json:
    call = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    return {"id": f"fc_{call_id}", **call, **fields}


def message(*parts: Json, **fields: Any) -> Json:
    return {"type": "message", "id": "m", "role": "assistant", "content": list(parts), **fields}


def spoken(text: str, **fields: Any) -> Json:
    return {"type": "output_text", "text": text, **fields}


def read_all(*events: Any) -> Told:
    return read(adapter(), *events)


USAGE = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}


def test_arguments_only_in_their_done_event_survive():
    found = read_all(
        added(function()), event("function_call_arguments.done", arguments='{"a":1}'), completed()
    )
    assert found == Told(calls=[("a", "f", '{"a":1}')], stop="tool_calls")


def test_arguments_whose_done_event_repeats_the_deltas_are_told_once():
    found = read_all(
        added(function()),
        event("function_call_arguments.delta", delta='{"a"'),
        event("function_call_arguments.delta", delta=":1}"),
        event("function_call_arguments.done", arguments='{"a":1}'),
        done(function('{"a":1}')),
        completed(function('{"a":1}')),
    )
    assert found.calls == [("a", "f", '{"a":1}')]


def test_a_lost_delta_at_the_end_is_made_up_for():
    found = read_all(
        added(message()),
        event("output_text.delta", content_index=0, delta="Hel"),
        event("output_text.done", content_index=0, text="Hello"),
        completed(),
    )
    assert found.text == "Hello"


def test_an_item_that_was_never_added_survives():
    call = function("{}")
    found = read_all(event("function_call_arguments.delta", delta="{}"), done(call), completed())
    assert found.calls == [("a", "f", "{}")]


def test_a_name_that_comes_with_the_finished_item_is_waited_for():
    found = read_all(
        added(function(name="")),
        event("function_call_arguments.delta", delta="{}"),
        event("function_call_arguments.done", arguments="{}"),
        done(function("{}")),
        completed(),
    )
    assert found.calls == [("a", "f", "{}")]


def test_a_call_that_is_never_named_is_a_failure():
    with pytest.raises(UpstreamMalformed):
        read_all(done(function("{}", name="")))


def test_parallel_calls_keep_apart_by_output_index():
    found = read_all(
        added(function(call_id="a"), 0),
        added(function(call_id="b", name="g"), 1),
        event("function_call_arguments.delta", delta='{"y"', output_index=1),
        event("function_call_arguments.delta", delta='{"x"', output_index=0),
        event("function_call_arguments.delta", delta=":1}", output_index=0),
        event("function_call_arguments.delta", delta=":2}", output_index=1),
        completed(),
    )
    assert found.calls == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


def test_items_without_output_index_are_told_apart_by_id():
    found = read_all(
        {"type": "response.output_item.added", "item": function(call_id="a")},
        {"type": "response.output_item.added", "item": function(call_id="b")},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_b", "delta": "{}"},
        {"type": "response.function_call_arguments.delta", "item_id": "fc_a", "delta": "[]"},
        completed(function("[]", call_id="a"), function("{}", call_id="b")),
    )
    assert found.calls == [("a", "f", "[]"), ("b", "f", "{}")]


def test_an_item_that_only_the_finished_response_has_survives():
    found = read_all(
        added(message()),
        event("output_text.delta", content_index=0, delta="x"),
        completed(function("{}")),
    )
    assert found == Told(text="x", calls=[("a", "f", "{}")], stop="tool_calls")


def test_an_item_at_another_place_of_the_finished_response_is_told_once():
    found = read_all(
        done({"type": "reasoning", "id": "r", "summary": [{"text": "Hm"}]}, 0),
        done(function("{}"), 1),
        completed(function("{}")),
    )
    assert found == Told(summaries=["Hm"], calls=[("a", "f", "{}")], stop="tool_calls")


def test_a_call_id_that_is_missing_is_the_items_id():
    call = function("{}", id="fc_1") | {"call_id": None}
    assert read_all(done(call), completed()).calls == [("fc_1", "f", "{}")]


def test_the_input_of_a_custom_tool_is_plain_text():
    call = {"type": "custom_tool_call", "id": "c", "call_id": "a", "name": "run", "input": ""}
    found = read_all(
        added(call),
        event("custom_tool_call_input.delta", delta="print"),
        event("custom_tool_call_input.done", input="print(1)"),
        done(call | {"input": "print(1)"}),
        completed(),
    )
    assert found == Told(calls=[("a", "run", "print(1)")], stop="tool_calls")


def test_a_namespace_is_part_of_the_name():
    found = read_all(done(function("{}", namespace="mail", name="send")), completed())
    assert found.calls == [("a", "mail__send", "{}")]


def test_a_namespace_like_the_name_is_left_out():
    found = read_all(done(function("{}", namespace="send", name="send")), completed())
    assert found.calls == [("a", "send", "{}")]


def test_reasoning_keeps_its_parts_and_the_seal_of_the_finished_item():
    begun = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "half"}
    finished = {
        "type": "reasoning",
        "id": "r",
        "summary": [{"text": "One"}, {"text": "Two"}],
        "content": [{"type": "reasoning_text", "text": "raw"}],
        "encrypted_content": "whole",
    }
    found = read_all(
        added(begun),
        event("reasoning_summary_text.delta", summary_index=0, delta="O"),
        event("reasoning_summary_text.delta", summary_index=0, delta="ne"),
        event("reasoning_summary_text.done", summary_index=0, text="One"),
        event(
            "reasoning_summary_part.done",
            summary_index=1,
            part={"type": "summary_text", "text": "Two"},
        ),
        event("reasoning_text.delta", content_index=0, delta="ra"),
        event("reasoning_text.done", content_index=0, text="raw"),
        done(finished),
        completed(finished),
    )
    assert found == Told(summaries=["One", "Two"], thoughts=["raw"], sealed=["whole"], stop="stop")


def test_reasoning_under_open_responses_names_survives():
    found = read_all(
        event("reasoning.delta", content_index=0, delta="ra"),
        event("reasoning.done", content_index=0, text="raw"),
        completed(),
    )
    assert found.thoughts == ["raw"]


def test_reasoning_without_content_is_nothing():
    item: Json = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": None}
    assert read_all(added(item), done(item), completed(item)) == Told(stop="stop")


def test_refusals_survive_once():
    part = {"type": "refusal", "refusal": "I won't"}
    found = read_all(
        added(message()),
        event("refusal.delta", content_index=0, delta="I "),
        event("refusal.done", content_index=0, refusal="I won't"),
        event("content_part.done", content_index=0, part=part),
        done(message(part)),
        completed(message(part)),
    )
    assert found == Told(refusal="I won't", stop="stop")


def test_annotations_are_told_once_wherever_they_come():
    first, second = {"type": "url_citation", "url": "a"}, {"type": "file_path", "file_id": "b"}
    part = spoken("x", annotations=[first, second])
    found = read_all(
        added(message()),
        event("output_text.delta", content_index=0, delta="x"),
        event("output_text.annotation.added", content_index=0, annotation=first),
        event("content_part.done", content_index=0, part=part),
        done(message(part)),
        completed(message(part)),
    )
    assert found.annotations == [first, second]


def test_logprobs_are_told_once_in_one_shape():
    token = {"token": "x", "logprob": -1.0}
    part = spoken("x", logprobs=[token | {"bytes": [120], "top_logprobs": []}])
    found = read_all(
        added(message()),
        event("output_text.delta", content_index=0, delta="x", logprobs=[token]),
        event("output_text.done", content_index=0, text="x", logprobs=[token]),
        done(message(part)),
        completed(),
    )
    assert found.logprobs == part["logprobs"]


def test_the_phase_of_a_message_goes_with_its_text():
    responses = adapter()
    begun, spoke = frames(
        added(message(phase="commentary")), event("output_text.delta", content_index=0, delta="x")
    )
    assert responses.deltas(begun) == []
    assert responses.deltas(spoke) == [Text((0, 0), "x", phase="commentary")]


def test_the_phase_may_come_with_the_beginning_alone():
    responses = adapter()
    begun, ended = frames(added(message(phase="commentary")), done(message(spoken("x"))))
    assert responses.deltas(begun) == []
    assert responses.deltas(ended) == [Text((0, 0), "x", phase="commentary")]


def test_parts_of_a_message_are_told_apart():
    responses = adapter()
    (frame,) = frames(done(message(spoken("a"), {"type": "refusal", "refusal": "b"})))
    assert responses.deltas(frame) == [Text((0, 0), "a"), Refusal((0, 1), "b")]


def test_items_without_a_word_of_ours_go_through_whole():
    item = {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"x": 1}}
    responses = adapter()
    begun, searching, ended = frames(
        added({**item, "status": "in_progress"}), event("web_search_call.searching"), done(item)
    )
    assert responses.deltas(begun) == responses.deltas(searching) == []
    assert responses.deltas(ended) == [Opaque(0, item)]
    (last,) = frames(completed(item))
    assert responses.deltas(last) == [Stop("stop")]


def test_a_call_begins_as_soon_as_it_is_named():
    responses = adapter()
    (frame,) = frames(added(function()))
    assert responses.deltas(frame) == [ToolCall(0, "", "a", "f")]


@cases(
    ("reason", "expected"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("steered", "length"),
        (None, "length"),
    ],
)
def test_an_incomplete_response_says_why_and_is_counted(reason, expected):
    details = {"reason": reason} if reason else None
    response: Json = {
        "status": "incomplete",
        "incomplete_details": details,
        "output": [],
        "usage": USAGE,
    }
    last = {"type": "response.incomplete", "response": response}
    responses = adapter()
    assert read(responses, added(function()), last).stop == expected
    assert responses.meter.usage == Usage(input_fresh=5, output_visible=3)
    assert told(adapter().body(orjson.dumps(response))).stop == expected


def test_a_failed_response_is_raised_and_counted():
    error = {"code": "rate_limit_exceeded", "message": "m"}
    response: Json = {"status": "failed", "error": error, "output": [], "usage": USAGE}
    responses = adapter()
    with pytest.raises(UpstreamRateLimited):
        read(responses, {"type": "response.failed", "response": response})
    assert responses.meter.usage == Usage(input_fresh=5, output_visible=3)
    with pytest.raises(UpstreamRateLimited):
        adapter().body(orjson.dumps(response))


@cases(
    ("last", "expected"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "m"}, UpstreamRateLimited),
        ({"type": "error", "error": {"code": "invalid_prompt", "message": "m"}}, UpstreamRejected),
        ({"error": {"code": 400, "message": "m"}}, UpstreamRejected),
        ({"type": "response.failed", "response": None}, UpstreamError),
        ({"type": "response.failed", "response": {"error": None}}, UpstreamError),
        ({"type": "response.cancelled", "response": {"output": []}}, UpstreamError),
        (
            {
                "type": "response.failed",
                "response": {"status": "in_progress", "error": {"code": "image_too_large"}},
            },
            UpstreamRejected,
        ),
    ],
)
def test_a_failure_in_the_stream_is_raised(last, expected):
    with pytest.raises(UpstreamError) as raised:
        read_all(added(message()), last)
    assert type(raised.value) is expected


def test_what_follows_the_terminal_event_is_ignored():
    assert read_all(completed(), completed(message(spoken("x"))), b"[DONE]") == Told(stop="stop")


def test_a_frame_that_is_no_json_is_counted_and_skipped():
    responses = adapter()
    found = read(responses, b'{"type":"resp', b"[1]", completed(message(spoken("x"))))
    assert (found.text, responses.dropped) == ("x", 2)


@cases(
    "odd",
    [
        {"type": "keepalive"},
        {"type": "response.brand_new", "delta": 3},
        {"type": 3},
        {},
        {"type": "response.output_item.added", "item": None},
        {"type": "response.output_item.done", "item": {"type": "message", "content": "a"}},
        {"type": "response.output_text.delta", "delta": None, "logprobs": 3},
        {"type": "response.output_text.done", "output_index": "a", "text": None},
        {"type": "response.output_text.annotation.added", "annotation": None},
        {"type": "response.created", "response": {"usage": 3}},
    ],
)
def test_unknown_events_and_fields_of_a_wrong_type_are_nothing(odd):
    assert read_all(odd, completed()) == Told(stop="stop")


def test_facts_are_kept():
    responses = adapter()
    read(responses, completed(service_tier="flex"))
    assert responses.facts == {"service_tier": "flex", "finish_reasons": ["completed"]}


@cases("status", ["in_progress", "queued"])
def test_an_answer_that_is_not_finished_has_no_stop(status):
    raw = orjson.dumps({"status": status, "output": []})
    assert told(adapter().body(raw)) == Told()


@cases("raw", [b"<html>", b"[]", b"{}", b'{"output": null}'])
def test_an_answer_that_is_none_is_a_failure(raw):
    with pytest.raises(UpstreamMalformed):
        adapter().body(raw)
