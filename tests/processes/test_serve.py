"""`manage.py serve` from outside: drain, restarts, helpers, revocation, and readers that do not read."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from bench.processes import free_port
from gateway_project.lib.announcements import CHANNEL
from gateway_project.sandbox import SandboxServer
from tests.plugins.tiers import by_tier, sampled
from tests.processes.conftest import ROWS, Prepared, Serve
from tests.processes.served import (
    REDIS_AWAY,
    Served,
    environment,
    eventually,
    held_back,
    is_running,
    kill,
    resident_bytes,
    shell,
)
from tests.support import wire
from tests.support.client import question
from tests.support.patience import GIVE_UP_SECONDS, NOISE_SECONDS, until
from tests.support.wire import Answer, Wire

SHORT = "[chunks=20] [pace=20]"
HELD = "[chunks=20] [pace=600000]"  # until the provider is told to hurry
LONG = "[chunks=100000] [pace=20]"
# Who waits for that has waited in vain long before.
NEVER_DRAINED = {"TOLLGATE_DRAIN_SECONDS": "600"}
OUTPUT = {"chat": b'"content":', "responses": b"response.output_text.delta"}


def stream(
    served: Served, prepared: Prepared, door: str, text: str, receive_buffer: int = 0
) -> Wire:
    """A client whose stream has been asked for."""
    client = Wire(served.root_url, receive_buffer)
    client.send(wire.request(door, prepared, question(door, f"sandbox-{door}", text, True)))
    return client


def running_stream(served: Served, prepared: Prepared, door: str, text: str) -> Wire:
    """A client whose stream gives output."""
    client = stream(served, prepared, door, text)
    client.wait_for(OUTPUT[door])
    return client


def assert_complete(door: str, answer: Answer) -> None:
    assert answer.is_whole
    assert answer.data[-1] == b"[DONE]"
    assert sum(1 for piece in wire.deltas(answer) if piece) == 20


def assert_ended_by_drain(door: str, answer: Answer) -> None:
    """Exactly one terminal event, which says so."""
    assert answer.status == 200
    if door == "chat":
        assert json.loads(answer.data[-1])["error"]["code"] == "server_shutting_down"
        assert answer.body.count(b'"error"') == 1
        assert b"[DONE]" not in answer.body
        assert not answer.is_whole
    else:
        assert answer.data[-1] == b"[DONE]"
        kinds = [event["type"] for event in answer.events]
        assert (kinds[-1], kinds.count("response.failed")) == ("response.failed", 1)
        assert "shutting down" in answer.events[-1]["response"]["error"]["message"]


# Drain


def test_a_drain_lets_short_streams_finish_and_a_second_signal_ends_each_long_one_once(
    serve: Serve, prepared: Prepared, provider: SandboxServer
) -> None:
    served = serve(**NEVER_DRAINED)
    doors = ["chat", "responses"] * 5
    with ThreadPoolExecutor(20) as pool:
        short = [running_stream(served, prepared, door, HELD) for door in doors]
        long = [running_stream(served, prepared, door, LONG) for door in doors]
        short_answers = [pool.submit(client.answer) for client in short]
        long_answers = [pool.submit(client.answer) for client in long]
        served.signal()
        eventually(lambda: served.ready().status_code == 503)

        assert served.ready().json()["checks"] == {
            "database": True,
            "spool": True,
            "accepting": False,
        }
        with Wire(served.root_url) as late:
            late.send(wire.request("chat", prepared, question("chat", "sandbox-chat", "Hi", True)))
            refused = late.answer()
            late.until_closed()
        assert (refused.status, refused.error["code"]) == (503, "server_shutting_down")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["connection"] == "close"

        provider.hurry(HELD)
        for door, answer in zip(doors, short_answers, strict=True):
            assert_complete(door, answer.result())
        assert not any(answer.done() for answer in long_answers)
        served.signal()
        for door, answer in zip(doors, long_answers, strict=True):
            assert_ended_by_drain(door, answer.result())
    assert served.wait() == 0
    for client in (*short, *long):
        client.socket.close()

    calls = [line for line in served.lines if line.get("event") == "call"]
    assert len({line["request_id"] for line in calls}) == len(calls) == 21
    assert [line["status"] for line in calls].count("completed") == 10
    assert [line["error"] for line in calls].count("server_shutting_down") == 11


def test_what_outlasts_the_drain_is_ended_once(serve: Serve, prepared: Prepared) -> None:
    served = serve(TOLLGATE_DRAIN_SECONDS="0.5")
    clients = [(door, running_stream(served, prepared, door, LONG)) for door in OUTPUT]
    served.signal()
    for door, client in clients:
        assert_ended_by_drain(door, client.answer())
    assert served.wait() == 0
    for _, client in clients:
        client.socket.close()


def test_an_idle_server_stops_at_once(serve: Serve) -> None:
    served = serve("--workers", "2", **NEVER_DRAINED)
    served.signal()
    assert served.wait() == 0
    assert "Traceback" not in served.stderr


def test_a_half_sent_upload_does_not_hold_the_drain(serve: Serve, prepared: Prepared) -> None:
    served = serve(**NEVER_DRAINED)
    request = wire.request("chat", prepared, question("chat", "sandbox-chat", "x" * 1000, True))
    with Wire(served.root_url) as client:
        client.send(request[:-100])
        running_stream(served, prepared, "chat", SHORT).socket.close()  # the upload was seen by now
        served.signal()
        refused = client.answer()
        assert (refused.status, refused.error["code"]) == (503, "server_shutting_down")
        assert served.wait() == 0


def test_a_client_that_takes_nothing_does_not_hold_the_exit(
    serve: Serve, prepared: Prepared, provider: SandboxServer
) -> None:
    served = serve(TOLLGATE_DRAIN_SECONDS="0.5", TOLLGATE_SEND_STALL_SECONDS="600")
    with stuck(served, prepared) as client:
        eventually(lambda: stands_still(provider))
        served.signal()
        assert served.wait() == 0
        client.until_closed()


def test_ctrl_c_drains_too(serve: Serve, prepared: Prepared) -> None:
    served = serve(TOLLGATE_DRAIN_SECONDS="5")
    with running_stream(served, prepared, "chat", SHORT) as client:
        os.killpg(served.pid, signal.SIGINT)  # as a terminal does
        assert_complete("chat", client.answer())
    assert served.wait() == 0


@pytest.mark.long
@pytest.mark.parametrize("milliseconds", sampled(range(0, 1600, 100), default=5, ci=5))
def test_a_signal_at_any_moment_of_the_start_ends_the_server(
    prepared: Prepared, milliseconds: int
) -> None:
    variables = environment(prepared.data_dir, REDIS_URL=REDIS_AWAY)
    served = Served(variables, "--workers", "3", starts_cold=True)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            served.wait(milliseconds / 1000)
        children = served.children
        served.signal()
        served.wait()
        assert not any(is_running(pid) for pid in children)
    finally:
        served.__exit__()


@pytest.mark.parametrize("attempt", range(by_tier(1, 1, 3)))
def test_a_signal_while_the_workers_are_being_forked_ends_them_all(
    prepared: Prepared, attempt: int
) -> None:
    served = Served(environment(prepared.data_dir, REDIS_URL=REDIS_AWAY), "--workers", "8")
    try:
        until(lambda: len(served.children) > attempt)
        served.signal()
        served.wait()
    finally:
        served.__exit__()


# Processes


def test_a_worker_that_died_is_replaced(serve: Serve, prepared: Prepared) -> None:
    served = serve("--workers", "2")
    first, second = served.workers
    kill(first, signal.SIGKILL)
    eventually(lambda: len(served.workers) == 2 and first not in served.workers)
    assert second in served.workers
    answers = [wire.ask(served.root_url, "chat", prepared, "sandbox-chat") for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    served.signal()
    assert served.wait() == 0
    assert "worker-1 ended with code -9; restarting" in served.stderr


def test_when_the_supervisor_was_killed_nothing_of_it_lives_on(
    serve: Serve, prepared: Prepared
) -> None:
    port = free_port()
    add_sandbox(prepared, port)
    served = serve("--workers", "2")
    eventually(lambda: is_sandbox(port))
    # Two workers, the ingester and the sandbox.
    eventually(lambda: len(served.children) == 4)
    children = served.children
    served.signal(signal.SIGKILL)
    eventually(lambda: not any(is_running(pid) for pid in children))
    served.wait()
    for used in (port, urlsplit(served.root_url).port):
        with socket.create_server(("127.0.0.1", used or 0)):
            pass


def test_streams_are_ended_properly_when_the_supervisor_was_killed(
    serve: Serve, prepared: Prepared
) -> None:
    served = serve(TOLLGATE_DRAIN_SECONDS="0.3")
    with running_stream(served, prepared, "responses", LONG) as client:
        served.signal(signal.SIGKILL)
        assert_ended_by_drain("responses", client.answer())


def test_a_port_in_use_is_told_in_words(prepared: Prepared) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        served = Served(environment(prepared.data_dir), "--port", str(taken.getsockname()[1]))
        assert served.wait() == 1
    assert "Cannot listen on 127.0.0.1" in served.stderr
    assert "Traceback" not in served.stderr


# The sandbox beside the workers


def is_sandbox(port: int) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/v1/models", timeout=1, trust_env=False)
    except httpx.HTTPError:
        return False
    return bool(answer.json()["data"][0]["owned_by"] == "sandbox")


ADD_SANDBOX = """
from tests.support import rows
url = "http://127.0.0.1:{port}/v1"
rows.alias("own", (rows.provider("chat", url, "own", vendor="sandbox"), "sandbox"))
print("null")
"""
SANDBOX_URL = """
import json
from routing.models import Provider
print(json.dumps(Provider.objects.get(vendor="sandbox").base_url))
"""


def add_sandbox(prepared: Prepared, port: int) -> None:
    shell(environment(prepared.data_dir), ADD_SANDBOX.format(port=port))


def sandbox_url(prepared: Prepared) -> str:
    return str(shell(environment(prepared.data_dir), SANDBOX_URL))


def answered(served: Served, prepared: Prepared) -> int:
    return wire.ask(served.root_url, "chat", prepared, "own").status


def test_the_sandbox_is_started_where_a_provider_points_and_restarted_when_it_dies(
    serve: Serve, prepared: Prepared
) -> None:
    port = free_port()
    add_sandbox(prepared, port)
    served = serve()
    eventually(lambda: answered(served, prepared) == 200)
    (sandbox,), (worker,) = served.named("sandbox"), served.workers
    kill(sandbox, signal.SIGKILL)
    eventually(lambda: answered(served, prepared) == 200 and sandbox not in served.children)
    assert worker in served.children
    served.signal()
    assert served.wait() == 0
    assert not is_sandbox(port)


def test_a_sandbox_whose_port_is_taken_moves(serve: Serve, prepared: Prepared) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        add_sandbox(prepared, port)
        served = serve()
        eventually(lambda: answered(served, prepared) == 200)
        assert sandbox_url(prepared) != f"http://127.0.0.1:{port}/v1"
        eventually(lambda: f"port {port} is in use; the sandbox uses" in served.stderr)


def test_a_sandbox_that_runs_already_is_shared(
    serve: Serve, prepared: Prepared, provider: SandboxServer
) -> None:
    add_sandbox(prepared, provider.port)
    served = serve()
    assert answered(served, prepared) == 200
    assert sandbox_url(prepared) == provider.base_url
    assert served.named("sandbox") == []


# Readers that do not read


def stuck(served: Served, prepared: Prepared) -> Wire:
    """A client of an endless stream that reads nothing, with a small buffer."""
    client = Wire(served.root_url, receive_buffer=4096)
    client.send(wire.request("chat", prepared, question("chat", "endless", "Hi", True)))
    return client


def stands_still(provider: SandboxServer, seconds: float = 0.3) -> bool:
    """Tell whether the provider's endless streams have begun and can send no more."""
    endless = [call for call in provider.calls if call.fault == "never-ending"]
    before = [call.text_bytes_sent for call in endless]
    try:
        until(lambda: [call.text_bytes_sent for call in endless] != before, seconds)
    except AssertionError:
        return bool(before) and all(before)
    return False


