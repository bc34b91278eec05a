"""One Idempotency-Key over two server processes: one call upstream, also when its process is killed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway_project.sandbox import SandboxServer
from tests.processes.conftest import ROWS, Prepared
from tests.processes.served import Served, environment, eventually, kill, shell
from tests.support import wire
from tests.support.client import question
from tests.support.grammar import without_keepalives
from tests.support.wire import Answer, Wire

SIGN_OF_LIFE = b": keep-alive\n\n"
ServeTwo = Callable[..., tuple[Served, Served]]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def variables(request: pytest.FixtureRequest, prepared: Prepared) -> dict[str, str]:
    """The environment of both processes, which share one database."""
    if request.param == "sqlite":
        return environment(prepared.data_dir)
    url: str = request.getfixturevalue("migrated_postgres")
    return environment(prepared.data_dir, DATABASE_URL=url)


@pytest.fixture
def customer(
    variables: dict[str, str], prepared: Prepared, provider: SandboxServer, tmp_path: Path
) -> Prepared:
    if "DATABASE_URL" not in variables:
        return prepared
    key_id, secret = shell(variables, ROWS.format(url=provider.base_url))
    return Prepared(tmp_path, key_id, secret)


@pytest.fixture
def serve_two(variables: dict[str, str], customer: Prepared) -> Iterator[ServeTwo]:
    with ExitStack() as running:

        def start(**more: str) -> tuple[Served, Served]:
            one, other = Served({**variables, **more}), Served({**variables, **more})
            return running.enter_context(one), running.enter_context(other)

        yield start


def send(served: Served, customer: Prepared, door: str, text: str, *, stream: bool) -> Wire:
    client = Wire(served.root_url)
    body = question(door, f"sandbox-{door}", text, stream)
    client.send(wire.request(door, customer, body, idempotency_key=f"order-{door}"))
    return client


def test_fifty_at_once_over_two_processes_are_one_call_upstream(
    serve_two: ServeTwo, customer: Prepared, provider: SandboxServer
) -> None:
    servers = serve_two()
    for door, stream in (("chat", False), ("responses", True)):
        provider.calls.clear()

        def ask(served: Served, door: str = door, stream: bool = stream) -> Answer:
            with send(served, customer, door, "[wait=300] Hi", stream=stream) as client:
                return client.answer()

        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(ask, servers * 25))

        assert [answer.status for answer in answers] == [200] * 50
        assert len({answer.body for answer in answers}) == 1
        assert all(answer.is_whole for answer in answers)
        assert sum("idempotent-replayed" in answer.headers for answer in answers) == 49
        assert len(provider.calls) == 1


def test_a_failure_is_told_in_both_processes_and_frees_the_key(
    serve_two: ServeTwo, customer: Prepared, provider: SandboxServer
) -> None:
    one, other = serve_two(TOLLGATE_DRAIN_SECONDS="0.2", TOLLGATE_COMMIT_SECONDS="0.2")
    owner = send(one, customer, "responses", "[chunks=2000] [pace=20]", stream=True)
    owner.wait_for(b"response.output_text.delta")
    joiner = send(other, customer, "responses", "[chunks=2000] [pace=20]", stream=True)
    joiner.wait_for(SIGN_OF_LIFE)
    one.signal()

    failed, told = owner.answer(), joiner.answer()

    assert without_keepalives(told.body) == without_keepalives(failed.body)
    assert "shutting down" in told.events[-1]["response"]["error"]["message"]
    again = send(other, customer, "responses", "[chunks=3]", stream=True).answer()
    assert again.events[-1]["type"] == "response.completed"
    assert len(provider.calls) == 2


@pytest.mark.long
def test_when_its_process_is_killed_the_next_retry_makes_the_call(
    serve_two: ServeTwo, customer: Prepared, provider: SandboxServer
) -> None:
    one, other = serve_two()
    text = "[chunks=30] [pace=600000]"
    owner = send(one, customer, "responses", text, stream=True)
    owner.wait_for(b"response.output_text.delta")
    joiner = send(other, customer, "responses", text, stream=True)
    for pid in (one.pid, *one.children):
        kill(pid, signal.SIGKILL)
    eventually(lambda: len(provider.calls) == 2)
    provider.hurry()

    answer = joiner.answer()

    assert answer.events[-1]["type"] == "response.completed"
    assert len(provider.calls) == 2
