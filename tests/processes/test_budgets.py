"""Budgets that several processes spend at once: never more than there is, and nothing is lost with them."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway_project.sandbox import SandboxServer
from gateway_project.sandbox.log import LoggedCall
from tests.plugins.tiers import by_tier
from tests.processes.conftest import Prepared
from tests.processes.money_watch import CHARGED, WINDOWS, Reader, Watch
from tests.processes.served import (
    Program,
    Served,
    environment,
    eventually,
    kill,
    manage,
    shell,
)
from tests.processes.test_takeover import following
from tests.responses_api.accounting.conftest import INPUT_PICO, OUTPUT_PICO
from tests.support import warm
from tests.support.client import PATHS, async_client_of, question
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.redis_server import PROGRAM, RedisServer

DOLLAR = 1_000_000_000
OF_SPENDER = """
SELECT sum(u.cost_nano) FROM tenants_usagerow u JOIN tenants_tenant t ON t.id = u.tenant_id
WHERE t.slug = 'spender'
"""
DEAR_PICO = (
    10 * OUTPUT_PICO
)  # so that fewer tokens, each of which costs the machine time, are a dollar
PROCESSES = by_tier(2, 2, 4)
STREAMS = by_tier(
    24, 24, 64
)  # of each process; some are refused if all of one process are answered
ROWS = """
import json
from routing.models import Provider
from tenants.models import Budget
from tests.responses_api.accounting.conftest import price
from tests.support import rows
customer = rows.customer("spender")
Budget.objects.create(tenant=customer.tenant, name="tenant", amount_nano={tenant}, period="total")
if {key}:
    Budget.objects.create(
        tenant=customer.tenant, api_key=customer.key, name="key", amount_nano={key}, period="total"
    )
for protocol in rows.PROTOCOLS:
    if not Provider.objects.filter(name="sandbox-" + protocol).exists():
        rows.alias("sandbox-" + protocol, (rows.provider(protocol, {url!r}), "sandbox-1"))
    price("sandbox-" + protocol, "sandbox-1", output_pico={output_pico})
