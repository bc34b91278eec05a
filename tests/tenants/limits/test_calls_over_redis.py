"""A gateway that counts in a real Redis: calls are let in, corrected and given back as in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import httpx
import pytest
import redis

from gateway_project.lib.secret import Secret
from tenants.limits.gate import RateLimiter
from tenants.limits.memory import Buckets
from tenants.limits.shared import PREFIX, SharedBuckets
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.rows import Customer
from tests.tenants.limits.conftest import Ask

pytestmark = [pytest.mark.redis, pytest.mark.persistence]

Give = Callable[..., None]


@pytest.fixture(autouse=True)
def counts_in_redis(gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # A Redis that a busy machine starves is not away.
    monkeypatch.setattr("tenants.limits.shared.ROUND_TRIP_SECONDS", GIVE_UP_SECONDS)
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as server:
        for name in server.scan_iter(f"{PREFIX}*"):  # another test's tenant had the same number
            server.delete(name)
    worker = gateway.worker
    before = worker.services.gate

    def begin() -> RateLimiter:
        shared = SharedBuckets(Secret(os.environ["REDIS_URL"]))
        gate = RateLimiter(shared, Buckets(), "refuse")
        gate.start()
        return gate

    gateway.change(gate=gateway.call(begin))
    yield
    gateway.idle()
    gateway.run(worker.services.gate.stop())
    gateway.change(gate=before)


@pytest.mark.parametrize("door", ["chat", "responses", "input_tokens"])
def test_requests_are_counted_told_and_refused(ask: Ask, limit: Give, door: str) -> None:
    limit("2 requests/day")
    answers = [ask(door) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == [
        "1",
        "0",
        "0",
    ]
    assert 43_000 < int(answers[-1].headers["retry-after"]) <= 43_200


def test_tokens_are_corrected_by_what_was_used(gateway: LiveGateway, ask: Ask, limit: Give) -> None:
    limit("60000 tokens/day")
    first = ask()
    estimated = 60_000 - int(first.headers["x-ratelimit-remaining-tokens"])
    gateway.idle()
    second = ask()
    left = int(second.headers["x-ratelimit-remaining-tokens"])
    assert 60_000 - left - estimated == first.json()["usage"]["total_tokens"]


def test_a_place_is_given_back_when_the_call_ends(
    gateway: LiveGateway, ask: Ask, limit: Give, acme: Customer
) -> None:
    limit("1 concurrency")
    said = [{"role": "user", "content": "[chunks=500] [pace=20]"}]
    body = {"model": "sandbox-chat", "messages": said}
    url = f"{gateway.base_url}/chat/completions"
    with httpx.stream("POST", url, json={**body, "stream": True}, headers=acme.headers) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        assert ask().status_code == 429
    gateway.idle()
    assert ask().status_code == 200


def test_a_background_response_holds_no_place_while_it_waits(
    gateway: LiveGateway, ask: Ask, limit: Give
) -> None:
    limit("1 concurrency, 3 requests/day")
    asked = ask("responses", protocol="responses", background=True)
    assert asked.headers["x-ratelimit-remaining-requests"] == "2"
    assert ask("responses", protocol="responses").status_code == 200
