"""Some failures move a call to the alias's next target; others never do."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from gateway_project.sandbox.faults import PREFIX
from gateway_project.sandbox.reply import Scripted
from routing.models import Provider
from tests.plugins.cases import cases, each_pair, each_value
from tests.support import rows, wire
from tests.support.client import question
from tests.support.live import LiveGateway
from tests.support.outcomes import Outcomes
from tests.support.rows import Customer

DOORS = ("chat", "responses")
each_door = cases("door", DOORS)
streamed_or_not = cases("stream", [False, True], ids=["json", "stream"])
FALLS_BACK = ["401", "403", "404", "429", "429-insufficient-quota", "500", "502", "503", "529"]
ANSWER = "You said: Hi"


@pytest.fixture
def customer(gateway: LiveGateway) -> Customer:
    return rows.customer("acme")


def upstream(gateway: LiveGateway, door: str, name: str, **fields: Any) -> Provider:
    return rows.provider(door, gateway.sandbox.base_url, name, **fields)


def alias_over(gateway: LiveGateway, door: str, *models: str) -> str:
    """An alias over models of one provider; a fault's name stands for its model."""
    provider = upstream(gateway, door, "first")
    rows.alias("many", *((provider, model) for model in models))
    return "many"


def asked(gateway: LiveGateway) -> list[str | None]:
    """The models the sandbox was asked for, in order."""
    return [call.model for call in gateway.sandbox.calls]


