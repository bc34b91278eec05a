"""One `serve` takes the port over from another while clients ask, and no call is refused, reset or cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from gateway_project.sandbox import SandboxServer
from tenants.ledger.row_ids import request_id_of
from tests.plugins.tiers import by_tier
from tests.processes.conftest import Prepared, Serve
from tests.processes.money_watch import Reader
from tests.processes.served import Program, Served, environment, eventually
from tests.processes.test_serve import (
    LONG,
    OUTPUT,
    SHORT,
    add_sandbox,
    answered,
    assert_complete,
    running_stream,
)
from tests.support import warm, wire
from tests.support.client import PATHS, async_client_of, question
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.wire import Wire

STAYS = {"TOLLGATE_DRAIN_SECONDS": "20"}


def port_of(served: Served) -> str:
    return served.root_url.rpartition(":")[2]


def following(served: Served, *arguments: str, **variables: str) -> Served:
    """Start a gateway that takes over from this one; it is ready once entered."""
    settings = {**served.variables, **variables}
    return Served(settings, *arguments, "--port", port_of(served), "--takeover")


def kept(prepared: Prepared) -> bytes:
    """A request whose connection its client would like to use again."""
    return wire.request("chat", prepared, question("chat", "sandbox-chat", "Hi", False))


# Many calls through many deploys

CALLS = by_tier(300, 400, 5000)
DEPLOYS = by_tier(3, 4, 30)
# As in life, most of the time is the upstream's.
KINDS = {"json": "[wait=300]", "stream": "[chunks=12] [pace=40]"}


class Calls:
    """Clients that ask until told to stop, and what they were answered."""

    def __init__(self, served: Served, prepared: Prepared) -> None:
        self._client = async_client_of(served, prepared)
        self.ids: list[str] = []
        self.faults: list[str] = []
        self.is_over = False
        self._came = asyncio.Event()
        self.connections_closed = 0

    async def ask_on(self, door: str, kind: str, *, keeps_alive: bool) -> None:
        body = question(door, f"sandbox-{door}", KINDS[kind], kind == "stream")
        headers = {} if keeps_alive else {"connection": "close"}
        while not self.is_over:
            try:
                answer = await self._client.post(PATHS[door], json=body, headers=headers)
            except httpx.HTTPError as error:
                self.faults.append(f"{door} {kind}: {error!r}")
                continue
            is_whole = kind == "json" or answer.text.rstrip().endswith("[DONE]")
            if answer.status_code != 200 or not is_whole:
                self.faults.append(f"{door} {kind}: {answer.status_code} {answer.text[-300:]}")
            self.ids.append(answer.headers["x-request-id"])
            self._came.set()
            self.connections_closed += keeps_alive and answer.headers.get("connection") == "close"

    async def until_answered(self, wanted: int) -> None:
        """Wait until so many have been answered in all."""
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while len(self.ids) < wanted:
                self._came.clear()
                await self._came.wait()

    async def close(self) -> None:
        await self._client.aclose()


async def deployed_again_and_again(
    first: Served, prepared: Prepared, running: ExitStack
) -> tuple[Served, Calls]:
    calls, serving = Calls(first, prepared), first
    async with asyncio.TaskGroup() as group:
        for door in PATHS:
            for kind in KINDS:
                for number in range(4):
                    keeps_alive = number % 2 == 0
                    group.create_task(calls.ask_on(door, kind, keeps_alive=keeps_alive))
        for number in range(1, DEPLOYS + 1):
            following_one = following(serving)
            await asyncio.to_thread(running.enter_context, following_one)
            assert await asyncio.to_thread(serving.wait) == 0
            serving = following_one
            await calls.until_answered(number * CALLS // DEPLOYS)
        calls.is_over = True
    await calls.close()
    return serving, calls


LEDGER = "SELECT id, status FROM tenants_usagerow"


@pytest.mark.some_of("takeovers under load")
def test_calls_go_on_through_deploys_and_each_is_booked_once(
    serve: Serve, prepared: Prepared
) -> None:
    first = serve(**STAYS)
    with ExitStack() as running:
        last, calls = asyncio.run(deployed_again_and_again(first, prepared, running))
        assert calls.faults == []
        assert len(calls.ids) >= CALLS
        # Deploys were noticed by those who keep their connections, and in no other way.
        assert calls.connections_closed >= DEPLOYS

        with closing(Reader(last.variables)) as query:

            def booked() -> Counter[tuple[str, str]]:
                rows = query(LEDGER) if len(query(LEDGER)) >= len(calls.ids) else []
                return Counter((request_id_of(UUID(row_id)), status) for row_id, status in rows)

            expected = Counter((request_id, "completed") for request_id in calls.ids)
            eventually(lambda: booked() == expected)


# One deploy


def test_what_runs_ends_where_it_began_while_the_new_one_answers(
    serve: Serve, prepared: Prepared
) -> None:
    old = serve(TOLLGATE_DRAIN_SECONDS="3")
    short = running_stream(old, prepared, "responses", SHORT)
    long = running_stream(old, prepared, "chat", LONG)
    with following(old) as new:
        assert_complete("responses", short.answer())
        assert wire.ask(new.root_url, "chat", prepared, "sandbox-chat").status == 200
        # What takes longer than the drain is ended as at every other end of a server.
        assert b"server_shutting_down" in long.answer().data[-1]
        assert old.wait() == 0
        assert new.ready().status_code == 200
        new.signal()
        assert new.wait() == 0
    run = Path(new.variables["TOLLGATE_DATA_DIR"], "run")
    assert list(run.iterdir()) == []


def test_a_connection_that_is_kept_is_answered_once_more_and_told_to_close(
    serve: Serve, prepared: Prepared
) -> None:
    old = serve(**STAYS)
    with Wire(old.root_url) as idle, Wire(old.root_url) as asking, Wire(old.root_url) as probe:

        def is_told_to_close(client: Wire) -> bool:
            client.send(kept(prepared))
            return client.answer().headers.get("connection") == "close"

        for client in (idle, asking):
            assert not is_told_to_close(client)
        asking.send(kept(prepared)[:-10])  # half a request, when the port is taken over
        with following(old):
            # A worker and what reads the log hear of it from the supervisor, either first.
            eventually(lambda: is_told_to_close(probe))
            eventually(lambda: "has taken over" in old.stderr)
            asking.send(kept(prepared)[-10:])
            idle.send(wire.request("chat", prepared, question("chat", "sandbox-chat", SHORT, True)))
            idle.wait_for(OUTPUT["chat"])
            old.signal()  # the first one: it asks for what is being done anyway
            for client in (asking, idle):
                answer = client.answer()
                assert (answer.status, answer.headers.get("connection")) == (200, "close")
                client.until_closed()
            assert_complete("chat", answer)
            assert old.wait() == 0


def test_one_that_does_not_become_ready_leaves_the_port_to_the_other(
    serve: Serve, prepared: Prepared
) -> None:
    old = serve()
    running = running_stream(old, prepared, "responses", SHORT)
    # No call could be written down: a worker that is not ready accepts no connection.
    for variables, reason in (
        ({"TOLLGATE_SPOOL_LEAST_FREE_PERCENT": "100"}, "worker-1 did not become ready"),
        ({"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}, "The database cannot be reached"),
    ):
        failing = following(old, **variables)
        assert failing.wait() == 1
        assert reason in failing.stderr
        assert "Traceback" not in failing.stderr
        assert wire.ask(old.root_url, "chat", prepared, "sandbox-chat").status == 200
    assert_complete("responses", running.answer())
    running.socket.close()  # or the old one would wait for its next request
    # And one that is killed on the way.
    killed = following(old, "--workers", "3", REDIS_URL="redis://127.0.0.1:1/0")
    try:
        eventually(lambda: len(killed.workers) == 3)
        killed.signal(signal.SIGKILL)
    finally:
        killed.wait()
    with following(old) as new:
        assert old.wait() == 0
        assert wire.ask(new.root_url, "chat", prepared, "sandbox-chat").status == 200


def test_a_takeover_of_nothing_is_a_start(prepared: Prepared) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = environment(prepared.data_dir)
    with Served(variables, "--port", str(port), "--takeover") as served:
        # A second one that does not take over is told that the port is in use, as ever.
        other = Served(variables, "--port", str(port))
        assert other.wait() == 1
        assert "--takeover" in other.stderr
        assert served.ready().status_code == 200


def test_the_sandbox_goes_on_with_the_one_that_takes_over(serve: Serve, prepared: Prepared) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    add_sandbox(prepared, port)
    old = serve()
    eventually(lambda: answered(old, prepared) == 200)
    with following(old) as new:
        assert old.wait() == 0
        new.helper("sandbox")
        assert answered(new, prepared) == 200


# systemd


@contextlib.contextmanager
def notified(path: Path) -> Iterator[socket.socket]:
    """Listen to what a service tells its manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(GIVE_UP_SECONDS)
        yield manager


