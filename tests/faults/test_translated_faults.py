"""Every fault an upstream can have, where its protocol is not the client's: an error that says so, or exactly
one terminal event; never an answer that only looks complete."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from gateway_project.sandbox import FAULTS
from gateway_project.sandbox.faults import PREFIX
from gateway_project.sandbox.log import LoggedCall
from gateway_project.sandbox.reply import Scripted
from tests.faults.expected import (
    BREAKS_OFF,
    COMPLETE,
    FAILED,
    HAS_ITS_OWN_TEST,
    MALFORMED,
    NEEDS_PATIENCE,
    REFUSED,
    code_in_a_stream,
    expected_of,
)
from tests.faults.faulty import answered, assert_chat_was_cut, faulty, sdk_of, streamed
from tests.plugins.cases import cases, each_pair, each_value
from tests.support import chat_grammar, grammar, meaning, rows, wire
from tests.support.client import question
from tests.support.live import LiveGateway
from tests.support.meaning import Tokens
from tests.support.outcomes import Outcomes
from tests.support.patience import until
from tests.support.rows import Customer

Json = dict[str, Any]

CELLS = [
    ("chat", "responses"),
    ("chat", "anthropic"),
    ("responses", "chat"),
    ("responses", "anthropic"),
]
# Refused or broken before it said anything, and not billed: the next target may answer.
FALLS_BACK = ["401", "403", "404", "429", "429-insufficient-quota", "500", "502", "503", "529"]
STAYS = ["400", "413", "422", "redirect", "bad-json-body", "html"]

# The pace keeps an endless answer from hitting the size limit before the time limit.
SAID = "[pace=5] Hi"
ANSWER = "You said: Hi"
GERMAN = "Grüße aus dem Sandkasten — für Sie."

each_cell = cases(("door", "protocol"), CELLS, ids=map("-over-".join, CELLS))
streamed_or_not = cases("stream", [False, True], ids=["json", "stream"])


def test_every_fault_is_tested() -> None:
    assert {*REFUSED, *BREAKS_OFF} | COMPLETE | HAS_ITS_OWN_TEST == set(FAULTS)


@pytest.fixture
def customer(gateway: LiveGateway) -> Customer:
    return rows.customer("acme")


@pytest.fixture
def sdk(gateway: LiveGateway, customer: Customer) -> Iterator[OpenAI]:
    with sdk_of(gateway, customer) as client:
        yield client


def assert_one_failure(door: str, answer: wire.Answer, code: str) -> None:
    """Exactly one terminal event, at the end, and in chat a body that was cut."""
    assert answer.status == 200
    if door == "responses":
        response = grammar.check_stream(answer.body)
        assert (response["status"], answer.is_whole) == ("failed", True)
        assert response["error"]["code"] == "server_error"
        assert all(item["status"] == "incomplete" for item in response["output"])
        return
    assert_chat_was_cut(answer, code)


def assert_upstream_closed(gateway: LiveGateway, fault: str) -> None:
    """The gateway keeps no provider waiting: each call it made has come to its end."""
    gateway.idle()
    until(lambda: all(call.ended for call in gateway.sandbox.calls))
    until(lambda: gateway.worker.services.transport.open_connections == 0)
    ended = {call.ended for call in gateway.sandbox.calls}
    assert ended <= {"completed", "client_closed", f"fault:{fault}"} | ENDED_BY_THE_SANDBOX


ENDED_BY_THE_SANDBOX = {"fault:cut", "fault:reset"}


@each_value
@each_cell
@cases("fault", [*REFUSED, *BREAKS_OFF])
def test_a_whole_answer_that_fails_is_an_http_error(
    gateway: LiveGateway, customer: Customer, sdk: OpenAI, door: str, protocol: str, fault: str
) -> None:
    expected = expected_of(protocol, fault, stream=False)
    model = faulty(gateway, protocol, fault, hurried=fault in NEEDS_PATIENCE)
    answer = wire.ask(gateway.root_url, door, customer, model, SAID)
    assert (answer.status, answer.error["code"], answer.is_whole) == (*expected, True)
    with pytest.raises(openai.APIStatusError) as raised:
        answered(sdk, door, model, SAID)
    assert (raised.value.status_code, raised.value.code) == expected
    assert raised.value.request_id
    assert_upstream_closed(gateway, fault)


@each_value
@each_cell
@cases("fault", REFUSED)
def test_a_stream_that_fails_before_its_first_output_is_an_http_error(
    gateway: LiveGateway, customer: Customer, sdk: OpenAI, door: str, protocol: str, fault: str
) -> None:
    expected = expected_of(protocol, fault, stream=True)
    model = faulty(gateway, protocol, fault, hurried=fault in NEEDS_PATIENCE)
    answer = wire.ask(gateway.root_url, door, customer, model, SAID, stream=True)
    assert (answer.status, answer.error["code"], answer.is_whole) == (*expected, True)
    with pytest.raises(openai.APIStatusError) as raised:
        streamed(sdk, door, model, SAID)
    assert (raised.value.status_code, raised.value.code) == expected
    assert_upstream_closed(gateway, fault)


@each_value
@each_cell
@cases("fault", BREAKS_OFF)
def test_a_stream_that_fails_later_has_exactly_one_terminal_event(
    gateway: LiveGateway, customer: Customer, sdk: OpenAI, door: str, protocol: str, fault: str
) -> None:
    model = faulty(gateway, protocol, fault, hurried=fault in NEEDS_PATIENCE)
    answer = wire.ask(gateway.root_url, door, customer, model, SAID, stream=True)
    assert "".join(wire.deltas(answer))
    assert_one_failure(door, answer, code_in_a_stream(protocol, fault))
    with pytest.raises((openai.APIError, RuntimeError)):
        streamed(sdk, door, model, SAID)
    assert_upstream_closed(gateway, fault)


@each_value
@each_cell
@cases("fault", sorted(COMPLETE))
def test_an_odd_answer_still_arrives_complete(
    gateway: LiveGateway, customer: Customer, sdk: OpenAI, door: str, protocol: str, fault: str
) -> None:
    model = faulty(gateway, protocol, fault, hurried=fault in NEEDS_PATIENCE)
    expected = GERMAN if fault == "utf8-split" else ANSWER
    whole = wire.ask(gateway.root_url, door, customer, model)
    assert (whole.status, whole.is_whole) == (200, True)
    assert meaning.MEANING[door](whole.json()).text == expected
    stream = wire.ask(gateway.root_url, door, customer, model, stream=True)
    assert (stream.status, stream.is_whole) == (200, True)
    assert final_of(door, stream).text == expected
    assert streamed(sdk, door, model) == expected


def final_of(door: str, answer: wire.Answer) -> meaning.Meaning:
    """Check the form of a stream and return what it says; chat was not asked for usage."""
    if door == "responses":
        return meaning.of_response(grammar.check_stream(answer.body))
    chat_grammar.check_ours(chat_grammar.read(answer.body), with_usage=False)
    return meaning.of_chat_stream(answer.body)


# What these faults make of the usage, as OpenAI counts it.
USAGE: dict[str, dict[str, Tokens | None]] = {
    "no-usage": dict.fromkeys(("chat", "responses", "anthropic"), None),
    "cached-inclusive": {
        "chat": Tokens(1000, 800, 0, 3, 0),
        "responses": Tokens(1000, 800, 0, 3, 0),
        "anthropic": Tokens(1800, 800, 0, 3, 0),
    },
    "cached-exclusive": {
        "chat": Tokens(1000, 800, 0, 3, 0),  # their total tells that it is beside
        "responses": Tokens(1000, 800, 0, 3, 0),
        "anthropic": Tokens(1000, 800, 0, 3, 0),
    },
    "usage-twice": dict.fromkeys(("chat", "responses", "anthropic"), Tokens(1, 0, 0, 3, 0)),
}


@each_pair
@each_cell
@streamed_or_not
@cases("fault", USAGE)
def test_odd_usage_is_neither_invented_nor_counted_twice(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str, fault: str, stream: bool
) -> None:
    model = faulty(gateway, protocol, fault, hurried=fault in NEEDS_PATIENCE)
    asked = question(door, model, "Hi", stream)
    if door == "chat" and stream:
        asked["stream_options"] = {"include_usage": True}
    with wire.Wire(gateway.root_url) as client:
        client.send(wire.request(door, customer, asked))
        answer = client.answer()
    whole = meaning.WHOLE[door](answer.body) if stream else answer.json()
    assert meaning.MEANING[door](whole).usage == USAGE[fault][protocol]


@each_cell
def test_tokens_below_zero_are_none(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str
) -> None:
    answer = wire.ask(
        gateway.root_url,
        door,
        customer,
        faulty(gateway, protocol, "negative-tokens"),
    )
    assert meaning.MEANING[door](answer.json()).usage == Tokens(0, 0, 0, 0, 0)


@each_cell
def test_an_event_above_the_limit_ends_a_stream_but_not_a_whole_answer(
    gateway: LiveGateway, customer: Customer, sdk: OpenAI, door: str, protocol: str
) -> None:
    model = faulty(gateway, protocol, "huge-event")
    assert len(answered(sdk, door, model)) == 10 * 1024 * 1024
    stream = wire.ask(gateway.root_url, door, customer, model, stream=True)
    assert (stream.status, stream.error["code"]) == MALFORMED


@each_cell
def test_one_event_that_is_no_json_is_left_out(
    gateway: LiveGateway,
    customer: Customer,
    sdk: OpenAI,
    door: str,
    protocol: str,
    outcomes: Outcomes,
) -> None:
    model = faulty(gateway, protocol, "bad-json-frame")
    whole = wire.ask(gateway.root_url, door, customer, model)
    assert (whole.status, whole.error["code"]) == MALFORMED
    assert streamed(sdk, door, model) == ANSWER
    assert [line["frames_dropped"] for line in outcomes()] == [0, 1]


@each_cell
def test_a_connection_reset_on_its_second_request_is_an_error_and_then_forgotten(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str
) -> None:
    model = faulty(gateway, protocol, "reset-keepalive")
    statuses = [wire.ask(gateway.root_url, door, customer, model).status for _ in range(4)]
    assert statuses == [200, 502, 200, 502]


@each_cell
def test_bytes_after_the_end_do_not_spoil_this_answer_or_the_next(
    gateway: LiveGateway, customer: Customer, sdk: OpenAI, door: str, protocol: str
) -> None:
    model = faulty(gateway, protocol, "trailing-after-done")
    rows.alias("sound", (rows.provider(protocol, gateway.sandbox.base_url, "sound"), "sandbox-1"))
    stream = wire.ask(gateway.root_url, door, customer, model, stream=True)
    assert final_of(door, stream).text == ANSWER
    whole = wire.ask(gateway.root_url, door, customer, model)
    # Bytes beyond content-length are broken HTTP if they come with the body, and unseen if later.
    assert whole.status in {200, 502}
    assert answered(sdk, door, "sound") == ANSWER


# Fallback, also from one protocol to another


def asked(gateway: LiveGateway) -> list[tuple[str | None, str | None]]:
    """The protocols and models the sandbox was asked for, in order."""
    return [(call.protocol, call.model) for call in gateway.sandbox.calls]


def alias_over(gateway: LiveGateway, *targets: tuple[str, str]) -> str:
    """An alias over (protocol, model) pairs."""
    url = gateway.sandbox.base_url
    made = [
        (rows.provider(protocol, url, f"{place}-{protocol}"), model)
        for place, (protocol, model) in enumerate(targets)
    ]
    rows.alias("many", *made)
    return "many"


def next_after(protocol: str) -> str:
    """The protocol of the target that is tried next: another one."""
    return {"chat": "anthropic", "responses": "chat", "anthropic": "responses"}[protocol]


@each_pair
@each_cell
@streamed_or_not
@cases("fault", FALLS_BACK)
def test_a_refusing_target_gives_way_to_the_next_of_another_protocol(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str, stream: bool, fault: str
) -> None:
    other = next_after(protocol)
    model = alias_over(gateway, (protocol, PREFIX + fault), (other, "good"))
    answer = wire.ask(gateway.root_url, door, customer, model, stream=stream)
    assert (answer.status, answer.is_whole) == (200, True)
    whole = meaning.WHOLE[door](answer.body) if stream else answer.json()
    assert meaning.MEANING[door](whole).text == ANSWER
    assert asked(gateway) == [(protocol, PREFIX + fault), (other, "good")]


@each_cell
def test_an_error_event_before_any_output_gives_way_to_the_next(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str
) -> None:
    other = next_after(protocol)
    model = alias_over(gateway, (protocol, PREFIX + "error-first"), (other, "good"))
    answer = wire.ask(gateway.root_url, door, customer, model, stream=True)
    assert meaning.MEANING[door](meaning.WHOLE[door](answer.body)).text == ANSWER
    assert asked(gateway) == [(protocol, PREFIX + "error-first"), (other, "good")]


@each_pair
@each_cell
@streamed_or_not
@cases("fault", STAYS)
def test_a_rejected_request_and_a_broken_answer_are_not_tried_elsewhere(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str, stream: bool, fault: str
) -> None:
    model = alias_over(gateway, (protocol, PREFIX + fault), (next_after(protocol), "good"))
    answer = wire.ask(gateway.root_url, door, customer, model, stream=stream)
    assert answer.status in {400, 413, 422, 502}
    assert asked(gateway) == [(protocol, PREFIX + fault)]


@each_value
@each_cell
@cases("fault", BREAKS_OFF)
def test_nothing_is_tried_again_after_the_first_output(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str, fault: str
) -> None:
    gateway.limit(idle=0.5, total_stream=1.5)
    model = alias_over(gateway, (protocol, PREFIX + fault), (next_after(protocol), "good"))
    answer = wire.ask(gateway.root_url, door, customer, model, SAID, stream=True)
    assert answer.status == 200
    assert "".join(wire.deltas(answer))
    gateway.idle()
    assert asked(gateway) == [(protocol, PREFIX + fault)]


def late(gateway: LiveGateway, protocol: str) -> str:
    """The name of a model that refuses only after the client was shown a sign of life."""
    script = Scripted(503, {}, (b"{}",), "application/json", delay_ms=500)
    gateway.call(lambda: gateway.sandbox.script(f"late-{protocol}", script))
    return f"late-{protocol}"


@each_cell
def test_after_the_commit_a_target_of_another_protocol_may_still_answer(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str
) -> None:
    gateway.limit(commit=0.05, keepalive=0.05)
    other = next_after(protocol)
    model = alias_over(gateway, (protocol, late(gateway, protocol)), (other, "good"))
    answer = wire.ask(gateway.root_url, door, customer, model, stream=True)
    assert answer.is_whole
    assert [named for named, _ in asked(gateway)] == [protocol, other]
    if door == "chat":
        assert answer.body.startswith(b": keep-alive\n\n")
        chat_grammar.check(chat_grammar.read(answer.body))
        assert meaning.of_chat_stream(answer.body).text == ANSWER
        return
    events = grammar.read(answer.body)
    assert [event["type"] for event in events[:2]] == ["response.created", "keepalive"]
    assert meaning.of_response(grammar.check(events)).text == ANSWER


@each_cell
def test_when_all_targets_fail_after_the_commit_the_stream_ends_with_one_terminal_event(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str
) -> None:
    gateway.limit(commit=0.05)
    other = next_after(protocol)
    model = alias_over(gateway, (protocol, late(gateway, protocol)), (other, PREFIX + "500"))
    answer = wire.ask(gateway.root_url, door, customer, model, stream=True)
    assert [named for named, _ in asked(gateway)] == [protocol, other]
    assert_one_failure(door, answer, "upstream_error")
    assert not list(wire.deltas(answer))


# The provider's own words

CANARY = "tgcanary-upstream-words-7f3a"


def error_event(protocol: str) -> bytes:
    """An error in the middle of a stream, with words that are nobody's business."""
    told: dict[str, Json] = {
        "chat": {"error": {"message": CANARY, "type": "server_error", "code": None}},
        "responses": {"type": "error", "message": CANARY, "code": "server_error"},
        "anthropic": {"type": "error", "error": {"type": "api_error", "message": CANARY}},
    }
    return b"data: " + json.dumps(told[protocol]).encode() + b"\n\n"