def text_of(answer: wire.Answer) -> str:
    """The answer's text, streamed or not, through either door."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        return "".join(wire.deltas(answer))
    whole = answer.json()
    if "choices" in whole:
        return str(whole["choices"][0]["message"]["content"])
    return str(whole["output"][0]["content"][0]["text"])


@each_pair
@each_door
@streamed_or_not
@cases("fault", FALLS_BACK)
def test_a_refusing_target_gives_way_to_the_next(
    gateway: LiveGateway, customer: Customer, door: str, stream: bool, fault: str
) -> None:
    first, second = (upstream(gateway, door, name) for name in ("first", "second"))
    rows.alias("many", (first, PREFIX + fault), (second, "good"))
    answer = wire.ask(gateway.root_url, door, customer, "many", stream=stream)
    assert (answer.status, answer.is_whole, text_of(answer)) == (200, True, ANSWER)
    assert asked(gateway) == [PREFIX + fault, "good"]


@each_door
@streamed_or_not
@cases("fault", ["connect-refused", "tls-fail"])
def test_a_target_without_a_connection_gives_way_to_the_next(
    gateway: LiveGateway,
    customer: Customer,
    door: str,
    stream: bool,
    fault: str,
    outcomes: Outcomes,
) -> None:
    broken = rows.provider(door, gateway.sandbox.fault_urls[fault], "broken")
    rows.alias("many", (broken, "any"), (upstream(gateway, door, "works"), "good"))
    answer = wire.ask(gateway.root_url, door, customer, "many", stream=stream)
    assert (answer.status, text_of(answer)) == (200, ANSWER)
    (line,) = outcomes()
    assert line["targets"] == ["broken/any: upstream_unreachable", "works/good"]


@each_door
def test_an_error_event_before_any_output_gives_way_to_the_next(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    model = alias_over(gateway, door, PREFIX + "error-first", "good")
    answer = wire.ask(gateway.root_url, door, customer, model, stream=True)
    assert (answer.status, text_of(answer)) == (200, ANSWER)
    assert asked(gateway) == [PREFIX + "error-first", "good"]


def test_a_response_that_failed_before_any_output_gives_way_to_the_next(
    gateway: LiveGateway, customer: Customer
) -> None:
    failed = {"id": "r", "status": "failed", "error": {"code": "server_error", "message": "x"}}
    events = (
        {"type": "response.created", "sequence_number": 0, "response": {"id": "r"}},
        {"type": "response.failed", "sequence_number": 1, "response": failed},
    )
    chunks = tuple(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    gateway.call(lambda: gateway.sandbox.script("fails", Scripted(chunks=chunks)))
    model = alias_over(gateway, "responses", "fails", "good")
    answer = wire.ask(gateway.root_url, "responses", customer, model, stream=True)
    assert text_of(answer) == ANSWER
    assert [event["type"] for event in answer.events].count("response.created") == 1


@each_pair
@each_door
@streamed_or_not
@cases("fault", ["400", "413", "422", "redirect", "bad-json-body", "html"])
def test_a_rejected_request_and_a_broken_answer_are_not_tried_elsewhere(
    gateway: LiveGateway, customer: Customer, door: str, stream: bool, fault: str
) -> None:
    model = alias_over(gateway, door, PREFIX + fault, "good")
    answer = wire.ask(gateway.root_url, door, customer, model, stream=stream)
    assert answer.status in {400, 413, 422, 502}
    assert asked(gateway) == [PREFIX + fault]


SILENT = ["silence", "headers-then-silence", "200-then-silence", "accept-silence", "comments-only"]


@each_value
@each_door
@cases("fault", SILENT)
def test_a_stream_that_does_not_begin_in_time_is_asked_of_one_other_target(
    gateway: LiveGateway, customer: Customer, door: str, fault: str, outcomes: Outcomes
) -> None:
    gateway.limit(first_byte=0.1, idle=0.1)
    models = (PREFIX + fault, "good")
    url = gateway.sandbox.fault_urls.get(fault, gateway.sandbox.base_url)
    first = rows.provider(door, url, "first")
    second = upstream(gateway, door, "second")
    rows.alias("many", (first, models[0]), (second, models[1]))
    answer = wire.ask(gateway.root_url, door, customer, "many", stream=True)
    assert (answer.status, answer.is_whole, text_of(answer)) == (200, True, ANSWER)
    (line,) = outcomes()
    assert line["targets"] == [f"first/{models[0]}: upstream_timeout", "second/good"]


@each_door
def test_what_is_silent_is_asked_of_no_third_target_and_where_the_alias_says_so_of_no_second(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    for kinds, count in ((["unavailable", "no_answer"], 2), (["unavailable"], 1)):
        gateway.between_cases()
        gateway.limit(first_byte=0.1, idle=0.1)
        provider = upstream(gateway, door, "first")
        silent = [(provider, f"{PREFIX}{fault}") for fault in SILENT[:3]]
        rows.alias("many", *silent, fall_back_on=kinds)
        answer = wire.ask(gateway.root_url, door, customer, "many", stream=True)
        assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
        assert answer.headers["x-should-retry"] == "false"
        assert asked(gateway) == [model for _, model in silent[:count]]


@each_door
@cases("fault", SILENT[:3])
def test_a_whole_answer_that_was_waited_for_in_vain_may_be_billed_and_is_not_asked_for_again(
    gateway: LiveGateway, customer: Customer, door: str, fault: str
) -> None:
    gateway.limit(first_byte=0.1, idle=0.1, total=0.1)
    model = alias_over(gateway, door, PREFIX + fault, "good")
    answer = wire.ask(gateway.root_url, door, customer, model, stream=False)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert answer.headers["x-should-retry"] == "false"
    assert asked(gateway) == [PREFIX + fault]


@each_door
@streamed_or_not
def test_a_call_whose_connection_broke_before_its_answer_began_goes_to_the_next(
    gateway: LiveGateway, customer: Customer, door: str, stream: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        rows.alias(
            "many",
            (rows.provider(door, url, "hangs-up"), "any"),
            (upstream(gateway, door, "b"), "good"),
        )
        with wire.Wire(gateway.root_url) as client:
            client.send(wire.request(door, customer, question(door, "many", "Hi", stream)))
            peer, _ = listener.accept()
            peer.recv(65536)
            peer.close()
            answer = client.answer()
    assert (answer.status, text_of(answer)) == (200, ANSWER)
    assert asked(gateway) == ["good"]


@each_value
@each_door
@cases("fault", ["error-mid", "cut", "reset", "clean-eof", "200-then-silence-after-n"])
def test_nothing_is_tried_again_after_the_first_output(
    gateway: LiveGateway, customer: Customer, door: str, fault: str
) -> None:
    gateway.limit(idle=0.5)
    model = alias_over(gateway, door, PREFIX + fault, "good")
    answer = wire.ask(gateway.root_url, door, customer, model, stream=True)
    assert answer.status == 200
    assert b"error" in answer.data[-1] + answer.data[-2]
    assert asked(gateway) == [PREFIX + fault]


@each_door
@streamed_or_not
def test_no_more_than_three_targets_are_tried_and_the_last_ones_error_counts(
    gateway: LiveGateway, customer: Customer, door: str, stream: bool, outcomes: Outcomes
) -> None:
    faults = [PREFIX + fault for fault in ("500", "529", "429", "503")]
    model = alias_over(gateway, door, *faults, "good")
    answer = wire.ask(gateway.root_url, door, customer, model, stream=stream)
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert asked(gateway) == faults[:3]
    (line,) = outcomes()
    assert line["targets"] == [
        f"first/{PREFIX}500: upstream_error",
        f"first/{PREFIX}529: upstream_overloaded",
        f"first/{PREFIX}429: rate_limit_exceeded",
    ]


@each_door
@streamed_or_not
def test_a_target_without_its_credential_is_passed_over(
    gateway: LiveGateway, customer: Customer, door: str, stream: bool
) -> None:
    keyless = upstream(gateway, door, "keyless", auth_kind="bearer")
    rows.alias("many", (keyless, "never-asked"), (upstream(gateway, door, "works"), "good"))
    answer = wire.ask(gateway.root_url, door, customer, "many", stream=stream)
    assert (answer.status, text_of(answer)) == (200, ANSWER)
    assert asked(gateway) == ["good"]


@each_door
def test_without_any_credential_the_client_is_told_who_has_to_act(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    rows.alias("keyless", (upstream(gateway, door, "keyless", auth_kind="bearer"), "never-asked"))
    answer = wire.ask(gateway.root_url, door, customer, "keyless")
    assert (answer.status, answer.error["code"]) == (502, "upstream_auth_failed")
    assert "'keyless'" in answer.error["message"]
    assert asked(gateway) == []


@each_door
@streamed_or_not
def test_the_providers_retry_after_is_passed_on(
    gateway: LiveGateway, customer: Customer, door: str, stream: bool
) -> None:
    model = alias_over(gateway, door, PREFIX + "500", PREFIX + "429-retry-after")
    answer = wire.ask(gateway.root_url, door, customer, model, stream=stream)
    assert (answer.status, answer.headers["retry-after"]) == (429, "2")
    assert answer.headers["retry-after-ms"] == "2000"


@cases(
    ("given", "passed_on"),
    [
        ("0", "0"),
        ("1.5", "2"),
        ("7", "7"),
        ("99999", "600"),
        ("-3", "0"),
        ("soon", None),
        ("nan", None),
    ],
)
def test_only_a_sensible_retry_after_is_passed_on(
    gateway: LiveGateway, customer: Customer, given: str, passed_on: str | None
) -> None:
    limited = Scripted(429, {"retry-after": given}, (b"{}",), "application/json")
    gateway.call(lambda: gateway.sandbox.script("limited", limited))
    model = alias_over(gateway, "responses", "limited")
    answer = wire.ask(gateway.root_url, "responses", customer, model)
    assert (answer.status, answer.headers.get("retry-after")) == (429, passed_on)


# The commit: after a while without output the client gets headers and a sign of life.


def test_after_the_commit_the_stream_is_opened_by_us_and_another_target_may_still_answer(
    gateway: LiveGateway, customer: Customer
) -> None:
    gateway.limit(commit=0.05, keepalive=0.05)
    late_refusal = Scripted(503, {}, (b"{}",), "application/json", delay_ms=800)
    gateway.call(lambda: gateway.sandbox.script("late", late_refusal))
    model = alias_over(gateway, "responses", "late", "good")
    answer = wire.ask(gateway.root_url, "responses", customer, model, stream=True)

    events = answer.events
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "keepalive"]
    assert kinds.count("response.created") == 1
    assert kinds[-1] == "response.completed"
    assert (answer.is_whole, text_of(answer)) == (True, ANSWER)
    assert asked(gateway) == ["late", "good"]

    ids = {event["response"]["id"] for event in events if "response" in event}
    assert len(ids) == 1
    assert {event["response"]["model"] for event in events if "response" in event} == {"many"}
    own = [event["sequence_number"] for event in events if event["type"] != "keepalive"]
    assert own == sorted(set(own))


def test_keepalives_repeat_the_last_sequence_number_and_never_come_before_created(
    gateway: LiveGateway, customer: Customer
) -> None:
    gateway.limit(commit=0.05, keepalive=0.05)
    rows.alias("slow", (upstream(gateway, "responses", "slow"), "good"))
    text = "[wait=600] [pace=400] one two"
    answer = wire.ask(gateway.root_url, "responses", customer, "slow", text, stream=True)
    events = answer.events
    assert events[0]["type"] == "response.created"
    kept = [place for place, event in enumerate(events) if event["type"] == "keepalive"]
    assert len(kept) >= 3
    for place in kept:
        assert events[place]["sequence_number"] == events[place - 1]["sequence_number"]
    assert events[-1]["type"] == "response.completed"
    assert all(event["type"] != "keepalive" or "response" not in event for event in events)


def test_chat_shows_life_with_comments_between_its_events(
    gateway: LiveGateway, customer: Customer
) -> None:
    gateway.limit(commit=0.05, keepalive=0.05)
    rows.alias("slow", (upstream(gateway, "chat", "slow"), "good"))
    text = "[wait=600] [pace=400] one two"
    answer = wire.ask(gateway.root_url, "chat", customer, "slow", text, stream=True)
    assert answer.body.startswith(b": keep-alive\n\n: keep-alive\n\n")
    assert answer.body.count(b": keep-alive\n\n") >= 4
    assert text_of(answer) == "You said: one two"
    assert answer.data[-1] == b"[DONE]"


def test_before_the_commit_nothing_is_sent(gateway: LiveGateway, customer: Customer) -> None:
    gateway.limit(keepalive=0.02)
    rows.alias("slow", (upstream(gateway, "responses", "slow"), "good"))
    text = "[wait=200] Hi"
    answer = wire.ask(gateway.root_url, "responses", customer, "slow", text, stream=True)
    assert "keepalive" not in {event["type"] for event in answer.events}


@each_door
def test_when_all_targets_fail_after_the_commit_the_stream_ends_with_one_terminal_event(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    gateway.limit(commit=0.05)
    late_refusal = Scripted(503, {}, (b"{}",), "application/json", delay_ms=800)
    gateway.call(lambda: gateway.sandbox.script("late", late_refusal))
    model = alias_over(gateway, door, "late", PREFIX + "500")
    answer = wire.ask(gateway.root_url, door, customer, model, stream=True)
    assert answer.status == 200
    assert asked(gateway) == ["late", PREFIX + "500"]
    if door == "chat":
        (only,) = answer.events
        assert only["error"]["code"] == "upstream_error"
        assert not answer.is_whole
    else:
        assert [event["type"] for event in answer.events] == ["response.created", "response.failed"]
        assert [event["sequence_number"] for event in answer.events] == [0, 1]
        created, failed = (event["response"] for event in answer.events)
        assert (created["id"], created["created_at"]) == (failed["id"], failed["created_at"])
        assert (answer.data[-1], answer.is_whole) == (b"[DONE]", True)


def test_a_held_opening_of_the_first_target_is_not_repeated_by_the_second(
    gateway: LiveGateway, customer: Customer
) -> None:
    """The first target opens its stream, the client sees that, and then the target fails."""
    gateway.limit(commit=0.05)
    opening = {
        "type": "response.created",
        "sequence_number": 0,
        "response": {"id": "r", "output": []},
    }
    error = {"type": "error", "sequence_number": 1, "code": "server_error", "message": "x"}
    chunks = tuple(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (opening, error))
    gateway.call(lambda: gateway.sandbox.script("opens", Scripted(chunks=chunks, pace_ms=800)))
    model = alias_over(gateway, "responses", "opens", "good")
    answer = wire.ask(gateway.root_url, "responses", customer, model, stream=True)
    kinds = [event["type"] for event in answer.events]
    assert kinds.count("response.created") == 1
    assert kinds[-1] == "response.completed"
    assert len({event["response"]["id"] for event in answer.events if "response" in event}) == 1
    numbers = [event["sequence_number"] for event in answer.events if event["type"] != "keepalive"]
    assert numbers == sorted(set(numbers))
