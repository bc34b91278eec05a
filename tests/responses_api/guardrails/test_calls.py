"""Guardrails of answers in whole calls: what clients see, what is kept and booked, and what went upstream."""

from __future__ import annotations

from typing import Any

from routing.protocols import PROTOCOLS
from tests.responses_api.doors.speakers import SPEAKERS
from tests.support import guardrails, ledger
from tests.support.client import client_of, events_in
from tests.support.live import LiveGateway
from tests.support.rows import Customer

Json = dict[str, Any]
PATHS = {"chat": "/chat/completions", "responses": "/responses"}
PAIRS = [(door, protocol) for door in PATHS for protocol in PROTOCOLS]


def guard(customer: Customer, action: str, stage: str, *terms: str, **fields: Any) -> None:
    fields.setdefault("config", {"terms": list(terms)})
    guardrails.guardrail("g", action=action, stages=[stage], tenant=customer.tenant, **fields)


def ask(
    gateway: LiveGateway, customer: Customer, door: str, protocol: str, said: str, **fields: Any
) -> Any:
    body = {"model": f"m-{protocol}", **SPEAKERS[door].ask(said), **fields}
    with client_of(gateway, customer) as client:
        answer = client.post(PATHS[door], json=body)
    assert answer.status_code == 200, answer.text
    return answer


def read(door: str, answer: Any, *, stream: bool) -> tuple[str, int, int]:
    speaker = SPEAKERS[door]
    return speaker.read_stream(events_in(answer.content)) if stream else speaker.read(answer.json())


def test_an_answer_is_masked_whole_and_as_a_stream(gateway: LiveGateway, customer: Customer):
    guard(customer, "mask", "output", "apples")
    said = "I like apples and 1 pear"
    for door, protocol in PAIRS:
        for stream in (False, True):
            answer = ask(gateway, customer, door, protocol, said, stream=stream)
            told = read(door, answer, stream=stream)
            row = ledger.rows(gateway)[-1]
            assert told[0] == "You said: I like [REDACTED] and 1 pear", (door, protocol)
            assert (row.status, row.usage_source) == ("completed", "provider")
            assert (row.input_fresh, row.output_visible) == told[1:]
            assert row.guardrail_outcome == "masked"
            assert said in str(gateway.sandbox.calls[-1].body)


def test_a_blocked_stream_leaves_its_upstream_and_is_booked_as_generated(
    gateway: LiveGateway, customer: Customer
):
    guard(customer, "block", "output", "birch")
    for door, protocol in PAIRS:
        answer = ask(gateway, customer, door, protocol, "[chunks=90000][pace=2] go", stream=True)
        assert b"birch" not in answer.content
        _check_end(door, answer)
        gateway.idle()
        call, row = gateway.sandbox.calls[-1], ledger.rows(gateway)[-1]
        assert call.ended == "client_closed", (door, protocol)
        assert (row.status, row.error_code) == ("incomplete", "content_filter")
        assert (row.usage_source, row.guardrail_outcome) == ("counted", "blocked")
        assert 2 <= row.output_visible <= 3  # up to the word that was blocked, and no further
        assert row.input_fresh > 0


def _check_end(door: str, answer: Any) -> None:
    events = events_in(answer.content)
    if door == "responses":
        assert events[-1]["type"] == "response.incomplete"
        assert events[-1]["response"]["incomplete_details"] == {"reason": "content_filter"}
        return
    reasons = [one["finish_reason"] for event in events for one in event["choices"]]
    assert [reason for reason in reasons if reason] == ["content_filter"]
    assert answer.content.endswith(b"data: [DONE]\n\n")


def test_a_blocked_whole_answer_is_booked_as_its_provider_reports(
    gateway: LiveGateway, customer: Customer
):
    guard(customer, "block", "output", "birch")
    for door, protocol in PAIRS:
        answer = ask(gateway, customer, door, protocol, "[chunks=20] go")
        row = ledger.rows(gateway)[-1]
        assert b"birch" not in answer.content
        assert (row.status, row.error_code) == ("incomplete", "content_filter"), (door, protocol)
        assert row.usage_source == "provider"
        assert (row.input_fresh, row.output_visible) == gateway.sandbox.calls[-1].generated


def test_what_is_stored_of_a_blocked_answer_is_what_its_client_saw(
    gateway: LiveGateway, customer: Customer
):
    guard(customer, "block", "output", "birch")
    for protocol in PROTOCOLS:
        for stream in (True, False):
            asked = {"stream": stream, "store": True}
            answer = ask(gateway, customer, "responses", protocol, "[chunks=20] go", **asked)
            told = events_in(answer.content)[-1]["response"] if stream else answer.json()
            with client_of(gateway, customer) as client:
                kept = client.get(f"/responses/{told['id']}").json()
            assert kept["status"] == "incomplete"
            assert kept["incomplete_details"] == {"reason": "content_filter"}
            assert kept["output"] == told["output"]
            assert "birch" not in str(kept)


def test_masks_of_a_request_are_put_back_into_its_answer(gateway: LiveGateway, customer: Customer):
    guard(customer, "mask", "input", kind="pii", reversible=True, config={})
    said = "write to bob@example.com, not to eve@example.com"
    for door, protocol in PAIRS:
        for stream in (False, True):
            answer = ask(gateway, customer, door, protocol, said, stream=stream)
            sent = str(gateway.sandbox.calls[-1].body)
            assert "write to [EMAIL_1], not to [EMAIL_2]" in sent, (door, protocol)
            assert "example.com" not in sent
            assert read(door, answer, stream=stream)[0] == f"You said: {said}"


def test_a_guardrail_of_requests_alone_leaves_the_relay_its_bytes(
    gateway: LiveGateway, customer: Customer
):
    answers = [ask(gateway, customer, "responses", "responses", "Hi", stream=True)]
    guard(customer, "block", "input", "forbidden")
    answers.append(ask(gateway, customer, "responses", "responses", "Hi", stream=True))
    plain, guarded = (events_in(one.content) for one in answers)
    assert [event["type"] for event in plain] == [event["type"] for event in guarded]
    assert plain[-1]["response"].keys() == guarded[-1]["response"].keys()
    assert "moderation" in guarded[-1]["response"]  # which only a relay passes on
