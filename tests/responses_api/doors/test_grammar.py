"""Every streamed Responses answer keeps to the grammar and to the schemas of the official SDK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gateway_project.sandbox import Scripted
from routing.models import Provider
from tests.plugins.cases import cases
from tests.support import grammar, rows
from tests.support.client import events_in
from tests.support.reference import (
    event_validators,
    explain,
    open_responses_validator,
    recordings,
    response_validator,
)

Json = dict[str, Any]

FUNCTION = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
OTHER = {**FUNCTION, "name": "get_time"}
CUSTOM = {"type": "custom", "name": "exec"}
NAMESPACE = {
    "type": "namespace",
    "name": "functions",
    "description": "All tools.",
    "tools": [CUSTOM, FUNCTION],
}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
FORMAT = {"type": "json_schema", "name": "thing", "schema": SCHEMA, "strict": True}

# What to ask, the types of the output items, and how the answer ends.
ANSWERS: dict[str, tuple[Json, list[str], str]] = {
    "text": ({"input": "Hello, how are you?"}, ["message"], "completed"),
    "long text": ({"input": "[chunks=300]"}, ["message"], "completed"),
    "a tool call": (
        {"input": "[tool] weather?", "tools": [FUNCTION]},
        ["function_call"],
        "completed",
    ),
    "parallel tool calls": (
        {"input": "[tools=3] weather?", "tools": [FUNCTION, OTHER]},
        ["function_call"] * 3,
        "completed",
    ),
    "a custom tool call": (
        {"input": "[tool] run", "tools": [CUSTOM]},
        ["custom_tool_call"],
        "completed",
    ),
    "calls into a namespace": (
        {"input": "[tools=2] run", "tools": [NAMESPACE]},
        ["custom_tool_call", "function_call"],
        "completed",
    ),
    "reasoning": (
        {"input": "Why?", "reasoning": {"effort": "high", "summary": "auto"}},
        ["reasoning", "message"],
        "completed",
    ),
    "reasoning before a tool call": (
        {"input": "[tool] [reason] weather?", "tools": [FUNCTION]},
        ["reasoning", "function_call"],
        "completed",
    ),
    "a refusal": ({"input": "[refuse] Tell me."}, ["message"], "completed"),
    "structured output": (
        {"input": "A thing", "text": {"format": FORMAT}},
        ["message"],
        "completed",
    ),
    "the token limit": (
        {"input": "[size=9000]", "max_output_tokens": 16},
        ["message"],
        "incomplete",
    ),
    "the token limit while reasoning": (
        {"input": "[size=9000]", "max_output_tokens": 16, "reasoning": {"effort": "low"}},
        ["reasoning"],
        "incomplete",
    ),
    "no output at all": ({"input": "[size=0]"}, ["message"], "completed"),
}
# Faults after the first output, and oddities that lose nothing.
FAILURES = ("error-mid", "cut", "reset", "clean-eof", "cut-utf8", "cut-crlf")
HARMLESS = ("crlf-split", "utf8-split", "slow-drip", "duplicate-terminal", "trailing-after-done")


def streamed(http: httpx.Client, model: str = "sandbox-responses", **body: Any) -> list[Json]:
    """The events of a streamed answer, whose framing was checked."""
    response = http.post("/responses", json={"model": model, "stream": True, **body})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    return grammar.read(response.content)


def complaints(events: list[Json]) -> list[str]:
    """Return what is wrong with these events by the SDK's schemas."""
    validators = event_validators()
    return [
        f"{event['type']}: {line}"
        for event in events
        if event["type"] != "keepalive"  # ours, and ignored by every client
        for line in explain(validators[event["type"]], event)
    ]


def fault(name: str) -> str:
    provider = Provider.objects.get(name="sandbox-responses")
    rows.alias(f"responses-{name}", (provider, f"sandbox-fault-{name}"))
    return f"responses-{name}"


@cases("name", ANSWERS)
def test_a_streamed_answer_keeps_to_grammar_and_schemas(http, name):
    body, items, status = ANSWERS[name]
    events = streamed(http, **body)
    response = grammar.check(events)
    assert [item["type"] for item in response["output"]] == items
    assert response["status"] == status
    assert complaints(events) == []
    assert explain(response_validator(), response) == []


@cases("name", ANSWERS)
def test_a_whole_answer_is_what_the_stream_ends_with(http, name):
    body, items, status = ANSWERS[name]
    whole = http.post("/responses", json={"model": "sandbox-responses", **body}).json()
    assert explain(response_validator(), whole) == []
    assert [item["type"] for item in whole["output"]] == items
    assert whole["status"] == status
    last = streamed(http, **body)[-1]["response"]
    assert whole.keys() == last.keys()


def test_the_function_tools_of_an_answer_are_echoed(http):
    response = grammar.check(streamed(http, input="hi", tools=[FUNCTION]))
    assert response["tools"] == [FUNCTION]


