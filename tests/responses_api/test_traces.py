"""Traces of requests as a collector gets them: whose spans they are, what they tell and what they do not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway_project.lib.secret import Secret
from gateway_project.sandbox.faults import PREFIX
from tests.support import rows
from tests.support.client import ask, question
from tests.support.collector import ReadSpan, traced
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer
from tests.support.sockets import opened

SERVER, CLIENT, CONSUMER = 2, 3, 5
PARENT_TRACE, PARENT_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = (f"00-{PARENT_TRACE}-{PARENT_SPAN}-0{flag}" for flag in (1, 0))
PROMPT = "promptcanary55ab"


def post(http: httpx.Client, model: str, door: str = "chat", **fields: Any) -> httpx.Response:
    headers = fields.pop("headers", {})
    path = "/chat/completions" if door == "chat" else "/responses"
    return http.post(path, json=question(door, model, PROMPT, **fields), headers=headers)


def of_kind(spans: list[ReadSpan], kind: int) -> list[ReadSpan]:
    return [span for span in spans if span.kind == kind]


def failing_first(gateway: LiveGateway) -> None:
    """An alias whose first lane fails."""
    url = gateway.sandbox.base_url
    failing, good = rows.provider("chat", url, "failing"), rows.provider("chat", url, "good")
    rows.alias("fallback", (failing, f"{PREFIX}500"), (good, "sandbox-1"))


def test_a_call_is_a_trace_of_its_request_its_upstream_call_and_its_settling(
    gateway: LiveGateway, acme: Customer, http: httpx.Client
) -> None:
    with traced(gateway) as collector:
        for stream in (False, True):
            answer = post(http, "sandbox-chat", stream=stream)
            request_id = answer.headers["x-request-id"]
            spans = [
                span
                for span in collector.spans(6 if stream else 3)
                if span.trace_id == request_id.removeprefix("req_")
            ]
            (own,), (leg,) = of_kind(spans, SERVER), of_kind(spans, CLIENT)
            (settle,) = (span for span in spans if span.name == "settle")
            assert own.parent_id == ""
            assert {leg.parent_id, settle.parent_id} == {own.span_id}
            assert len({own.span_id, leg.span_id, settle.span_id}) == 3
            assert own.began <= leg.began <= leg.ended <= own.ended
            assert own.attributes["tollgate.request_id"] == request_id
            assert own.attributes["tollgate.tenant"] == "acme"
            assert own.attributes["tollgate.key"] == acme.key.public_id
            assert own.attributes["gen_ai.request.model"] == "sandbox-chat"
            assert own.attributes["gen_ai.request.stream"] is stream
            assert (own.name, leg.name) == ("chat sandbox-chat", "chat sandbox-1")
            assert leg.attributes["server.address"] == "127.0.0.1"
            assert leg.attributes["http.response.status_code"] == 200
            for span in (own, leg):
                assert span.attributes["gen_ai.usage.input_tokens"] > 0
                assert span.attributes["gen_ai.usage.output_tokens"] > 0
                assert "error.type" not in span.attributes
                assert span.status == 0


TOLD = ("id", "model", "finish_reasons")
REASONS = {"chat": ["stop"], "responses": ["completed"], "anthropic": ["end_turn"]}


def test_the_span_of_an_upstream_call_has_the_upstreams_own_id_model_and_reason(
    gateway: LiveGateway, acme: Customer, http: httpx.Client
) -> None:
    asked = [
        (door, protocol, stream)
        for door in ("chat", "responses")
        for protocol in REASONS
        for stream in (False, True)
    ]
    with traced(gateway) as collector:
        for number, (door, protocol, stream) in enumerate(asked, start=1):
            answer = post(http, f"sandbox-{protocol}", door, stream=stream)
            trace_id = answer.headers["x-request-id"].removeprefix("req_")
            spans = [each for each in collector.spans(3 * number) if each.trace_id == trace_id]
            (leg,) = of_kind(spans, CLIENT)
            told = {name: leg.attributes.get(f"gen_ai.response.{name}") for name in TOLD}
            assert told["model"] == "sandbox-1", (door, protocol, stream)
            assert told["finish_reasons"] == REASONS[protocol], (door, protocol, stream)
            assert str(told["id"]) not in answer.text, (door, protocol, stream)


def test_a_failed_attempt_is_a_span_of_its_own_beside_the_one_that_answered(
    gateway: LiveGateway, acme: Customer, http: httpx.Client
) -> None:
    failing_first(gateway)
    with traced(gateway) as collector:
        assert post(http, "fallback").status_code == 200
        spans = collector.spans(4)
    (own,), (first, second) = of_kind(spans, SERVER), of_kind(spans, CLIENT)
    assert first.parent_id == second.parent_id == own.span_id
    assert first.span_id != second.span_id
    assert (first.attributes["tollgate.leg"], second.attributes["tollgate.leg"]) == (0, 1)
    assert (first.status, second.status, own.status) == (2, 0, 0)
    assert first.attributes["error.type"]
    assert first.attributes["http.response.status_code"] == 500
    assert first.attributes["tollgate.provider"] == "failing"


def test_a_request_is_part_of_its_clients_trace(
    gateway: LiveGateway, acme: Customer, http: httpx.Client
) -> None:
    with traced(gateway, ratio=0.0) as collector:
        post(http, "sandbox-chat", headers={"traceparent": UNSAMPLED})
        post(http, "sandbox-chat", headers={"traceparent": SAMPLED})
        (own,) = of_kind(collector.spans(3), SERVER)
    assert (own.trace_id, own.parent_id) == (PARENT_TRACE, PARENT_SPAN)
    assert own.attributes["tollgate.request_id"].startswith("req_")


def test_what_fails_is_always_kept_and_what_does_not_only_in_its_share(
    gateway: LiveGateway, acme: Customer, http: httpx.Client, as_stranger: httpx.Client
) -> None:
    url = gateway.sandbox.base_url
    rows.alias("bad", (rows.provider("chat", url, "bad"), f"{PREFIX}500"))
    rows.alias("cut", (rows.provider("chat", url, "cut"), f"{PREFIX}cut"))
    with traced(gateway, ratio=0.0) as collector:
        post(http, "sandbox-chat")
        bad = post(http, "bad")
        cut = ask(gateway, "chat", acme, "cut", stream=True)
        unknown = post(http, "nobody")
        stranger = as_stranger.post("/v1/responses", json={}, headers={"traceparent": SAMPLED})
        missing = http.get("/responses/resp_none")
        http.get("/models")
        failed = [bad, cut, unknown, stranger, missing]
        spans = of_kind(collector.spans(7), SERVER)
    ids = [span.attributes["tollgate.request_id"] for span in spans]
    assert ids == [answer.headers["x-request-id"] for answer in failed]
    codes = [span.attributes["error.type"] for span in spans]
    assert codes[2:] == ["model_not_found", "invalid_api_key", "not_found"]
    assert [span.status for span in spans] == [2, 2, 0, 0, 0]
    assert "gen_ai.request.model" not in spans[2].attributes  # a client made the name up


def test_turns_of_a_websocket_are_requests_of_their_own_in_the_trace_of_the_handshake(
    gateway: LiveGateway, acme: Customer
) -> None:
    with traced(gateway) as collector:
        headers = {**acme.headers, "traceparent": SAMPLED}
        with opened(gateway, headers) as socket:
            for _ in range(2):
                socket.turn(input=PROMPT)
            spans = collector.spans(6)
    turns = of_kind(spans, SERVER)
    assert {span.trace_id for span in spans} == {PARENT_TRACE}
    assert [turn.parent_id for turn in turns] == [PARENT_SPAN] * 2
    assert len({turn.attributes["tollgate.request_id"] for turn in turns}) == 2
    assert {turn.attributes["tollgate.socket"] for turn in turns} != {None}
    parents = {span.parent_id for span in of_kind(spans, CLIENT)}
    assert parents == {turn.span_id for turn in turns}


def test_a_run_in_the_background_is_part_of_the_request_that_asked_for_it(
    gateway: LiveGateway, acme: Customer, http: httpx.Client
) -> None:
    with traced(gateway, ratio=0.0) as collector:
        given = {"traceparent": SAMPLED}
        post(http, "sandbox-responses", "responses", background=True, headers=given)
        spans = collector.spans(4)
    (asked,), (run,), (leg,) = (of_kind(spans, kind) for kind in (SERVER, CONSUMER, CLIENT))
    assert {span.trace_id for span in spans} == {PARENT_TRACE}
    assert asked.parent_id == PARENT_SPAN
    assert run.parent_id == asked.span_id
    assert leg.parent_id == run.span_id
    assert (asked.attributes["tollgate.status"], run.attributes["tollgate.status"]) == (
        "queued",
        "completed",
    )


def test_an_answer_from_the_cache_is_seen_to_be_one(
    gateway: LiveGateway, acme: Customer, http: httpx.Client
) -> None:
    url = gateway.sandbox.base_url
    rows.alias("kept", (rows.provider("chat", url, "kept"), "sandbox-1"), cache_seconds=60)
    with traced(gateway) as collector:
        for _ in range(2):
            post(http, "kept", temperature=0)
        spans = of_kind(collector.spans(4), SERVER)
    assert [span.attributes["tollgate.cache"] for span in spans] == ["miss", "hit"]
    assert len(of_kind(collector.spans(4), CLIENT)) == 1


def test_nothing_of_a_prompt_an_answer_or_a_secret_is_in_a_trace(
    gateway: LiveGateway, acme: Customer, http: httpx.Client
) -> None:
    secret = "sk-collectorcanary01234567"
    url = gateway.sandbox.base_url
    secretive = rows.provider("chat", url, "secretive", secret="upstreamcanary991")
    rows.alias("secretive", (secretive, "sandbox-1"))
    failing_first(gateway)
    with traced(gateway, headers={"x-key": Secret(secret)}) as collector:
        for model in ("secretive", "fallback", PROMPT, acme.secret):
            answer = post(http, model, user="enduser77", metadata={"tag": "tagcanary"})
            assert answer.headers["x-request-id"]
        http.get(f"/responses?key={acme.secret}", headers={"traceparent": f"{SAMPLED}-{PROMPT}"})
        collector.spans(10)
    sent = b"".join(collector.bodies).decode()
    (headers, *_) = [each.headers for each in collector.receiver.received]
    assert headers["x-key"] == secret
    for canary in (PROMPT, acme.secret, secret, "upstreamcanary991", "enduser77", "tagcanary"):
        assert canary not in sent, canary


@pytest.mark.parametrize("statuses", [(0,), (500,), (400,)], ids=["hangs", "500", "400"])
def test_a_collector_that_does_not_answer_well_costs_calls_nothing(
    gateway: LiveGateway, acme: Customer, http: httpx.Client, statuses: tuple[int, ...]
) -> None:
    with traced(gateway, statuses=statuses) as collector:
        assert post(http, "sandbox-chat").status_code == 200
        collector.exporter.send_now()
        collector.receiver.wait_for(1)
        for _ in range(3):
            assert post(http, "sandbox-chat").status_code == 200
        if statuses != (0,):
            until(lambda: bool(collector.exporter.unsent))


def test_an_upstream_is_told_of_the_trace_only_where_its_row_says_so(
    gateway: LiveGateway, acme: Customer, http: httpx.Client
) -> None:
    url = gateway.sandbox.base_url
    told = rows.provider("chat", url, "told", forward_trace_context=True)
    rows.alias("told", (told, "sandbox-1"))
    given = {"traceparent": SAMPLED, "tracestate": "a=1, b=2"}
    with traced(gateway) as collector:
        for model, door in (("told", "chat"), ("told", "responses"), ("sandbox-chat", "chat")):
            assert post(http, model, door, headers=given).status_code == 200
        legs = of_kind(collector.spans(9), CLIENT)
    gateway.idle()
    first, second, third = (call.headers for call in list(gateway.sandbox.calls)[-3:])
    for headers, leg in zip((first, second), legs, strict=False):
        assert headers["traceparent"] == f"00-{PARENT_TRACE}-{leg.span_id}-01"
        assert headers["tracestate"] == "a=1,b=2"
    assert "traceparent" not in third
    assert "tracestate" not in third
    # Where no traces are kept, the client's own span is the parent of the upstream's.
    post(http, "told", headers=given)
    gateway.idle()
    assert list(gateway.sandbox.calls)[-1].headers["traceparent"] == SAMPLED


def test_an_unusable_trace_context_is_as_good_as_none(gateway: LiveGateway, acme: Customer) -> None:
    with traced(gateway) as collector:
        answer = ask(
            gateway, "chat", acme, "sandbox-chat", headers={"traceparent": f"{SAMPLED}-more"}
        )
        (own,) = of_kind(collector.spans(3), SERVER)
    assert answer.status_code == 200
    assert own.parent_id == ""
