"""Limits as clients meet them: through every door, in headers, errors, and what they get back."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import openai
import pytest
from pytest_django import Settings

from gateway_project.lib import rates
from gateway_project.sandbox.faults import PREFIX
from responses_api.background.runs import Begin
from responses_api.models import Run
from routing.models import Provider
from tenants.keys import keys
from tenants.models import RateLimit
from tests.support import ledger, rows, storing
from tests.support.live import LiveGateway
from tests.support.patience import promised, until
from tests.support.rows import Customer
from tests.support.sockets import opened
from tests.tenants.limits.conftest import Ask, Clock

Give = Callable[..., None]


def fault(gateway: LiveGateway, name: str) -> None:
    """An alias whose provider has this fault."""
    provider = Provider.objects.get(name="sandbox-chat")
    rows.alias(name, (provider, PREFIX + name))
    gateway.call(gateway.worker.forget)


def test_without_limits_no_header_tells_of_any(ask: Ask) -> None:
    answer = ask()
    assert answer.status_code == 200
    assert not [name for name in answer.headers if "ratelimit" in name]


@pytest.mark.parametrize("door", ["chat", "responses", "input_tokens"])
@pytest.mark.parametrize("stream", [False, True])
def test_requests_are_counted_told_and_refused(
    ask: Ask, limit: Give, pass_time: Clock, door: str, stream: bool
) -> None:
    limit("2 requests/minute")
    fields = {"stream": stream} if door != "input_tokens" else {}
    first, second, third = (ask(door, **fields) for _ in range(3))
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    assert second.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert third.headers["retry-after"] == "30"
    assert third.headers["retry-after-ms"] == "30000"
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    assert third.headers["ratelimit-policy"] == '"tenant-requests-minute";q=2;w=60'
    error = third.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert "2 requests per minute" in error["message"]
    assert re.search(r"(?i)try again in\s*30s", error["message"])  # as Codex reads it
    pass_time(30)
    assert ask(door, **fields).status_code == 200


def test_a_refused_request_costs_the_upstream_nothing_and_other_limits_nothing(
    gateway: LiveGateway, ask: Ask, limit: Give, acme: Customer, pass_time: Clock
) -> None:
    limit("3 requests/minute")
    limit("1 requests/minute", acme.key)
    assert ask().status_code == 200
    asked = len(gateway.sandbox.calls)
    assert [ask().status_code for _ in range(5)] == [429] * 5
    assert len(gateway.sandbox.calls) == asked
    assert "of this API key" in ask().json()["error"]["message"]
    _, secret = keys.create(acme.tenant, "other")
    other = {"authorization": f"Bearer {secret.reveal()}"}
    assert [ask(headers=other).status_code for _ in range(3)] == [200, 200, 429]
    assert "of your organization" in ask(headers=other).json()["error"]["message"]


def test_another_tenant_has_limits_of_its_own(ask: Ask, limit: Give, pass_time: Clock) -> None:
    limit("1 requests/day")
    other = rows.customer("other").headers
    assert [ask().status_code, ask().status_code] == [200, 429]
    assert [ask(headers=other).status_code for _ in range(3)] == [200] * 3


def test_every_key_has_the_default_unless_it_has_its_own(
    ask: Ask,
    acme: Customer,
    limit: Give,
    pass_time: Clock,
    settings: Settings,
    gateway: LiveGateway,
) -> None:
    settings.KEY_LIMITS = rates.parse("1 requests/day, 50 requests/minute")
    gateway.call(gateway.worker.forget)
    assert [ask().status_code, ask().status_code] == [200, 429]
    limit("3 requests/day", acme.key)
    answer = ask()
    assert answer.status_code == 200
    assert answer.headers["ratelimit-policy"] == (
        '"key-requests-day";q=3;w=86400, "key-requests-minute";q=50;w=60'
    )


def test_requests_that_are_wrong_are_not_counted(ask: Ask, limit: Give, pass_time: Clock) -> None:
    limit("1 requests/minute")
    assert ask(model="no-such-model").status_code == 404
    assert ask(temperature="hot").status_code == 400
    assert ask().status_code == 200


def test_what_headers_say_is_left_is_what_the_next_request_finds(
    ask: Ask, limit: Give, pass_time: Clock
) -> None:
    limit("4 requests/minute, 9 requests/hour")
    answer, decisions = ask(), []
    for pause in (0, 0, 0, 0, 14.9, 0.2, 0, 40, 0, 0, 0, 0, 0, 300, 100, 1):
        pass_time(pause)
        left = int(answer.headers["x-ratelimit-remaining-requests"])
        reset = answer.headers["x-ratelimit-reset-requests"]
        answer = ask()
        if not pause:
            assert (answer.status_code == 200) == (left > 0), (left, reset)
        decisions.append(answer.status_code)
        states = dict(re.findall(r'"([a-z-]+)";r=(\d+)', answer.headers["ratelimit"]))
        assert min(map(int, states.values())) == int(
            answer.headers["x-ratelimit-remaining-requests"]
        )
    assert {200, 429} == set(decisions)


def test_a_limit_that_is_given_while_it_serves_holds_within_a_second(
    gateway: LiveGateway, ask: Ask, acme: Customer
) -> None:
    assert ask().status_code == 200
    RateLimit.objects.create(tenant=acme.tenant, metric="requests", window="day", amount=1)
    until(lambda: ask().status_code == 429, promised(1.0))
    RateLimit.objects.get().delete()
    until(lambda: ask().status_code == 200, promised(1.0))


# Tokens


def total(answer: httpx.Response) -> int:
    return int(answer.json()["usage"]["total_tokens"])


@pytest.mark.parametrize("door", ["chat", "responses"])
@pytest.mark.parametrize("protocol", rows.PROTOCOLS)
def test_tokens_are_charged_by_an_estimate_and_then_by_what_was_used(
    gateway: LiveGateway, ask: Ask, limit: Give, pass_time: Clock, door: str, protocol: str
) -> None:
    limit("60000 tokens/minute")
    first = ask(door, protocol=protocol)
    estimated = 60_000 - int(first.headers["x-ratelimit-remaining-tokens"])
    assert 512 < estimated < 600
    gateway.idle()
    second = ask(door, protocol=protocol)
    before = 60_000 - int(second.headers["x-ratelimit-remaining-tokens"]) - estimated
    assert before == total(first)


def test_a_stream_that_ends_early_gives_back_what_it_did_not_use(
    gateway: LiveGateway, ask: Ask, limit: Give, acme: Customer, pass_time: Clock
) -> None:
    limit("10000 tokens/minute, 1 concurrency")
    body = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "[pace=20] Hi"}]}
    url = f"{gateway.base_url}/chat/completions"
    with httpx.stream("POST", url, json={**body, "stream": True}, headers=acme.headers) as answer:
        assert answer.status_code == 200
        pieces = answer.iter_raw()  # held: without it the client would leave
        next(pieces)
    gateway.idle()
    answer = ask()
    assert answer.status_code == 200
    estimated = 512 + 30
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) > 10_000 - 2 * estimated


def test_a_failed_call_takes_no_tokens(
    gateway: LiveGateway, ask: Ask, limit: Give, pass_time: Clock
) -> None:
    limit("10000 tokens/minute")
    fault(gateway, "500")
    assert ask(model="500").status_code >= 500
    gateway.idle()
    assert int(ask().headers["x-ratelimit-remaining-tokens"]) > 10_000 - 600


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_was_billed_takes_its_tokens_though_nobody_saw_its_answer(
    gateway: LiveGateway, ask: Ask, limit: Give, pass_time: Clock, stream: bool
) -> None:
    ledger.begin_here(gateway)
    limit("10000 tokens/minute")
    fault(gateway, "cut-before-output")
    answer = ask(model="cut-before-output", text="word " * 800, stream=stream)
    assert answer.status_code >= 500
    billed = sum(row.input_fresh for row in ledger.rows(gateway))
    assert billed > 1_000
    estimated = 512 + 30
    left = int(ask().headers["x-ratelimit-remaining-tokens"])
    assert 10_000 - billed - estimated <= left <= 10_000 - billed


def test_counting_tokens_takes_none(
    gateway: LiveGateway, ask: Ask, limit: Give, pass_time: Clock
) -> None:
    limit("10000 tokens/minute")
    assert ask("input_tokens", text="word " * 800).status_code == 200
    assert int(ask().headers["x-ratelimit-remaining-tokens"]) > 10_000 - 600


def test_who_asks_for_more_than_the_limit_ever_lets_in_need_not_try_again(
    ask: Ask, limit: Give, pass_time: Clock
) -> None:
    limit("600 tokens/minute")
    answer = ask(text="word " * 1_000)
    assert answer.status_code == 429
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert "600 per minute" in answer.json()["error"]["message"]
    assert ask().status_code == 200


def test_an_image_is_not_taken_for_text(ask: Ask, limit: Give, pass_time: Clock) -> None:
    limit("20000 tokens/minute")
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 400_000}
    content = [{"role": "user", "content": [{"type": "input_text", "text": "Look"}, image]}]
    answer = ask("responses", protocol="responses", input=content)
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) > 18_000


# At the same time


def test_calls_at_the_same_time_are_counted_until_they_end(
    gateway: LiveGateway, ask: Ask, limit: Give, acme: Customer, pass_time: Clock
) -> None:
    limit("1 concurrency")
    said = [{"role": "user", "content": "[chunks=500] [pace=20]"}]
    body = {"model": "sandbox-chat", "messages": said}
    url = f"{gateway.base_url}/chat/completions"
    with httpx.stream("POST", url, json={**body, "stream": True}, headers=acme.headers) as answer:
        pieces = answer.iter_raw()  # held: without it the client would leave
        next(pieces)
        refused = ask()
        assert refused.status_code == 429
        assert (
            "Concurrency limit reached: 1 call of your organization is running."
            in refused.json()["error"]["message"]
        )
        assert refused.headers["retry-after"] == "1"
    gateway.idle()
    assert ask().status_code == 200


@pytest.mark.parametrize("name", ["500", "cut", "error-mid"])
def test_a_place_is_given_back_however_the_call_ends(
    gateway: LiveGateway, ask: Ask, limit: Give, name: str, pass_time: Clock
) -> None:
    limit("1 concurrency")
    fault(gateway, name)
    for stream in (False, True):
        try:
            assert ask(model=name, stream=stream).status_code != 429
        except httpx.RemoteProtocolError:
            pass  # a chat stream that failed is cut
        gateway.idle()
    assert ask().status_code == 200


def test_a_place_is_given_back_by_what_never_reaches_a_model(
    gateway: LiveGateway, ask: Ask, limit: Give, pass_time: Clock
) -> None:
    limit("1 concurrency")
    assert ask("input_tokens").status_code == 200
    assert ask("responses", input=[{"type": "item_reference", "id": "msg_none"}]).status_code == 400
    assert ask().status_code == 200


# Further ways in


def test_each_turn_of_a_websocket_counts(
    gateway: LiveGateway, limit: Give, acme: Customer, pass_time: Clock
) -> None:
    limit("2 requests/minute, 1 concurrency")
    with opened(gateway, acme.headers) as socket:
        socket.turn()
        socket.turn()
        socket.create()
        error = socket.error()
    assert error["status"] == 429
    assert error["error"]["code"] == "rate_limit_exceeded"
    assert "try again in 30s" in error["error"]["message"]


def test_a_background_response_counts_when_it_is_asked_for_and_is_corrected_when_it_is_made(
    gateway: LiveGateway, ask: Ask, limit: Give, pass_time: Clock
) -> None:
    limit("2 requests/minute, 60000 tokens/minute, 1 concurrency")
    first = ask("responses", protocol="responses", background=True)
    assert first.status_code == 200
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    until(lambda: Run.objects.get().status == "completed")
    gateway.idle()
    second = ask("responses", protocol="responses")
    assert second.status_code == 200
    estimated = 512 + 30
    assert int(second.headers["x-ratelimit-remaining-tokens"]) > 60_000 - 2 * estimated + 300
    assert ask("responses", protocol="responses").status_code == 429


def test_a_background_response_that_cannot_be_queued_takes_no_tokens(
    gateway: LiveGateway, ask: Ask, limit: Give, pass_time: Clock
) -> None:
    limit("10000 tokens/minute, 1 concurrency")
    with storing.unreachable(Begin):
        assert ask("responses", protocol="responses", background=True).status_code == 503
    assert int(ask().headers["x-ratelimit-remaining-tokens"]) > 10_000 - 600


def test_an_answer_that_is_given_again_does_not_count(
    gateway: LiveGateway, ask: Ask, limit: Give, acme: Customer, pass_time: Clock
) -> None:
    limit("1 requests/day, 1 concurrency")
    headers = {"idempotency-key": "one"}
    assert [ask(headers=headers).status_code for _ in range(3)] == [200, 200, 200]
    assert ask().status_code == 429


def test_the_sdk_waits_as_long_as_it_is_told(
    gateway: LiveGateway,
    limit: Give,
    acme: Customer,
    monkeypatch: pytest.MonkeyPatch,
    pass_time: Clock,
) -> None:
    limit("120 requests/minute")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        pass_time(seconds)

    monkeypatch.setattr("time.sleep", sleep)
    with openai.OpenAI(base_url=gateway.base_url, api_key=acme.secret, max_retries=1) as client:
        for _ in range(121):
            client.responses.input_tokens.count(model="sandbox-chat", input="Hi")
    assert slept == [pytest.approx(0.5)]