print(json.dumps([customer.key.public_id, customer.secret]))
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A database with a tenant that has budgets."""

    variables: dict[str, str]
    key_id: str
    secret: str


def furnished(
    variables: dict[str, str],
    provider: SandboxServer,
    tenant: int,
    key: int,
    output_pico: int = OUTPUT_PICO,
) -> Place:
    script = ROWS.format(url=provider.base_url, tenant=tenant, key=key, output_pico=output_pico)
    key_id, secret = shell(variables, script)
    return Place(variables, key_id, secret)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def variables(request: pytest.FixtureRequest, prepared: Prepared) -> dict[str, str]:
    """The variables of a migrated database."""
    more = {"TOLLGATE_SPOOL_LEAST_FREE_PERCENT": "0"}
    if request.param == "sqlite":
        return environment(prepared.data_dir, **more)
    url: str = request.getfixturevalue("migrated_postgres")
    return environment(prepared.data_dir, DATABASE_URL=url, **more)


class Spender:
    """A process of its own."""

    def __init__(self, place: Place, *arguments: str) -> None:
        program = ["-m", "tests.processes.spender", place.key_id, *arguments]
        settings = {"DJANGO_SETTINGS_MODULE": "gateway_project.settings"}
        self._process = warm.start(program, {**place.variables, **settings})

    def wait_until_it(self, line: str) -> None:
        """Wait for this line, the next that it prints."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{line}\n"

    def kill(self) -> None:
        kill(self._process.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        code = self._process.wait(GIVE_UP_SECONDS)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
        return code


@pytest.fixture
def query(variables: dict[str, str]) -> Iterator[Reader]:
    reader = Reader(variables)
    yield reader
    reader.close()


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def spenders(place: Place, running: ExitStack, *arguments: str) -> list[Spender]:
    found = [Spender(place, *arguments) for _ in range(PROCESSES)]
    for spender in found:
        running.callback(spender.kill)
    for spender in found:
        spender.wait_until_it("spending")
    return found


@pytest.mark.long
@pytest.mark.some_of("budgets that processes spend at once", keep=2)
def test_processes_that_spend_at_once_never_hold_and_spend_more_than_there_is(
    variables: dict[str, str], provider: SandboxServer, running: ExitStack, query: Reader
) -> None:
    place = furnished(variables, provider, tenant=5 * DOLLAR, key=3 * DOLLAR)
    with Watch(variables) as watch, Program(variables, "ingest") as ingester:
        for spender in spenders(place, running, "--until-refused"):
            assert spender.wait() == 0
        ingester.stop()
    manage(variables, "ingest", "--once")
    ((_, charged, _, _),) = query(CHARGED)
    for _, amount, spent, reserved in query(WINDOWS):
        assert (spent, reserved) == (charged, 0)
        assert charged <= amount
    # Every process was refused: what was left was less than the smallest call.
    assert charged > 2.5 * DOLLAR
    assert watch.overruns == []
    assert watch.looks > 10
    assert watch.most > 2.8 * DOLLAR


@pytest.mark.long
@pytest.mark.some_of("budgets of processes that are killed")
def test_what_killed_processes_held_is_free_again_and_what_they_spent_is_spent(
    variables: dict[str, str], provider: SandboxServer, running: ExitStack, query: Reader
) -> None:
    # They spend fifty dollars a second, and what the first spend must leave enough for the second, however
    # long a machine takes to start and to kill them.
    place = furnished(variables, provider, tenant=400_000 * DOLLAR, key=300_000 * DOLLAR)
    with Watch(variables) as watch:
        for _ in range(2):
            processes = spenders(place, running)
            for spender in processes:
                spender.wait_until_it("spent")
            for spender in processes:
                spender.kill()
            # While nothing is booked, what is spent is held as well.
            assert any(reserved for _, _, _, reserved in query(WINDOWS))
            manage(variables, "ingest", "--once")
            ((_, charged, _, _),) = query(CHARGED)
            assert charged > 0
            assert [row[2:] for row in query(WINDOWS)] == [(charged, 0)] * 2
    assert watch.overruns == []


async def ask_all(served: Served, place: Place, texts: list[str]) -> list[httpx.Response]:
    """Ask all at once, every eighth without a stream; return each answer as far as it came."""
    doors = ("chat", "responses")

    async def ask(client: httpx.AsyncClient, number: int, text: str) -> httpx.Response:
        door = doors[number % 2]
        model = "sandbox-" + ("chat", "responses", "anthropic")[number % 3]
        body = question(door, model, text, stream=bool(number % 8))
        for _ in range(10):
            with suppress(httpx.TransportError):  # the worker died: another one may answer
                return await client.post(PATHS[door], json=body)
        return httpx.Response(599)

    async with async_client_of(served, place, seconds=300) as client:
        work = (ask(client, number, text) for number, text in enumerate(texts))
        return await asyncio.gather(*work)


@pytest.fixture
def served(variables: dict[str, str], running: ExitStack) -> Served:
    """A gateway with PROCESSES workers on one Redis."""
    variables = {**variables, "REDIS_URL": os.environ["REDIS_URL"]}
    return running.enter_context(Served(variables, "--workers", str(PROCESSES)))


def assert_no_more_than_a_dollar(query: Reader, watch: Watch, calls: int) -> None:
    ((booked, charged, unfunded, cost),) = query(CHARGED)
    ((_, amount, spent, reserved),) = query(WINDOWS)
    sys.stdout.write(
        f"{booked} calls: charged {charged}, unfunded {unfunded}, cost {cost}; "
        f"{watch.looks} looks, at most {watch.most}\n"
    )
    assert booked == calls
    assert charged <= amount == DOLLAR
    assert (spent, reserved) == (charged, 0)
    assert cost == charged + unfunded
    assert watch.overruns == []


@pytest.mark.long
@pytest.mark.redis
@pytest.mark.some_of("budgets that processes spend at once", keep=2)
def test_a_dollar_buys_no_more_than_a_dollar_of_an_upstream_that_ignores_limits(
    variables: dict[str, str], provider: SandboxServer, served: Served, query: Reader
) -> None:
    place = furnished(variables, provider, tenant=DOLLAR, key=0, output_pico=DEAR_PICO)
    text = "[unlimited][chunks=300]"  # $0.03 each, $1.44 in all, and $7.68 in the proof
    with Watch(variables) as watch:
        answers = asyncio.run(ask_all(served, place, [text] * (PROCESSES * STREAMS)))
        eventually(lambda: query(CHARGED)[0][0] == len(provider.calls))
    served.signal()
    served.wait()
    manage(variables, "ingest", "--once")
    assert {answer.status_code for answer in answers} == {200, 429}
    assert_no_more_than_a_dollar(query, watch, len(provider.calls))
    assert query(CHARGED)[0][1] > 0.9 * DOLLAR


KINDS = tuple(itertools.product(("chat", "responses"), ("chat", "responses", "anthropic")))


def asked_of_all(number: int) -> tuple[str, dict[str, Any]]:
    """Path and body of one of many calls: whole, streamed or in the background, with and without a limit, of
    several choices, with thoughts that are not shown."""
    door, protocol = KINDS[number % len(KINDS)]
    text = f"[chunks={(5, 400, 3000)[number % 3]}][think={(0, 500, 4000)[number // 3 % 3]}]"
    limit = (None, 6000, 300)[number // 7 % 3]
    body: dict[str, Any] = {"model": f"sandbox-{protocol}", "stream": number % 4 == 1}
    if door == "chat":
        body["messages"] = [{"role": "user", "content": text}]
        body |= {"max_completion_tokens": limit} if limit else {}
        body |= {"n": (1, 8, 128)[number // 5 % 3]} if protocol == "chat" else {}
        return "chat/completions", body
    body["input"] = text
    body |= {"max_output_tokens": limit} if limit else {}
    body["background"] = number % 4 == 2
    return "responses", body


async def ask_for_all(
    served: Served, place: Place, asked: list[tuple[str, dict[str, Any]]]
) -> list[httpx.Response]:
    """Ask all at once, and wait for those in the background to end."""

    async def ask(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> httpx.Response:
        answer = await client.post(path, json=body)
        if body.get("background") and answer.status_code == 200:
            known = answer.json()
            while known["status"] in {"queued", "in_progress"}:
                await asyncio.sleep(0.05)
                known = (await client.get(f"responses/{known['id']}")).json()
        return answer

    async with async_client_of(served, place, seconds=300) as client:
        return await asyncio.gather(*(ask(client, path, body) for path, body in asked))


def upstream_cost(calls: Sequence[LoggedCall], output_pico: int = OUTPUT_PICO) -> int:
    """Nano-dollars of what the provider generated for these, read or not."""
    tokens_in, tokens_out = (
        sum(each) for each in zip(*(call.generated for call in calls), strict=True)
    )
    return int(tokens_in * INPUT_PICO + tokens_out * output_pico) // 1000


@pytest.fixture
def two_workers(variables: dict[str, str], running: ExitStack) -> Served:
    variables = {**variables, "REDIS_URL": os.environ["REDIS_URL"]}
    return running.enter_context(Served(variables, "--workers", "2"))


@pytest.mark.long
@pytest.mark.redis
@pytest.mark.some_of("budgets that processes spend at once", keep=2)
def test_an_upstream_that_keeps_to_its_limits_never_costs_more_than_the_budget(
    variables: dict[str, str], provider: SandboxServer, two_workers: Served, query: Reader
) -> None:
    place = furnished(variables, provider, tenant=DOLLAR // 2, key=0)
    before = len(provider.calls)
    with Watch(variables) as watch:
        answers = asyncio.run(
            ask_for_all(two_workers, place, [asked_of_all(number) for number in range(64)])
        )
        made = list(provider.calls)[before:]
        eventually(lambda: query(CHARGED)[0][0] == len(made))
    two_workers.signal()
    two_workers.wait()
    manage(variables, "ingest", "--once")
    ((booked, charged, unfunded, cost),) = query(CHARGED)
    ((_, amount, spent, reserved),) = query(WINDOWS)
    sys.stdout.write(f"{booked} calls: cost {upstream_cost(made)}, charged {charged}\n")
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert upstream_cost(made) == cost <= amount
    assert (charged, unfunded) == (cost, 0)
    assert (spent, reserved) == (charged, 0)
    assert charged > 0.5 * amount
    assert watch.overruns == []


@pytest.mark.long
@pytest.mark.redis
@pytest.mark.some_of("budgets that processes spend at once", keep=2)
def test_short_calls_on_two_workers_are_all_answered_where_the_budget_pays_for_them(
    variables: dict[str, str], provider: SandboxServer, two_workers: Served, query: Reader
) -> None:
    place = furnished(variables, provider, tenant=20_000_000, key=0)
    bodies = [
        ("responses", {"model": f"sandbox-{protocol}", "input": "Hi [wait=100]", "stream": stream})
        for protocol in ("chat", "responses", "anthropic", "chat")
        for stream in (False, True)
    ]
    answers = asyncio.run(
        ask_for_all(two_workers, place, [bodies[number % 8] for number in range(100)])
    )
    assert [answer.status_code for answer in answers] == [200] * 100
    assert all("completed" in answer.text for answer in answers)
    eventually(lambda: query(CHARGED)[0][0] == 100)
    assert 200 * (query(CHARGED)[0][1] // 100) <= 20_000_000


def until_more_are_asked(provider: SandboxServer, asking: asyncio.Task[Any]) -> None:
    """Or until all were answered: on a slow machine the dollar may be spent at the first look."""
    wanted = len(provider.calls) + PROCESSES * STREAMS // 8
    eventually(lambda: len(provider.calls) >= wanted or asking.done())


@pytest.mark.long
@pytest.mark.redis
@pytest.mark.some_of("budgets of processes that are killed")
def test_a_dollar_buys_no_more_when_workers_are_killed_while_they_spend_it(
    variables: dict[str, str], provider: SandboxServer, served: Served, query: Reader
) -> None:
    place = furnished(variables, provider, tenant=DOLLAR, key=0, output_pico=DEAR_PICO)
    text = "[unlimited][chunks=300][pace=5]"

    async def ask_and_kill() -> None:
        asking = asyncio.create_task(ask_all(served, place, [text] * (PROCESSES * STREAMS)))
        for _ in range(2):
            await asyncio.to_thread(until_more_are_asked, provider, asking)
            for worker in served.workers[: PROCESSES // 2]:
                kill(worker, signal.SIGKILL)
        await asking

    with Watch(variables) as watch:
        asyncio.run(ask_and_kill())
        eventually(lambda: served.is_ready)
    served.signal()
    served.wait()
    manage(variables, "ingest", "--once")
    # A call that was opened may have been killed before it was sent.
    ((booked, *_),) = query(CHARGED)
    assert len(provider.calls) <= booked
    assert query(CHARGED)[0][1] > 0.5 * DOLLAR
    assert_no_more_than_a_dollar(query, watch, booked)


# A takeover: two generations of one gateway at once

TENTH_PICO = 1_000_000_000  # a dollar for a thousand tokens: an answer of a hundred costs a tenth
# Those of the old gateway still run when the new one serves: until the provider is told to hurry.
HELD, QUICK = "[chunks=100][pace=600000]", "[chunks=100]"
LIMITED = """
import json
from tenants.models import RateLimit
from tests.support import rows
customer = rows.customer("limited")
for metric, amount, window in (("requests", 5, "day"), ("concurrency", 3, "")):
    RateLimit.objects.create(
        tenant=customer.tenant, api_key=customer.key, metric=metric, amount=amount, window=window
    )
print(json.dumps([customer.key.public_id, customer.secret]))
"""


Asked = list[asyncio.Task[httpx.Response]]


def ask(client: httpx.AsyncClient, many: int, text: str) -> Asked:
    body = question("chat", "sandbox-chat", text, stream=True, max_completion_tokens=100)
    alone = {"connection": "close"}  # or the old gateway would keep it until its drain is over
    post = client.post
    return [asyncio.create_task(post(PATHS["chat"], json=body, headers=alone)) for _ in range(many)]


async def statuses(asked: Asked) -> list[int]:
    return sorted(answer.status_code for answer in await asyncio.gather(*asked))


def own_redis(home: Path, running: ExitStack) -> str:
    """The URL of a Redis that has counted nothing yet."""
    if PROGRAM is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(home)
    running.callback(server.stop)
    server.start()
    return server.url


@pytest.mark.long
@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.some_of("takeovers under load")
def test_a_takeover_lets_no_more_through_than_the_budget_pays_and_with_redis_than_limits_allow(
    shares: bool, prepared: Prepared, provider: SandboxServer, running: ExitStack, tmp_path: Path
) -> None:
    more = {"REDIS_URL": own_redis(tmp_path, running)} if shares else {}
    variables = environment(prepared.data_dir, TOLLGATE_DRAIN_SECONDS="120", **more)
    place = furnished(variables, provider, tenant=DOLLAR, key=0, output_pico=TENTH_PICO)
    limited = Place(variables, *shell(variables, LIMITED))
    old = running.enter_context(Served(variables))

    async def through_a_takeover() -> dict[str, list[int]]:
        async with async_client_of(old, place) as spender, async_client_of(old, limited) as other:
            running_calls = [*ask(spender, 7, HELD), *ask(other, 3, HELD)]
            return await beside(running_calls)

    async def beside(running_calls: Asked) -> dict[str, list[int]]:
        await asyncio.to_thread(eventually, lambda: len(provider.calls) == 10)
        new = await asyncio.to_thread(running.enter_context, following(old))
        assert [call.ended for call in list(provider.calls)] == [None] * 10
        # Of the dollar, seven tenths are held by the old one.
        async with async_client_of(new, place) as spender, async_client_of(new, limited) as other:
            found = {"at the same time": await statuses(ask(other, 2, QUICK))}
            found["spent"] = await statuses(ask(spender, 12, QUICK))
            provider.hurry(HELD)
            found["old"] = await statuses(running_calls)
            found["in all"] = await statuses(ask(other, 4, QUICK))
            assert await asyncio.to_thread(old.wait) == 0
            found["nothing is left"] = await statuses(ask(spender, 3, QUICK))
        new.signal()
        assert await asyncio.to_thread(new.wait) == 0
        return found

    reader = Reader(variables)
    running.callback(reader.close)
    with Watch(variables) as watch:
        found = asyncio.run(through_a_takeover())
    manage(variables, "ingest", "--once")
    ((_, amount, spent, reserved),) = reader(WINDOWS)
    bill = upstream_cost(provider.calls, TENTH_PICO)
    ((of_spender,),) = reader(OF_SPENDER)
    sys.stdout.write(f"{found}: {of_spender} of {amount} spent, the upstream's bill is {bill}\n")
    assert (found["old"], set(found["nothing is left"])) == ([200] * 10, {429})
    assert found["spent"].count(200) <= 3
    assert bill == reader(CHARGED)[0][3]  # every call is booked at what the upstream generated
    assert (spent, reserved) == (of_spender, 0)
    assert 0.7 * DOLLAR < of_spender <= amount
    assert watch.overruns == []
    if shares:
        assert found["at the same time"] == [429, 429]
        assert found["in all"] == [200, 200, 429, 429]
