"""Limits that four workers keep together through Redis, and what happens when it goes away."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.plugins.tiers import by_tier
from tests.processes.conftest import Prepared, Serve
from tests.processes.money_watch import Reader
from tests.processes.served import Served, environment, eventually, shell
from tests.support import wire
from tests.support.client import async_client_of, question
from tests.support.redis_server import PROGRAM, RedisServer

WORKERS = 4
CLIENTS = 16
MORE = by_tier(123, 123, 130)  # of 120 allowed each minute, two come free each second

LIMITS = """
import json
from gateway_project.lib import rates
from tenants.models import ApiKey, RateLimit
key = ApiKey.objects.get(public_id={key_id!r})
for rate in rates.parse({text!r}):
    RateLimit.objects.create(
        tenant=key.tenant, api_key=key, metric=rate.metric, amount=rate.amount, window=rate.window
    )
print(json.dumps(None))
"""
BOOKED = "SELECT count(*) FROM tenants_usagerow"


def give(prepared: Prepared, text: str) -> None:
    script = LIMITS.format(key_id=prepared.key_id, text=text)
    shell(environment(prepared.data_dir), script)


def booked(prepared: Prepared) -> int:
    with closing(Reader(environment(prepared.data_dir))) as query:
        ((count,),) = query(BOOKED)
    return int(count)


class Asked:
    """The answers to a load: a count for each status, and when it began and ended."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.began = time.monotonic()
        self.ended = self.began


async def load(
    served: Served, prepared: Prepared, go_on: Callable[[Asked], bool], clients: int = CLIENTS
) -> Asked:
    """Ask as fast as they are answered, each client over connections of its own, so that all workers are."""
    asked = Asked()
    body = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "Hi"}]}

    async def ask() -> None:
        async with async_client_of(served, prepared) as client:
            while go_on(asked):
                answer = await client.post("/chat/completions", json=body)
                asked.statuses[answer.status_code] += 1

    await asyncio.gather(*(ask() for _ in range(clients)))
    asked.ended = time.monotonic()
    return asked


def until_there_were(passed: int, refused: int) -> Callable[[Asked], bool]:
    """Go on until so many calls were let in, and so many were not."""
    return lambda asked: asked.statuses[200] < passed or asked.statuses[429] < refused


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[RedisServer]:
    if PROGRAM is None:
        pytest.skip("there is no redis-server here whose end a test could wait for")
    found = RedisServer(tmp_path)
    found.start()
    yield found
    found.stop()


@pytest.mark.redis
@pytest.mark.long
@pytest.mark.some_of("limits over workers with Redis")
def test_four_workers_let_in_what_is_allowed_and_not_one_more(
    serve: Serve, prepared: Prepared
) -> None:
    give(prepared, "120 requests/minute")
    served = serve(
        "--workers",
        str(WORKERS),
        REDIS_URL=os.environ["REDIS_URL"],
        TOLLGATE_LIMITS_WITHOUT_REDIS="refuse",  # or a Redis that this machine starves adds shares
    )
    # More than fit at once: it is let in as it comes free.
    asked = asyncio.run(load(served, prepared, until_there_were(passed=MORE, refused=200)))
    assert set(asked.statuses) <= {200, 429, 503}
    most = 120 + (asked.ended - asked.began) * 120 / 60
    assert asked.statuses[200] <= math.floor(most)
    eventually(lambda: booked(prepared) == asked.statuses[200])


@pytest.mark.redis
@pytest.mark.some_of("limits over workers with Redis")
def test_calls_at_the_same_time_are_counted_over_all_workers(
    serve: Serve, prepared: Prepared
) -> None:
    give(prepared, "3 concurrency")
    served = serve(
        "--workers",
        str(WORKERS),
        REDIS_URL=os.environ["REDIS_URL"],
        TOLLGATE_LIMITS_WITHOUT_REDIS="refuse",  # or a Redis that this machine starves adds shares
    )
    body = question("chat", "endless", "[pace=20]", stream=True)
    with ExitStack() as open_now:

        def begin() -> wire.Wire | None:
            """A client whose stream was let in."""
            client = open_now.enter_context(wire.Wire(served.root_url))
            client.send(wire.request("chat", prepared, body))
            assert client.receive()
            return client if b" 200 " in client.received[:20] else None

        begun: list[wire.Wire] = []
        while len(begun) < 3:
            begun += filter(None, [begin()])
        assert [begin() for _ in range(7)] == [None] * 7
        begun[0].socket.close()

        def is_let_in() -> bool:
            return wire.ask(served.root_url, "chat", prepared, "sandbox-chat").status == 200

        eventually(is_let_in)


@pytest.mark.redis
@pytest.mark.long
@pytest.mark.some_of("limits over workers without Redis")
def test_while_redis_is_away_each_worker_has_its_share_and_no_usage_is_lost(
    serve: Serve, prepared: Prepared, private_redis: RedisServer
) -> None:
    give(prepared, "400 requests/day")
    served = serve("--workers", str(WORKERS), REDIS_URL=private_redis.url)
    first = asyncio.run(load(served, prepared, lambda asked: asked.statuses.total() < 100))
    assert set(first.statuses) == {200}

    async def stopped_midway() -> Asked:
        is_away = asyncio.Event()
        loading = asyncio.ensure_future(load(served, prepared, lambda _: not is_away.is_set()))
        await asyncio.to_thread(private_redis.stop)
        is_away.set()
        return await loading

    second = asyncio.run(stopped_midway())
    third = asyncio.run(load(served, prepared, until_there_were(passed=0, refused=300)))
    assert set(second.statuses + third.statuses) <= {200, 429}
    # What Redis had let in, and then at most a hundred by each worker.
    answered = (first.statuses + second.statuses + third.statuses)[200]
    assert answered <= 400 + 400
    eventually(lambda: "limits are not shared" in served.stderr)
    private_redis.start()

    def is_shared_again() -> bool:
        wire.ask(served.root_url, "chat", prepared, "sandbox-chat")
        return "limits are shared" in served.stderr

    eventually(is_shared_again)
    eventually(lambda: booked(prepared) >= answered)


@pytest.mark.redis
@pytest.mark.some_of("limits over workers without Redis")
def test_where_that_is_wanted_nothing_is_let_in_while_redis_is_away(
    serve: Serve, prepared: Prepared
) -> None:
    give(prepared, "400 requests/day")
    served = serve("--workers", "2", TOLLGATE_LIMITS_WITHOUT_REDIS="refuse")
    answer = wire.ask(served.root_url, "chat", prepared, "sandbox-chat")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"]["message"] == (
        "The rate limits cannot be checked now; try again."
    )
    wrong = httpx.get(f"{served.root_url}/v1/models", headers={"authorization": "Bearer wrong"})
    assert wrong.status_code == 401  # whoever is bound by nothing is refused for nothing


def test_several_workers_without_redis_are_refused_in_words(prepared: Prepared) -> None:
    served = Served(environment(prepared.data_dir), "--workers", "2")
    assert served.wait() == 1
    assert "set REDIS_URL, or serve with one" in served.stderr
    assert "Traceback" not in served.stderr