@cases("name", HARMLESS)
def test_a_stream_that_was_only_sent_oddly_is_a_good_one(http, name):
    events = streamed(http, fault(name), input="Hello, how are you?")
    assert grammar.check(events)["status"] == "completed"
    assert complaints(events) == []


@cases("name", FAILURES)
def test_a_stream_that_fails_midway_ends_in_one_failed_response(http, name):
    events = streamed(http, fault(name), input="[chunks=9]")
    response = grammar.check(events)
    assert response["status"] == "failed"
    assert response["error"]["code"] == "server_error"
    assert complaints(events) == []
    assert explain(open_responses_validator("ResponseFailedStreamingEvent"), events[-1]) == []


def test_a_failure_between_items_keeps_those_that_were_finished(http):
    events = streamed(http, fault("cut"), input="[chunks=9] [reason] [after=20]")
    response = grammar.check(events)
    assert [item["type"] for item in response["output"]] == ["reasoning"]
    assert complaints(events) == []


def test_a_rate_limit_inside_the_stream_keeps_its_code(http, gateway):
    created = 'data: {"type":"response.created","sequence_number":0,"response":{"output":[],"id":"r"}}\n\n'
    delta = 'data: {"type":"x.delta","sequence_number":1}\n\n'
    error = 'data: {"type":"error","sequence_number":2,"code":"rate_limit_exceeded","message":"slow"}\n\n'
    gateway.sandbox.script(
        "limited-upstream", Scripted(chunks=[(created + delta + error).encode()])
    )
    rows.alias("limited", (Provider.objects.get(name="sandbox-responses"), "limited-upstream"))
    *_, last = streamed(http, "limited", input="hi")
    assert (last["type"], last["sequence_number"]) == ("response.failed", 2)
    assert last["response"]["error"]["code"] == "rate_limit_exceeded"


# Answers that the gateway opens itself, because the upstream is silent


def test_a_silent_upstream_fails_within_the_grammar_and_open_responses(http, gateway):
    gateway.limit(commit=0.05, keepalive=0.05, first_byte=1.0)
    body = {
        "input": "hi",
        "instructions": "Be brief.",
        "tools": [{"type": "function", "name": "bare"}, CUSTOM],
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "low"},
        "temperature": 0,
        "metadata": {"a": "b"},
        "max_output_tokens": 100,
    }
    events = streamed(http, fault("silence"), **body)
    response = grammar.check(events)
    assert [event["type"] for event in events[:2]] == ["response.created", "keepalive"]
    assert [event["sequence_number"] for event in events if event["type"] != "keepalive"] == [0, 1]
    assert response["error"]["code"] == "server_error"
    assert (response["instructions"], response["temperature"]) == ("Be brief.", 0)
    assert (response["max_output_tokens"], response["metadata"]) == (100, {"a": "b"})
    assert complaints(events) == []


def test_a_failed_event_of_our_own_is_valid_in_open_responses(http, gateway):
    gateway.limit(commit=0.05, keepalive=0.05, first_byte=1.0)
    body = {"input": "hi", "tools": [{"type": "function", "name": "bare"}]}
    events = streamed(http, fault("silence"), **body)
    created = open_responses_validator("ResponseCreatedStreamingEvent")
    failed = open_responses_validator("ResponseFailedStreamingEvent")
    assert explain(created, events[0]) == []
    assert explain(failed, events[-1]) == []


def test_a_slow_upstream_goes_on_where_the_gateway_began(http, gateway):
    gateway.limit(commit=0.05, keepalive=0.05)
    events = streamed(http, input="[wait=800] Hello")
    response = grammar.check(events)
    assert [event["type"] for event in events[:2]] == ["response.created", "keepalive"]
    assert response["output"][0]["content"][0]["text"] == "You said: Hello"
    assert complaints(events) == []


def test_pauses_within_a_stream_are_filled_within_the_grammar(http, gateway):
    gateway.limit(keepalive=0.05)
    events = streamed(http, input="[chunks=4] [pace=300]")
    grammar.check(events)
    assert "keepalive" in {event["type"] for event in events}


def test_a_second_target_takes_over_a_stream_the_gateway_opened(http, gateway):
    gateway.limit(commit=0.05, keepalive=0.05)
    provider = Provider.objects.get(name="sandbox-responses")
    late = Scripted(503, {}, [b'{"error":{"message":"busy"}}'], "application/json", delay_ms=800)
    gateway.sandbox.script("late-upstream", late)
    rows.alias("two", (provider, "late-upstream"), (provider, "sandbox-1"))
    events = streamed(http, "two", input="Hello")
    assert grammar.check(events)["status"] == "completed"
    assert [call.model for call in gateway.sandbox.calls] == ["late-upstream", "sandbox-1"]


# The checker itself


@cases("recording", recordings("responses", "openai-mcp-tool-approval-*.sse"))
def test_the_checker_accepts_what_openai_streams(recording):
    assert grammar.check(events_in(recording.read_bytes()))["status"] == "completed"


def without(kind: str) -> Callable[[list[Json]], list[Json]]:
    return lambda events: [event for event in events if event["type"] != kind]