def stuck_readers(
    count: int, served: Served, prepared: Prepared, provider: SandboxServer
) -> list[Wire]:
    """So many more of them, once the provider gets rid of no more bytes: what is held for each has an end."""
    wanted = count + len(provider.calls)
    clients = [stuck(served, prepared) for _ in range(count)]
    eventually(lambda: len(provider.calls) == wanted and stands_still(provider, 0.2))
    return clients


def test_readers_that_do_not_read_cost_little_and_are_closed(
    serve: Serve, prepared: Prepared, provider: SandboxServer
) -> None:
    served = serve(TOLLGATE_SEND_STALL_SECONDS="1.5")
    (worker,) = served.workers
    clients = stuck_readers(5, served, prepared, provider)  # after them memory is warm
    memory = resident_bytes(worker)
    clients += stuck_readers(20, served, prepared, provider)
    # Each holds four reads of 64 KB of its upstream's socket: about 280 KB.
    assert resident_bytes(worker) - memory < 20 * 1024 * 1024

    answers = [wire.ask(served.root_url, "chat", prepared, "sandbox-chat") for _ in range(20)]
    assert {answer.status for answer in answers} == {200}

    endless = [call for call in provider.calls if call.fault == "never-ending"]
    eventually(lambda: all(call.ended == "client_closed" for call in endless))
    # The connections go too, although their clients still take nothing.
    eventually(lambda: sockets_of(worker) <= 5)
    for client in clients:
        client.socket.close()
    eventually(lambda: [line.get("status") for line in served.lines].count("client_gone") == 25)