def first_words(protocol: str) -> bytes:
    """The beginning of an answer."""
    told: dict[str, list[Json]] = {
        "chat": [{"id": "c", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}],
        "responses": [
            {
                "type": "response.output_text.delta",
                "output_index": 0,
                "content_index": 0,
                "delta": "Hi",
            }
        ],
        "anthropic": [
            {"type": "message_start", "message": {"id": "m", "content": [], "usage": {}}},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": "Hi"},
            },
        ],
    }
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in told[protocol])


@each_cell
@cases("where", ["first", "later"])
def test_words_inside_a_stream_reach_nobody(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str, where: str
) -> None:
    begun = [first_words(protocol)] if where == "later" else []
    script = Scripted(chunks=(*begun, error_event(protocol)))
    gateway.call(lambda: gateway.sandbox.script("talks", script))
    rows.alias("faulty", (rows.provider(protocol, gateway.sandbox.base_url), "talks"))
    answer = wire.ask(gateway.root_url, door, customer, "faulty", stream=True)
    assert CANARY not in answer.body.decode()
    if where == "first":
        assert (answer.status, answer.error["code"]) == FAILED
    else:
        assert "".join(wire.deltas(answer)) == "Hi"
        assert_one_failure(door, answer, "upstream_error")


@each_pair
@each_cell
@streamed_or_not
@cases("status", [400, 401, 403, 422, 500, 529])
def test_words_of_a_refusal_reach_the_client_only_where_they_help(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str, stream: bool, status: int
) -> None:
    error = {"error": {"message": f"{CANARY} sk-canary0123456789abcdef", "type": "x"}}
    script = Scripted(status, chunks=(json.dumps(error).encode(),), content_type="application/json")
    gateway.call(lambda: gateway.sandbox.script("refuses", script))
    rows.alias("faulty", (rows.provider(protocol, gateway.sandbox.base_url), "refuses"))
    answer = wire.ask(gateway.root_url, door, customer, "faulty", stream=stream)
    assert answer.status >= 400
    assert (CANARY in answer.body.decode()) == (status in {400, 422})
    assert "sk-canary" not in answer.body.decode() + str(answer.headers)


# The client leaves


@each_cell
@streamed_or_not
def test_a_client_that_leaves_closes_the_providers_connection(
    gateway: LiveGateway,
    customer: Customer,
    door: str,
    protocol: str,
    stream: bool,
    outcomes: Outcomes,
) -> None:
    rows.alias("slow", (rows.provider(protocol, gateway.sandbox.base_url), "good"))
    said = "[chunks=1000] [pace=10]" if stream else "[wait=20000] Hi"
    client = wire.Wire(gateway.root_url)
    client.send(wire.request(door, customer, question(door, "slow", said, stream)))
    if stream:
        client.wait_for(b'"delta":')
    until(lambda: len(gateway.sandbox.calls) == 1)
    call: LoggedCall = gateway.sandbox.calls[0]
    client.socket.close()
    until(lambda: call.ended is not None)
    assert call.ended == "client_closed"
    assert [line["status"] for line in outcomes()] == ["client_gone"]
