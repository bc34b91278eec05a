"""Buckets in a real Redis do what buckets in memory do, for everybody at once."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
import redis
from redis.asyncio import ConnectionPool

from gateway_project.lib import rates
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.rates import Rate
from gateway_project.lib.secret import Secret
from tenants.limits import headers, policy, shared
from tenants.limits.policy import RateLimits
from tenants.limits.shared import SharedBuckets
from tests.support.patience import GIVE_UP_SECONDS

pytestmark = pytest.mark.redis


def limits(text: str) -> RateLimits:
    """Return the limits of a caller that no other test has."""
    return RateLimits(policy.of_rates("key", secrets.token_hex(8), rates.parse(text)))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that a busy machine starves is not away."""
    monkeypatch.setattr(shared, "ROUND_TRIP_SECONDS", GIVE_UP_SECONDS)


@pytest.fixture
async def stores() -> AsyncIterator[tuple[SharedBuckets, SharedBuckets]]:
    """The stores of two workers."""
    url = Secret(os.environ["REDIS_URL"])
    both = SharedBuckets(url), SharedBuckets(url)
    for store in both:
        store.start()
    yield both
    for store in both:
        await store.stop()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while not await holds():  # noqa: ASYNC110  # another process makes it so
            await asyncio.sleep(0.02)


Two = tuple[SharedBuckets, SharedBuckets]


def left(of: RateLimits, levels: Sequence[float]) -> list[int]:
    return [headers.remaining(*filled) for filled in zip(of.all, levels, strict=True)]


async def test_two_workers_count_together(stores: Two) -> None:
    of = limits("10 requests/day, 1000 tokens/day, 20 concurrency")
    for number in range(10):
        verdict = await stores[number % 2].take(of, 50, f"call-{number}")
        assert verdict.refused == -1
        assert left(of, verdict.levels) == [9 - number, 950 - 50 * number, 19 - number]
    refused = await stores[0].take(of, 50, "one-more")
    assert refused.refused == 0
    assert 8_000 < refused.wait <= 8_640
    assert left(of, refused.levels) == [0, 500, 10]


async def test_what_is_asked_at_once_is_let_in_exactly(stores: Two) -> None:
    of = limits("50 requests/day")
    asked = [stores[number % 2].take(of, 0, str(number)) for number in range(400)]
    verdicts = await asyncio.gather(*asked)
    assert sum(verdict.refused < 0 for verdict in verdicts) == 50


async def test_a_look_charges_nothing(stores: Two) -> None:
    of = limits("1 requests/day, 1 concurrency")
    for _ in range(3):
        assert (await stores[0].take(of, 0, "", commit=False)).refused == -1
    assert (await stores[1].take(of, 0, "call")).refused == -1
    assert (await stores[0].take(of, 0, "", commit=False)).refused == 0


async def test_corrections_give_back_and_take(stores: Two) -> None:
    of = limits("1000 tokens/day")
    began = time.monotonic()
    await stores[0].take(of, 500, "call")
    stores[0].correct(of, -400)
    assert left(of, (await stores[0].take(of, 0, "", commit=False)).levels) == [900]
    stores[1].correct(of, 1_400)
    verdict = await stores[1].take(of, 1, "")
    assert verdict.refused == 0
    flowed_back = time.monotonic() - began  # at most, since it was taken
    assert 501 * 86.4 - flowed_back - 2 <= verdict.wait <= 501 * 86.4 + 2
    stores[1].correct(of, -100_000)
    assert left(of, (await stores[1].take(of, 0, "", commit=False)).levels) == [1_000]


async def test_a_limit_of_a_unit_binds_those_who_use_it(stores: Two) -> None:
    of = RateLimits(policy.of_rates("key", secrets.token_hex(8), [Rate("pages", 10, "day")]))
    assert (await stores[0].take(of, 0, "", units={"pages": 8})).refused == -1
    assert (await stores[1].take(of, 0, "", units={"pages": 3})).refused == 0
    stores[0].correct(of, 0, {"pages": 3})
    assert (await stores[0].take(of, 0, "")).refused == -1
    stores[1].correct(of, 0, {"pages": -5})
    assert left(of, (await stores[0].take(of, 0, "", units={"pages": 1})).levels) == [3]


async def test_places_are_given_back_once(stores: Two) -> None:
    of = limits("2 concurrency")
    first, second = stores
    assert (await first.take(of, 0, "a")).refused == -1
    assert (await second.take(of, 0, "b")).refused == -1
    assert (await first.take(of, 0, "c")).refused == 0
    for _ in range(3):
        first.release(of, "a")
    assert (await first.take(of, 0, "d")).refused == -1
    assert (await second.take(of, 0, "e")).refused == 0


async def test_a_call_that_is_cancelled_while_it_asks_holds_no_place(stores: Two) -> None:
    of = limits("1 concurrency")
    asking = asyncio.ensure_future(stores[0].take(of, 0, "left"))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await stores[0].take(of, 0, "next")).refused == -1


