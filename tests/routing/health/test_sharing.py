"""See that what one process finds out is known to the others, through a real Redis."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable

import pytest

from gateway_project.lib.errors import UpstreamRateLimited, UpstreamUnreachable
from gateway_project.lib.secret import Secret
from routing.health import sharing
from routing.health.passage import Passage
from routing.health.scopes import FailureScope
from routing.health.sharing import CircuitSharing
from routing.health.table import LaneTable
from routing.route import ResolvedTarget
from tests.routing.health.fleet import caller, lane
from tests.support.patience import GIVE_UP_SECONDS

pytestmark = pytest.mark.redis


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that a busy machine starves is not away."""
    monkeypatch.setattr(sharing, "PATIENCE_SECONDS", GIVE_UP_SECONDS)


@pytest.fixture
def url() -> Secret:
    return Secret(os.environ["REDIS_URL"])


@pytest.fixture
def place() -> ResolvedTarget:
    """A lane that no other test has."""
    return lane(provider_id=secrets.randbelow(10**9))


class Processes:
    """Tables that are shared, each as of a process of its own."""

    def __init__(self, url: Secret) -> None:
        self._url = url
        self._sharing: list[CircuitSharing] = []
        self.tables: list[LaneTable] = []

    async def start(self) -> LaneTable:
        """Start one, and wait until it hears the others."""
        table = LaneTable(chance=lambda: 0.5)
        shared = CircuitSharing(self._url, table)
        shared.start()
        self._sharing.append(shared)
        self.tables.append(table)
        await until(lambda: shared.is_listening)
        return table

    async def stop(self) -> None:
        for shared in self._sharing:
            await shared.stop()


@pytest.fixture
async def processes(url: Secret) -> AsyncIterator[Processes]:
    started = Processes(url)
    yield started
    await started.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while not holds():  # noqa: ASYNC110  # nobody tells when
            await asyncio.sleep(0.005)


def is_open(table: LaneTable, place: ResolvedTarget) -> bool:
    return table.of(place, table.now()).is_open


def is_of(place: ResolvedTarget, scope: FailureScope) -> bool:
    return scope.provider_id == place.provider_id


def entered(table: LaneTable, place: ResolvedTarget, number: int = 1) -> Passage:
    passage = table.enter(place, caller(number))
    assert passage is not None
    return passage


async def test_a_hold_is_told_to_all_and_read_by_who_starts_later(
    processes: Processes, place: ResolvedTarget
) -> None:
    first, second = await processes.start(), await processes.start()
    entered(first, place).failed(UpstreamRateLimited("x", retry_after_seconds=500.0))
    await until(lambda: is_open(second, place))
    third = await processes.start()
    await until(lambda: is_open(third, place))
    for table in (second, third):
        seen = table.of(place, table.now())
        assert (seen.opened_by, seen.reason) == ("hold", "rate_limit_exceeded")
        assert 0 < (seen.open_until or 0.0) - table.now() <= 500.0


async def test_failures_of_all_processes_make_one_run(
    processes: Processes, place: ResolvedTarget
) -> None:
    tables = [await processes.start() for _ in range(2)]
    for number in range(5):
        entered(tables[number % 2], place, number).failed(UpstreamUnreachable("x"))
    await until(lambda: all(is_open(table, place) for table in tables))


async def test_one_process_finds_out_and_tells_the_others(
    processes: Processes, place: ResolvedTarget
) -> None:
    tables = [await processes.start() for _ in range(4)]
    entered(tables[0], place).failed(UpstreamRateLimited("x", retry_after_seconds=1.0))
    await until(lambda: all(is_open(table, place) for table in tables))
    await until(lambda: all(table.is_due(place) for table in tables))

    probes = [entered(table, place, number) for number, table in enumerate(tables)]
    got = [await table.confirm(probe) for table, probe in zip(tables, probes, strict=True)]
    assert sum(got) == 1
    probes[got.index(True)].answered(0.1)
    await until(lambda: not any(is_open(table, place) for table in tables))


async def test_an_operator_closes_a_circuit_on_all(
    processes: Processes, place: ResolvedTarget, url: Secret
) -> None:
    tables = [await processes.start() for _ in range(2)]
    entered(tables[0], place).failed(UpstreamRateLimited("x", retry_after_seconds=500.0))
    await until(lambda: is_open(tables[1], place))
    (name,) = [each.scope.name for each in tables[1].open_circuits() if is_of(place, each.scope)]
    assert name in {message.scope for message in await sharing.look(url) or ()}
    await sharing.close(url, name)
    await until(lambda: not any(is_open(table, place) for table in tables))
    assert name not in {message.scope for message in await sharing.look(url) or ()}


async def test_without_redis_each_process_has_its_own(place: ResolvedTarget) -> None:
    table = LaneTable(chance=lambda: 0.5)
    shared = CircuitSharing(Secret("redis://127.0.0.1:1/0"), table)
    shared.start()
    entered(table, place).failed(UpstreamRateLimited("x", retry_after_seconds=0.01))
    assert is_open(table, place)
    await until(lambda: table.is_due(place))
    probe = entered(table, place)
    assert await table.confirm(probe)
    probe.answered(0.1)
    assert not is_open(table, place)
    await shared.stop()
