"""Every fault an upstream can have, through both doors: an error that says so, or exactly one terminal
event; never an answer that only looks complete."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.responses import Response

from gateway_project.sandbox import FAULTS
from gateway_project.sandbox.reply import Scripted
from tests.faults.expected import (
    BREAKS_OFF,
    COMPLETE,
    CUT,
    HAS_ITS_OWN_TEST,
    MALFORMED,
    NEEDS_PATIENCE,
    REFUSED,
    expected_of,
)
from tests.faults.faulty import answered, assert_chat_was_cut, faulty, sdk_of, streamed
from tests.plugins.cases import cases, each_pair, each_value
from tests.support import rows, wire
from tests.support.live import LiveGateway
from tests.support.rows import Customer

DOORS = ("chat", "responses")
# Cut before any text. Chat has sent nothing then, but Responses has opened its first item, which is output.
CUT_BEFORE_TEXT = {"cut-before-output", "cut-utf8"}
REFUSED_AT_ONCE = sorted(set(REFUSED) - CUT_BEFORE_TEXT)

# The pace keeps an endless answer from hitting the size limit before the time limit.
SAID = "[pace=5] Hi"

each_door = cases("door", DOORS)


def test_every_fault_is_tested() -> None:
    tested = {*REFUSED, *BREAKS_OFF} | COMPLETE | HAS_ITS_OWN_TEST
    assert tested == set(FAULTS)


@pytest.fixture
def customer(gateway: LiveGateway) -> Customer:
    return rows.customer("acme")


def assert_one_failure(door: str, answer: wire.Answer, code: str) -> None:
    """Exactly one terminal event, at the end, and in chat a body that was cut."""
    assert answer.status == 200
    if door == "chat":
        assert_chat_was_cut(answer, code)
        return
    assert answer.is_whole
    *_, last, done = answer.data
    assert done == b"[DONE]"
    assert_failed_response(json.loads(last))
    kinds = [event["type"] for event in answer.events]
    assert not {"error", "response.completed", "response.incomplete"} & set(kinds)
    assert kinds.count("response.failed") == kinds.count("response.created") == 1
    numbers = [event["sequence_number"] for event in answer.events]
    assert numbers == sorted(set(numbers))


def assert_failed_response(event: dict[str, Any]) -> None:
    """`response.failed` with the whole Response."""
    assert event["type"] == "response.failed"
    response = Response.model_validate(event["response"], strict=False)
    assert (response.status, response.object, response.model) == ("failed", "response", "faulty")
    assert response.error is not None
    assert response.error.code == "server_error"
    assert response.id.startswith("resp_")
    assert {"usage", "incomplete_details", "store", "metadata"} <= set(event["response"])


@each_value
@each_door
@cases("fault", [*REFUSED_AT_ONCE, *BREAKS_OFF])
def test_a_whole_answer_that_fails_is_an_http_error(
    gateway: LiveGateway, customer: Customer, door: str, fault: str
) -> None:
    expected = expected_of(door, fault, stream=False)
    model = faulty(gateway, door, fault, hurried=fault in NEEDS_PATIENCE)
    answer = wire.ask(gateway.root_url, door, customer, model, SAID)
    assert (answer.status, answer.error["code"], answer.is_whole) == (*expected, True)
    with pytest.raises(openai.APIStatusError) as raised:
        answered(sdk_of(gateway, customer), door, model, SAID)
    assert (raised.value.status_code, raised.value.code) == expected
    assert raised.value.request_id


@each_value
@each_door
@cases("fault", REFUSED_AT_ONCE)
def test_a_stream_that_fails_before_its_first_output_is_an_http_error(
    gateway: LiveGateway, customer: Customer, door: str, fault: str
) -> None:
    expected = expected_of(door, fault, stream=True)
    model = faulty(gateway, door, fault, hurried=fault in NEEDS_PATIENCE)
    answer = wire.ask(gateway.root_url, door, customer, model, SAID, stream=True)
    assert (answer.status, answer.error["code"], answer.is_whole) == (*expected, True)
    with pytest.raises(openai.APIStatusError) as raised:
        streamed(sdk_of(gateway, customer), door, model, SAID)
    assert (raised.value.status_code, raised.value.code) == expected


@each_value
@each_door
@cases("fault", BREAKS_OFF)
def test_a_stream_that_fails_later_has_exactly_one_terminal_event(
    gateway: LiveGateway, customer: Customer, door: str, fault: str
) -> None:
    model = faulty(gateway, door, fault, hurried=fault in NEEDS_PATIENCE)
    answer = wire.ask(gateway.root_url, door, customer, model, SAID, stream=True)
    assert "".join(wire.deltas(answer))
    assert_one_failure(door, answer, BREAKS_OFF[fault][1])
    with pytest.raises((openai.APIError, RuntimeError)):
        streamed(sdk_of(gateway, customer), door, model, SAID)


@each_door
@cases("fault", sorted(CUT_BEFORE_TEXT))
def test_an_answer_cut_before_its_first_text_is_an_error(
    gateway: LiveGateway, customer: Customer, door: str, fault: str
) -> None:
    model = faulty(gateway, door, fault, hurried=fault in NEEDS_PATIENCE)
    whole = wire.ask(gateway.root_url, door, customer, model, SAID)
    assert (whole.status, whole.error["code"]) == CUT
    stream = wire.ask(gateway.root_url, door, customer, model, SAID, stream=True)
    if door == "chat":
        assert (stream.status, stream.error["code"]) == CUT
    else:
        assert_one_failure(door, stream, "upstream_cut")
    with pytest.raises((openai.APIError, RuntimeError)):
        streamed(sdk_of(gateway, customer), door, model, SAID)


@each_value
@each_door
@cases("fault", sorted(COMPLETE))
def test_an_odd_answer_still_arrives_complete(
    gateway: LiveGateway, customer: Customer, door: str, fault: str
) -> None:
    model = faulty(gateway, door, fault, hurried=fault in NEEDS_PATIENCE)
    expected = "Grüße aus dem Sandkasten — für Sie." if fault == "utf8-split" else "You said: Hi"
    whole = wire.ask(gateway.root_url, door, customer, model)
    assert (whole.status, whole.is_whole) == (200, True)
    stream = wire.ask(gateway.root_url, door, customer, model, stream=True)
    assert (stream.status, stream.is_whole) == (200, True)
    assert "".join(wire.deltas(stream)) == expected
    assert stream.data.count(b"[DONE]") == 1
    assert streamed(sdk_of(gateway, customer), door, model) == expected


@each_door
def test_an_event_above_the_limit_ends_a_stream_but_not_a_whole_answer(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    model = faulty(gateway, door, "huge-event")
    assert len(answered(sdk_of(gateway, customer), door, model)) == 10 * 1024 * 1024
    stream = wire.ask(gateway.root_url, door, customer, model, stream=True)
    if door == "chat":
        assert (stream.status, stream.error["code"]) == MALFORMED
    else:
        assert_one_failure(door, stream, "upstream_malformed")


@each_door
def test_one_event_that_is_no_json_is_left_out(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    model = faulty(gateway, door, "bad-json-frame")
    whole = wire.ask(gateway.root_url, door, customer, model)
    assert (whole.status, whole.error["code"]) == MALFORMED
    assert streamed(sdk_of(gateway, customer), door, model) == "You said: Hi"


@each_door
def test_a_large_request_refused_before_it_was_read_is_an_error(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    model = faulty(gateway, door, "early-response")
    answer = wire.ask(gateway.root_url, door, customer, model, text="x" * 4_000_000)
    assert (answer.status, answer.error["code"]) in {(413, "request_too_large"), CUT}


@each_door
def test_a_connection_reset_on_its_second_request_is_an_error_and_then_forgotten(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    model = faulty(gateway, door, "reset-keepalive")
    statuses = [wire.ask(gateway.root_url, door, customer, model).status for _ in range(4)]
    assert statuses == [200, 502, 200, 502]


@each_door
def test_bytes_after_the_end_do_not_spoil_this_answer_or_the_next(
    gateway: LiveGateway, customer: Customer, door: str
) -> None:
    model = faulty(gateway, door, "trailing-after-done")
    rows.alias("sound", (rows.provider(door, gateway.sandbox.base_url, "sound"), "sandbox-1"))
    client = sdk_of(gateway, customer)
    assert streamed(client, door, model) == "You said: Hi"
    whole = wire.ask(gateway.root_url, door, customer, model)
    # Bytes beyond content-length are broken HTTP if they come with the body, and unseen if later.
    assert whole.status in {200, 502}
    assert answered(client, door, "sound") == "You said: Hi"


CANARY = "tgcanary-upstream-words-7f3a"
SECRETS = "sk-canary0123456789abcdef and tg_live_0123456789_0123456789abcdefghij0123456789abcdefgh"


def scripted_error(gateway: LiveGateway, door: str, status: int, words: str) -> str:
    """An alias whose provider refuses with this status and these words."""
    error = {"error": {"message": words, "type": "x", "param": "input[0]", "code": None}}
    script = Scripted(status, chunks=(json.dumps(error).encode(),), content_type="application/json")
    gateway.call(lambda: gateway.sandbox.script(f"refuses-{status}", script))
    rows.one_alias("faulty", door, gateway.sandbox.base_url, f"refuses-{status}")
    return "faulty"


@each_door
@cases("stream", [False, True], ids=["json", "stream"])
@cases("status", [400, 413, 422])
def test_words_that_help_to_mend_the_request_are_passed_scrubbed_and_cut(
    gateway: LiveGateway, customer: Customer, door: str, stream: bool, status: int
) -> None:
    words = f"{CANARY} {SECRETS} " + "long " * 300
    model = scripted_error(gateway, door, status, words)
    answer = wire.ask(gateway.root_url, door, customer, model, stream=stream)
    message = answer.error["message"]
    assert (answer.status, answer.error["param"], len(message)) == (status, "input[0]", 500)
    assert message.startswith(f"{CANARY} *** and *** long")


@each_pair
@each_door
@cases("stream", [False, True], ids=["json", "stream"])
@cases("status", [301, 401, 402, 403, 404, 405, 418, 429, 500, 502, 503, 504, 529])
def test_other_words_of_the_provider_reach_nobody(
    gateway: LiveGateway, customer: Customer, door: str, stream: bool, status: int
) -> None:
    model = scripted_error(gateway, door, status, CANARY)
    answer = wire.ask(gateway.root_url, door, customer, model, stream=stream)
    assert answer.status >= 400
    assert CANARY not in answer.body.decode() + str(answer.headers)


@each_door
@cases("where", ["first", "later"])
def test_words_inside_a_stream_reach_nobody_either(
    gateway: LiveGateway, customer: Customer, door: str, where: str
) -> None:
    delta = {
        "chat": {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hi"}}]},
        "responses": {"type": "response.output_text.delta", "sequence_number": 1, "delta": "Hi"},
    }[door]
    error = {
        "chat": {"error": {"message": CANARY, "type": "server_error", "code": None}},
        "responses": {
            "type": "error",
            "sequence_number": 2,
            "message": CANARY,
            "code": "server_error",
        },
    }[door]
    events = [error] if where == "first" else [delta, error]
    chunks = tuple(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    gateway.call(lambda: gateway.sandbox.script("talks", Scripted(chunks=chunks)))
    rows.alias("faulty", (rows.provider(door, gateway.sandbox.base_url), "talks"))
    answer = wire.ask(gateway.root_url, door, customer, "faulty", stream=True)
    assert b"upstream_error" in answer.body or b"server_error" in answer.body
    assert CANARY not in answer.body.decode()


def test_words_of_a_response_that_failed_reach_nobody_either(
    gateway: LiveGateway, customer: Customer
) -> None:
    failed = {"id": "r", "status": "failed", "error": {"code": "server_error", "message": CANARY}}
    events = (
        {"type": "response.output_text.delta", "sequence_number": 1, "delta": "Hi"},
        {"type": "response.failed", "sequence_number": 2, "response": failed},
    )
    chunks = tuple(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    gateway.call(lambda: gateway.sandbox.script("fails", Scripted(chunks=chunks)))
    rows.alias("faulty", (rows.provider("responses", gateway.sandbox.base_url), "fails"))
    answer = wire.ask(gateway.root_url, "responses", customer, "faulty", stream=True)
    assert answer.events[-1]["type"] == "response.failed"
    assert answer.events[-1]["response"]["error"]["code"] == "server_error"
    assert CANARY not in answer.body.decode()