def test_a_whole_answer_nobody_takes_is_given_up_too(serve: Serve, prepared: Prepared) -> None:
    served = serve(TOLLGATE_SEND_STALL_SECONDS="0.5")
    (worker,) = served.workers
    with Wire(served.root_url, receive_buffer=4096) as client:
        payload = question("chat", "sandbox-chat", "[size=20000000]", stream=False)
        client.send(wire.request("chat", prepared, payload))
        client.wait_for(b"HTTP/1.1 200")
        eventually(lambda: sockets_of(worker) <= 4)


def sockets_of(pid: int) -> int:
    """TCP connections a process holds, but those to the provider that are kept for reuse."""
    return sum(1 for file in Path(f"/proc/{pid}/fd").iterdir() if _is_established(file))


def _is_established(file: Path) -> bool:
    try:
        link = str(file.readlink())
    except FileNotFoundError:
        return False
    inode = link.removeprefix("socket:[").removesuffix("]")
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(row[9] == inode and row[3] != "0A" for row in rows)


# Revocation

REVOKE = """
import json, time
from tenants.keys import keys
from tenants.models import ApiKey
keys.revoke(ApiKey.objects.get(public_id={key_id!r}))
print(json.dumps(time.monotonic()))
"""
CONNECTIONS = 8  # four on each of two workers


