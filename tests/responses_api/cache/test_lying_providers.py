"""Providers that miscount their answers, or end them before they are whole, beside the cache."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway_project.sandbox.reply import EVENT_STREAM, Scripted
from routing.models import Provider
from routing.protocols import PROTOCOLS
from tenants.models import UsageRow
from tenants.token_classes import TOKEN_CLASSES
from tests.plugins.cases import cases, each_value
from tests.responses_api.cache.conftest import cached
from tests.support import ledger, rows
from tests.support.live import LiveGateway

Json = dict[str, Any]

SAID = "A plain answer of some words."
FORMS = ("json", "stream")
DOORS = ("chat", "responses")
# What a provider may say instead of the tokens that it used: of the input and of the output.
LIES: dict[str, tuple[Any, Any]] = {
    "below zero": (-5, -7),
    "beyond all numbers": (1e300, 1e300),
    "more than can be": (2**63, 2**63),
    "nothing beside an answer": (0, 0),
    "no numbers": ("many", None),
}
# It says that it has ended properly, although its arguments have not.
CUT_CALL: Json = {"name": "look", "arguments": '{"where": "the la'}
# How an answer of each protocol may end that is no whole one.
ENDS: dict[str, tuple[str, ...]] = {
    "chat": ("cut", "error", "length", "content_filter", "cut call", "call at its limit"),
    "responses": ("cut", "failed", "length", "content_filter", "cut call", "call at its limit"),
    "anthropic": ("cut", "error", "length", "content_filter", "cut call", "call at its limit"),
}
REASONS = {"length": "length", "call at its limit": "length", "content_filter": "content_filter"}


def chat(usage: Json | None, end: str, form: str) -> list[bytes]:
    """Return the body of a chat completion, in its chunks."""
    is_call = "call" in end
    call = {"id": "c1", "type": "function", "function": CUT_CALL}
    message: Json = {"role": "assistant", "content": None if is_call else SAID}
    reason = REASONS.get(end, "tool_calls" if is_call else "stop")
    about = {"id": "x", "created": 1, "model": "m"}
    if form == "json":
        if is_call:
            message["tool_calls"] = [call]
        choice = {"index": 0, "message": message, "finish_reason": reason}
        whole = {**about, "object": "chat.completion", "choices": [choice], "usage": usage}
        return [orjson.dumps({"error": {"message": "no"}} if end == "error" else whole)]
    if is_call:
        message["tool_calls"] = [{"index": 0, **call}]
    about["object"] = "chat.completion.chunk"
    events: list[Json] = [{**about, "choices": [{"index": 0, "delta": message}]}]
    if end == "error":
        events.append({"error": {"message": "no", "code": "server_error"}})
    elif end != "cut":
        events += [
            {**about, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
            {**about, "choices": [], "usage": usage},
        ]
    done = [b"data: [DONE]\n\n"] if end not in {"cut", "error"} else []
    return [b"data: %b\n\n" % orjson.dumps(event) for event in events] + done


def responses(usage: Json | None, end: str, form: str) -> list[bytes]:
    """Return the body of a response, in its chunks."""
    bare: Json = {"id": "resp_x", "object": "response", "created_at": 1, "model": "m", "output": []}
    part = {"type": "output_text", "text": SAID, "annotations": []}
    item: Json = {"type": "message", "role": "assistant", "content": [part]}
    if "call" in end:
        item = {"type": "function_call", "call_id": "c1", **CUT_CALL}
    item = {"id": "x_1", **item}
    status = "failed" if end == "failed" else "incomplete" if end in REASONS else "completed"
    item["status"] = "completed" if status == "completed" else "incomplete"
    whole = {**bare, "status": status, "output": [item], "usage": usage}
    if status == "failed":
        whole["error"] = {"code": "server_error", "message": "no"}
    elif status == "incomplete":
        reason = "content_filter" if end == "content_filter" else "max_output_tokens"
        whole["incomplete_details"] = {"reason": reason}
    if form == "json":
        return [orjson.dumps(whole)]
    place = {"output_index": 0, "item_id": "x_1"}
    said: Json = {"type": "response.output_text.delta", "content_index": 0, "delta": SAID}
    begun = {**item, "status": "in_progress", "content": []}
    if "call" in end:
        delta = CUT_CALL["arguments"]
        said = {"type": "response.function_call_arguments.delta", "delta": delta}
        begun = {**item, "status": "in_progress", "arguments": ""}
    events: list[Json] = [
        {"type": "response.created", "response": {**bare, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {**place, **said},
    ]
    if end != "cut":
        events += [
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": f"response.{status}", "response": whole},
        ]
    return [
        b"event: %b\ndata: %b\n\n"
        % (event["type"].encode(), orjson.dumps({**event, "sequence_number": number}))
        for number, event in enumerate(events)
    ]


STOP_REASONS = {
    "length": "max_tokens",
    "call at its limit": "max_tokens",
    "content_filter": "refusal",
    "cut call": "tool_use",
}


def anthropic(usage: Json | None, end: str, form: str) -> list[bytes]:
    """Return the body of an Anthropic message, in its chunks."""
    block: Json = {"type": "text", "text": SAID}
    delta: Json = {"type": "text_delta", "text": SAID}
    if "call" in end:
        block = {"type": "tool_use", "id": "c1", "name": CUT_CALL["name"], "input": {}}
        delta = {"type": "input_json_delta", "partial_json": CUT_CALL["arguments"]}
    about: Json = {"id": "msg_x", "type": "message", "role": "assistant", "model": "m"}
    ended = {"stop_reason": STOP_REASONS.get(end, "end_turn"), "stop_sequence": None}
    error: Json = {"type": "error", "error": {"type": "api_error", "message": "no"}}
    if form == "json":
        if "call" in end:
            block["input"] = CUT_CALL["arguments"]
        whole = {**about, "content": [block], **ended, "usage": usage}
        return [orjson.dumps(error if end == "error" else whole)]
    opening = {**about, "content": [], "stop_reason": None, "usage": usage}
    begun = {**block, "text": ""} if "text" in block else block
    events: list[Json] = [
        {"type": "message_start", "message": opening},
        {"type": "content_block_start", "index": 0, "content_block": begun},
        {"type": "content_block_delta", "index": 0, "delta": delta},
    ]
    if end == "error":
        events.append(error)
    elif end != "cut":
        events += [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": ended, "usage": usage},
            {"type": "message_stop"},
        ]
    return [
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
        for event in events
    ]


BODIES = {"chat": chat, "responses": responses, "anthropic": anthropic}
COUNTS = {
    "anthropic": ("input_tokens", "output_tokens"),
    "chat": ("prompt_tokens", "completion_tokens"),
    "responses": ("input_tokens", "output_tokens"),
}


def usage_of(protocol: str, told: tuple[Any, Any]) -> Json:
    return dict(zip(COUNTS[protocol], told, strict=True)) | {"total_tokens": 9}


def lie(
    gateway: LiveGateway, protocol: str, form: str, told: tuple[Any, Any] = (5, 7), end: str = ""
) -> str:
    """Have the upstream answer so from now on; return the name of an alias that keeps its answers."""
    body = BODIES[protocol](usage_of(protocol, told), end, form)
    kind = "application/json" if form == "json" else EVENT_STREAM
    reply = Scripted(chunks=body, end="cut" if end == "cut" else "clean", content_type=kind)
    gateway.call(lambda: gateway.sandbox.script("lie", reply))
    provider = Provider.objects.get(name=f"sandbox-{protocol}")
    rows.alias("lies", (provider, "lie"), cache_seconds=600)
    gateway.catch_up()
    return "lies"


@pytest.fixture
def booked(gateway: LiveGateway) -> Any:
    ledger.begin_here(gateway)
    return lambda: ledger.rows(gateway)[-2:]


def counts(row: UsageRow) -> list[int]:
    return [getattr(row, name) for name in TOKEN_CLASSES]


@each_value
@cases("protocol", list(BODIES))
@cases("door", DOORS)
@cases("form", FORMS)
@cases("told", LIES)
def test_an_answer_with_a_wrong_usage_is_kept_with_our_count(
    ask, gateway, booked, door, protocol, form, told
):
    model = lie(gateway, protocol, form, LIES[told])
    answers = [ask(door, f"{told} {form}", model=model, stream=form == "stream") for _ in range(2)]

    assert [cached(answer) for answer in answers] == ["miss", "hit"]
    made, given = booked()
    assert (made.usage_source, made.usage_anomaly) == ("counted", True)
    assert made.input_fresh > 0
    assert 0 < made.output_visible < 50
    assert given.cache_outcome == "hit"
    assert given.cost_nano == 0
    assert all(0 <= count < 1000 for count in counts(given))
    assert SAID in answers[1].text


def test_no_protocol_is_left_out():
    assert set(BODIES) == set(ENDS) == set(COUNTS) == set(PROTOCOLS)


@each_value
@cases(("protocol", "end"), [(name, end) for name, ends in ENDS.items() for end in ends])
@cases("door", DOORS)
@cases("form", FORMS)
def test_an_answer_that_is_not_whole_is_not_kept(ask, gateway, in_table, door, protocol, end, form):
    before = len(in_table())
    model = lie(gateway, protocol, form, end=end)
    for _ in range(2):
        answer = ask(door, f"{end} {form}", model=model, stream=form == "stream")
        assert answer.headers.get("x-tollgate-cache") != "hit"
    assert len(in_table()) == before