async def test_the_places_of_a_worker_that_died_run_out_and_those_of_others_do_not(
    stores: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_LEASE", 300_000)
    monkeypatch.setattr(shared, "RENEW_SECONDS", 0.1)
    url = Secret(os.environ["REDIS_URL"])
    of, dead, alive = limits("2 concurrency"), SharedBuckets(url), SharedBuckets(url)
    dead.start()
    alive.start()
    assert (await dead.take(of, 0, "dead")).refused == -1
    assert (await alive.take(of, 0, "alive")).refused == -1
    for task in dead._tasks:
        task.cancel()

    async def has_room() -> bool:
        return (await alive.take(of, 0, "", commit=False)).refused < 0

    await until(has_room)
    assert left(of, (await alive.take(of, 0, "", commit=False)).levels) == [1]
    assert (await alive.take(of, 0, "alive-too")).refused == -1
    await alive.stop()
    await dead.stop()


async def test_nothing_is_kept_of_what_is_empty_again(stores: Two) -> None:
    of = limits("60000 requests/minute, 3 concurrency")
    await stores[0].take(of, 0, "call")
    stores[0].release(of, "call")
    await stores[0].take(limits("1 requests/day"), 0, "")  # has the release behind it
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as server:
        names = [shared.PREFIX + limit.bucket for limit in of.all]

        async def is_gone() -> bool:
            return not server.exists(*names)

        await until(is_gone)


async def test_a_script_redis_has_forgotten_is_loaded_again(stores: Two) -> None:
    of = limits("10 requests/day")
    await stores[0].take(of, 0, "")
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as server:
        server.script_flush()
    with pytest.raises(StoreUnavailable):
        await stores[0].take(of, 0, "")

    async def is_there_again() -> bool:
        try:
            await stores[0].take(of, 0, "", commit=False)
        except StoreUnavailable:
            return False
        return True

    await until(is_there_again)
    assert left(of, (await stores[0].take(of, 0, "")).levels) == [8]


async def test_who_asks_for_a_redis_that_hangs_waits_once_and_nobody_after_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first Redis accepts connections and says nothing; later one that answers takes its place."""
    monkeypatch.setattr(shared, "ROUND_TRIP_SECONDS", 0.05)
    monkeypatch.setattr(shared, "LAST_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(shared, "AWAY_SECONDS", 0.05)
    connected = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(writer)
        await reader.read()

    silent = await asyncio.start_server(hang, "127.0.0.1", 0)
    store = SharedBuckets(Secret(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0"))
    store.start()
    of = limits("10 requests/day")
    asked = [asyncio.ensure_future(store.take(of, 0, "")) for _ in range(5)]
    while not connected:  # noqa: ASYNC110  # whoever asks from now on does so during a round trip
        await asyncio.sleep(0.001)
    asked += [asyncio.ensure_future(store.take(of, 0, "")) for _ in range(5)]
    async with asyncio.timeout(GIVE_UP_SECONDS):
        found = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(error) for error in found} == {StoreUnavailable}
    tried = len(connected)
    for _ in range(100):  # at once, which is to say without letting go of the loop
        with pytest.raises(StoreUnavailable):
            store.take(of, 0, "").send(None)
    assert len(connected) == tried

    monkeypatch.setattr(shared, "ROUND_TRIP_SECONDS", GIVE_UP_SECONDS)
    store._pool = ConnectionPool.from_url(os.environ["REDIS_URL"])

    async def is_there_again() -> bool:
        return not store.is_away

    await until(is_there_again)
    assert left(of, (await store.take(of, 0, "")).levels) == [9]
    await store.stop()
    silent.close()
    for writer in connected:
        writer.close()
    await silent.wait_closed()


async def test_a_worker_that_stood_still_itself_does_not_take_redis_for_away(
    stores: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = limits("10 requests/day")
    monkeypatch.setattr(shared, "ROUND_TRIP_SECONDS", 0.1)
    monkeypatch.setattr(shared, "LAST_LOOK_SECONDS", GIVE_UP_SECONDS)
    await stores[0].take(of, 0, "")
    asking = asyncio.ensure_future(stores[0].take(of, 0, ""))
    for _ in range(3):  # until it is asked, and until that is sent
        await asyncio.sleep(0)
    assert not stores[0]._waiting
    time.sleep(shared.ROUND_TRIP_SECONDS + 0.1)  # noqa: ASYNC251  # that is what is tested
    assert left(of, (await asking).levels) == [8]
    assert not stores[0].is_away


async def test_a_redis_that_is_not_there_is_told_at_once() -> None:
    store = SharedBuckets(Secret("redis://127.0.0.1:1/0"))
    store.start()
    for _ in range(100):
        with pytest.raises(StoreUnavailable):
            await store.take(limits("10 requests/day"), 0, "")
    await store.stop()