class Load:
    """Answers as they come: when, and with which status."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []
        self.answered: set[asyncio.StreamReader] = set()  # whose connections are those of a worker
        self.is_over = False
        self._came = asyncio.Event()

    def note(self, reader: asyncio.StreamReader, status: int) -> None:
        self.answered.add(reader)
        self.seen.append((time.monotonic(), status))
        self._came.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while not holds():
                self._came.clear()
                await self._came.wait()

    async def settled(self) -> None:
        """Forget what was until every connection is answered, and nothing is refused any more."""
        self.seen.clear()
        self.answered.clear()
        await self.until(lambda: len(self.answered) == CONNECTIONS and self.latest == {200})
        self.seen = self.seen[-10 * CONNECTIONS :]

    @property
    def latest(self) -> set[int]:
        return {status for _, status in self.seen[-10 * CONNECTIONS :]}

    def assert_revoked_within(self, seconds: float, revoked_at: float) -> None:
        assert {status for _, status in self.seen} == {200, 401}
        last_success = max(at for at, status in self.seen if status == 200)
        assert last_success - revoked_at <= seconds


async def ask_on(served: Served, prepared: Prepared, door: str, load: Load) -> None:
    """Ask again and again over one connection."""
    address = urlsplit(served.root_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    content = wire.request(door, prepared, question(door, f"sandbox-{door}", "Hi", False))
    try:
        while not load.is_over:
            writer.write(content)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            load.note(reader, int(head.split()[1]))
    finally:
        writer.close()


async def revoked_under_load(
    served: Served, prepared: Prepared, variables: dict[str, str]
) -> tuple[float, Load]:
    """Keep all workers busy, revoke the key in another process; when that was, and all answers."""
    load = Load()
    script = REVOKE.format(key_id=prepared.key_id)
    with held_back(variables, script) as revoke:
        revoked_at = await revoked_during(load, served, prepared, revoke)
    return revoked_at, load


async def revoked_during(
    load: Load, served: Served, prepared: Prepared, revoke: Callable[[], float]
) -> float:
    async with asyncio.TaskGroup() as group:
        for worker in served.workers:
            with served.alone(worker):
                wanted = len(load.answered) + 4
                for door in ("chat", "responses") * 2:
                    group.create_task(ask_on(served, prepared, door, load))
                await load.until(lambda: len(load.answered) == wanted)  # noqa: B023
        await load.settled()
        revoked_at = await asyncio.to_thread(revoke)
        await load.until(lambda: load.latest == {401})
        load.is_over = True
    return revoked_at


@pytest.mark.some_of("revocation on several workers", keep=2)
def test_a_revoked_key_ends_within_a_second_on_two_workers(
    serve: Serve, prepared: Prepared
) -> None:
    served = serve("--workers", "2")
    variables = environment(prepared.data_dir)
    revoked_at, load = asyncio.run(revoked_under_load(served, prepared, variables))
    load.assert_revoked_within(1.0 + NOISE_SECONDS, revoked_at)


@pytest.mark.redis
@pytest.mark.some_of("revocation on several workers", keep=2)
def test_with_redis_a_change_is_noticed_without_waiting_for_the_poll(
    serve: Serve, prepared: Prepared
) -> None:
    url = os.environ["REDIS_URL"]
    settings = {"REDIS_URL": url, "TOLLGATE_REVISION_POLL_SECONDS": "30"}
    with redis.Redis.from_url(url) as server:
        others = server.pubsub_numsub(CHANNEL)[0][1]
        served = serve("--workers", "2", **settings)
        eventually(lambda: server.pubsub_numsub(CHANNEL)[0][1] == others + 2)
    variables = environment(prepared.data_dir, **settings)
    revoked_at, load = asyncio.run(revoked_under_load(served, prepared, variables))
    load.assert_revoked_within(1.0 + NOISE_SECONDS, revoked_at)


@pytest.mark.redis
@pytest.mark.some_of("revocation on several workers", keep=2)
def test_without_redis_at_hand_the_poll_notices(serve: Serve, prepared: Prepared) -> None:
    settings = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    served = serve("--workers", "2", **settings)
    variables = environment(prepared.data_dir, **settings)
    revoked_at, load = asyncio.run(revoked_under_load(served, prepared, variables))
    load.assert_revoked_within(1.0 + NOISE_SECONDS, revoked_at)
    eventually(lambda: "falling back to polling" in served.stderr)


@pytest.mark.postgres
@pytest.mark.some_of("revocation on several workers", keep=2)
def test_two_workers_serve_on_postgres(
    tmp_path: Path, migrated_postgres: str, provider: SandboxServer
) -> None:
    provider.calls.clear()
    away = {"REDIS_URL": REDIS_AWAY, **NEVER_DRAINED}
    variables = environment(tmp_path, DATABASE_URL=migrated_postgres, **away)
    key_id, secret = shell(variables, ROWS.format(url=provider.base_url))
    prepared = Prepared(tmp_path, key_id, secret)
    with Served(variables, "--workers", "2") as served:
        assert wire.ask(served.root_url, "responses", prepared, "sandbox-responses").status == 200
        revoked_at, load = asyncio.run(revoked_under_load(served, prepared, variables))
        load.assert_revoked_within(1.0 + NOISE_SECONDS, revoked_at)
        served.signal()
        assert served.wait() == 0
        assert "Traceback" not in served.stderr


# Workers that are stuck


def told_of_stuck(served: Served) -> list[str]:
    lines = [line for line in served.lines if "message" in line]
    return [line["message"] for line in lines if "has not answered" in line["message"]]


FREEZING = {"DJANGO_SETTINGS_MODULE": "tests.processes.freezing"}


def test_a_worker_that_is_stuck_is_replaced_and_says_where_it_was(
    serve: Serve, prepared: Prepared
) -> None:
    served = serve(**FREEZING)
    (stuck,) = served.workers
    kill(stuck, signal.SIGUSR1)
    eventually(lambda: not is_running(stuck))
    eventually(lambda: served.workers not in ([], [stuck]))
    eventually(lambda: served.is_ready)
    eventually(lambda: len(told_of_stuck(served)) == 1)
    assert "in turn_for_ever" in told_of_stuck(served)[0]
    # One that is only quiet is left alone.
    (replacement,) = served.workers
    assert is_running(replacement)
    served.signal()
    assert served.wait() == 0


def test_an_ingester_that_stands_still_is_replaced(serve: Serve, prepared: Prepared) -> None:
    served = serve(**FREEZING)
    stopped = served.helper("ingester")
    kill(stopped, signal.SIGSTOP)
    eventually(lambda: served.named("ingester") not in ([], [stopped]))
    eventually(lambda: len(told_of_stuck(served)) == 1)
    assert told_of_stuck(served)[0].startswith("ingester ")
    assert served.ready().status_code == 200
    served.signal()
    assert served.wait() == 0


@pytest.mark.long
def test_a_worker_that_cannot_hear_the_signal_is_killed_when_its_time_is_over(
    serve: Serve, prepared: Prepared
) -> None:
    served = serve(TOLLGATE_DRAIN_SECONDS="0.2", TEST_PATIENCE="600", **FREEZING)
    (stuck,) = served.workers
    kill(stuck, signal.SIGSTOP)
    served.signal()
    assert served.wait() == 0
    assert any("has not ended in time" in line["message"] for line in served.lines)
