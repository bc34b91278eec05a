"""Workers ask one another over Redis: what comes together, and what is said of those that do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway_project.lib.secret import Secret
from responses_api.live import in_flight
from responses_api.live.answering import CHANNEL, LiveAnswers
from responses_api.live.in_flight import InFlightCalls
from responses_api.live.messages import LiveQuestion, WorkerName
from responses_api.process.interruption import Interruption
from responses_api.process.registry import Registry
from responses_api.process.running_call import RunningCall, StoppedCall
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.redis_server import PROGRAM, RedisServer

AWAY = Secret("redis://127.0.0.1:1/0")


class Call:
    """A call as a registry knows it, that ends when it is told to."""

    def __init__(self, request_id: str, tenant_id: int, elapsed_ms: int) -> None:
        self.request_id = request_id
        self.tenant_id = tenant_id
        self._elapsed_ms = elapsed_ms
        self.interrupted: list[Interruption] = []

    def interrupt(self, why: Interruption) -> None:
        self.interrupted.append(why)

    def describe(self) -> RunningCall:
        return RunningCall(
            self.request_id, self.tenant_id, "acme", "key", "chat", "smart", "", 1, "waiting", "stream",
            self._elapsed_ms, 0, None,
        )  # fmt: skip

    def stopped(self, began_at: float) -> StoppedCall | None:
        return StoppedCall(True, 5, 7, 9) if self.interrupted else None


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secret]:
    if PROGRAM is None:
        pytest.skip("redis-server is not installed")
    home: Path = tmp_path_factory.mktemp("redis")
    server = RedisServer(home)
    server.start()
    yield Secret(server.url)
    server.stop()


@pytest.fixture(autouse=True)
def a_busy_machine_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "ANSWER_SECONDS", GIVE_UP_SECONDS)


@pytest.fixture(autouse=True)
def nobody_shares_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "SHARED_SECONDS", -1.0)


def with_workers(
    url: Secret, work: Callable[[list[LiveAnswers], list[Registry]], Awaitable[Any]]
) -> Any:
    """Run with two workers that listen; they are two processes by their names only."""

    async def run() -> Any:
        registries = [Registry(), Registry()]
        workers = [LiveAnswers(registry, url) for registry in registries]
        for number, worker in enumerate(workers):
            worker.worker = WorkerName("host", number)
            worker.start()
        with redis.Redis.from_url(url.reveal()) as client:
            await asyncio.to_thread(until, lambda: client.pubsub_numsub(CHANNEL)[0][1] == 2)
        try:
            return await asyncio.wait_for(work(workers, registries), GIVE_UP_SECONDS)
        finally:
            for worker in workers:
                await worker.stop()

    return asyncio.run(run())


def test_the_calls_of_all_workers_come_together_oldest_first(url: Secret) -> None:
    async def look(workers: list[LiveAnswers], registries: list[Registry]) -> None:
        for number, (request_id, tenant, age) in enumerate(
            [("req_a", 1, 100), ("req_b", 1, 300), ("req_c", 2, 200)]
        ):
            registries[number % 2].add(Call(request_id, tenant, age))
        for calls in (InFlightCalls(workers[0], url), InFlightCalls(None, url)):
            found = await calls.look(None)
            told = [(each.call.request_id, each.worker and each.worker.pid) for each in found.calls]
            assert told == [("req_b", 1), ("req_c", 0), ("req_a", 0)]
            assert (found.total, found.asked, found.answered, found.reach) == (3, 2, 2, "all")
            narrowed = await calls.look(frozenset({2}))
            assert [each.call.request_id for each in narrowed.calls] == ["req_c"]
            assert (narrowed.total, narrowed.answered) == (1, 2)

    with_workers(url, look)


def test_a_call_is_stopped_by_the_worker_that_makes_it(url: Secret) -> None:
    async def stop(workers: list[LiveAnswers], registries: list[Registry]) -> None:
        ours, theirs = Call("req_a", 1, 1), Call("req_b", 1, 1)
        registries[0].add(ours)
        registries[1].add(theirs)
        calls = InFlightCalls(workers[0], url)
        found = await calls.find("req_b")
        assert found is not None
        assert found.worker == WorkerName("host", 1)
        assert await calls.stop("req_b") == StoppedCall(True, 5, 7, 9)
        assert (ours.interrupted, theirs.interrupted) == ([], [Interruption.CANCELLED])
        assert await calls.stop("req_unknown") is None

    with_workers(url, stop)


def test_a_worker_that_does_not_answer_is_counted_and_said_to_be_missing(
    url: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(workers: list[LiveAnswers], registries: list[Registry]) -> None:
        registries[0].add(Call("req_a", 1, 1))

        async def say_nothing(question: object) -> None:
            pass

        monkeypatch.setattr(workers[1], "reply", say_nothing)
        monkeypatch.setattr(in_flight, "ANSWER_SECONDS", 0.5)
        found = await InFlightCalls(workers[0], url).look(None)
        assert (found.asked, found.answered, found.total) == (2, 1, 1)

    with_workers(url, look)


def test_nothing_is_written_while_nobody_asks_and_answers_do_not_stay(url: Secret) -> None:
    async def look(workers: list[LiveAnswers], registries: list[Registry]) -> None:
        with redis.Redis.from_url(url.reveal()) as client:
            client.flushdb()
            await InFlightCalls(None, url).look(None)
            assert client.keys() == []  # each answer was taken
            await workers[0].reply(LiveQuestion("calls", "tollgate:live:nobody"))
            assert 0 < client.ttl("tollgate:live:nobody") <= 10

    with_workers(url, look)


def test_whoever_asks_for_the_same_at_the_same_time_shares_an_answer(
    url: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_flight, "SHARED_SECONDS", GIVE_UP_SECONDS)

    async def look(workers: list[LiveAnswers], registries: list[Registry]) -> None:
        calls = InFlightCalls(workers[0], url)
        first, second = await asyncio.gather(calls.look(None), calls.look(None))
        assert first is second
        assert await calls.look(frozenset({1})) is not first

    with_workers(url, look)


def test_without_redis_and_while_it_is_away_a_worker_tells_of_itself() -> None:
    async def look() -> None:
        for url, reach in ((None, "alone"), (AWAY, "cut_off")):
            registry = Registry()
            registry.add(Call("req_a", 1, 1))
            calls = InFlightCalls(LiveAnswers(registry, url), url)
            found = await calls.look(None)
            assert (found.total, found.asked, found.answered, found.reach) == (1, 1, 1, reach)
            assert await calls.stop("req_a") == StoppedCall(True, 5, 7, 9)
            outside = await InFlightCalls(None, url).look(None)
            assert (outside.total, outside.asked, outside.answered) == (0, 0, 0)

    asyncio.run(look())