@contextlib.contextmanager
def activated(listener: socket.socket, variables: dict[str, str]) -> Iterator[Program]:
    """Start a gateway as systemd does one with a socket unit."""
    with Program(variables, "serve", "--port", "1", listener=listener) as program:
        yield program


def test_with_a_socket_of_systemd_a_restart_refuses_nobody(
    prepared: Prepared, provider: SandboxServer, tmp_path: Path
) -> None:
    variables = environment(prepared.data_dir, NOTIFY_SOCKET=str(tmp_path / "notify"))
    with (
        notified(tmp_path / "notify") as manager,
        socket.create_server(("127.0.0.1", 0), backlog=64) as listener,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with activated(listener, variables) as first:
            assert manager.recv(100) == b"READY=1"
            with Wire(url) as idle:
                idle.send(kept(prepared))
                assert idle.answer().status == 200
                first.signal(signal.SIGTERM)
                assert manager.recv(100) == b"STOPPING=1"
                assert first.end() == 0
                idle.until_closed()
        with Wire(url) as waiting:
            waiting.send(kept(prepared))  # to nobody, so far
            with activated(listener, variables) as second:
                assert waiting.answer().status == 200
                assert manager.recv(100) == b"READY=1"
                pid = reloaded(variables, manager)
                assert second.end() == 0
            try:
                assert wire.ask(url, "chat", prepared, "sandbox-chat").status == 200
            finally:
                os.kill(pid, signal.SIGTERM)
                assert manager.recv(100) == b"STOPPING=1"


def reloaded(variables: dict[str, str], manager: socket.socket) -> int:
    """Reload as the unit does; return the process that the service manager takes for the service's then."""
    command = ["manage.py", "serve", "--takeover", "--detach", "--port", "1"]
    ended = warm.run(command, variables, GIVE_UP_SECONDS)
    assert ended.returncode == 0, ended.stderr
    told = {manager.recv(100), manager.recv(100)}
    (main,) = told - {b"READY=1"}
    return int(main.removeprefix(b"MAINPID="))