def twice(kind: str) -> Callable[[list[Json]], list[Json]]:
    """Each event of a kind followed by itself under a number of its own."""
    return lambda events: [
        {**event, "sequence_number": event["sequence_number"] * 10 + extra}
        for event in events
        for extra in range(2 if event["type"] == kind else 1)
    ]


def altered(kind: str, **fields: Any) -> Callable[[list[Json]], list[Json]]:
    return lambda events: [
        {**event, **fields} if event["type"] == kind else event for event in events
    ]


@cases(
    "damage",
    [
        without("response.created"),
        without("response.completed"),
        without("response.output_item.added"),
        without("response.output_item.done"),
        without("response.content_part.added"),
        without("response.content_part.done"),
        without("response.output_text.delta"),
        without("response.output_text.done"),
        without("response.function_call_arguments.delta"),
        without("response.function_call_arguments.done"),
        without("response.reasoning_summary_part.added"),
        without("response.reasoning_summary_text.delta"),
        without("response.reasoning_summary_part.done"),
        twice("response.created"),
        twice("response.completed"),
        twice("response.output_item.added"),
        twice("response.output_item.done"),
        twice("response.output_text.delta"),
        twice("response.function_call_arguments.done"),
        altered("response.output_text.delta", item_id="msg_other"),
        altered("response.output_text.delta", output_index=7),
        altered("response.output_text.delta", content_index=1),
        altered("response.output_text.done", text="something else"),
        altered("response.function_call_arguments.done", arguments="{}"),
        altered("response.in_progress", sequence_number=0),
        altered("response.output_item.done", item={"id": "other", "type": "message"}),
        altered("response.in_progress", response={"id": "r", "model": "m", "output": []}),
        lambda events: events[1:],
        lambda events: [events[0], {"type": "error", "sequence_number": 1}, *events[2:]],
        lambda events: [{"type": "keepalive", "sequence_number": 0}, *events],
        lambda events: [events[0], {"type": "keepalive", "sequence_number": 1}, *events[1:]],
    ],
)
def test_the_checker_sees_what_is_wrong(whole_answer, damage):
    grammar.check(whole_answer)
    with pytest.raises((AssertionError, KeyError)):
        grammar.check(damage(whole_answer))


@pytest.fixture(scope="module")
def whole_answer():
    """The events of an answer that has reasoning, text and a tool call, made by hand."""
    response: Json = {
        "id": "resp_1",
        "model": "m",
        "status": "in_progress",
        "output": [],
        "error": None,
    }
    part = {"type": "output_text", "text": "", "annotations": []}
    summary = {"type": "summary_text", "text": ""}
    thought = {"id": "rs_1", "type": "reasoning", "summary": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    call = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f"}
    items: list[Json] = [
        {**thought, "summary": [{**summary, "text": "hm"}]},
        {**message, "status": "completed", "content": [{**part, "text": "abcd"}]},
        {**call, "status": "completed", "arguments": '{"a":1}'},
    ]
    events: list[Json] = [
        {"type": "created", "response": response},
        {"type": "in_progress", "response": response},
        {"type": "output_item.added", "output_index": 0, "item": thought},
        {"type": "reasoning_summary_part.added", "part": summary},
        {"type": "reasoning_summary_text.delta", "delta": "hm"},
        {"type": "reasoning_summary_text.done", "text": "hm"},
        {"type": "reasoning_summary_part.done", "part": {**summary, "text": "hm"}},
        {"type": "output_item.done", "output_index": 0, "item": items[0]},
        {"type": "output_item.added", "output_index": 1, "item": message},
        {"type": "content_part.added", "part": part},
        {"type": "output_text.delta", "delta": "ab"},
        {"type": "output_text.delta", "delta": "cd"},
        {"type": "output_text.done", "text": "abcd"},
        {"type": "content_part.done", "part": {**part, "text": "abcd"}},
        {"type": "output_item.done", "output_index": 1, "item": items[1]},
        {"type": "output_item.added", "output_index": 2, "item": {**call, "arguments": ""}},
        {"type": "function_call_arguments.delta", "delta": '{"a":'},
        {"type": "function_call_arguments.delta", "delta": "1}"},
        {"type": "function_call_arguments.done", "arguments": '{"a":1}'},
        {"type": "output_item.done", "output_index": 2, "item": items[2]},
        {"type": "completed", "response": {**response, "status": "completed", "output": items}},
    ]
    places: dict[str, Json] = {
        "reasoning_summary": {"item_id": "rs_1", "output_index": 0, "summary_index": 0},
        "content_part": {"item_id": "msg_1", "output_index": 1, "content_index": 0},
        "output_text": {"item_id": "msg_1", "output_index": 1, "content_index": 0},
        "function_call": {"item_id": "fc_1", "output_index": 2},
    }
    return [
        {
            **next((place for stem, place in places.items() if event["type"].startswith(stem)), {}),
            **event,
            "type": f"response.{event['type']}",
            "sequence_number": number,
        }
        for number, event in enumerate(events)
    ]
