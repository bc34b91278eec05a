"""WebSockets of `manage.py serve` from outside: drain, revocation, readers that do not read; and daphne's."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bench.processes import free_port
from gateway_project.sandbox import SandboxServer
from tests.processes.conftest import Prepared, Serve
from tests.processes.served import Program, Served, environment, eventually, shell
from tests.processes.test_serve import sockets_of, stands_still
from tests.support import grammar
from tests.support.patience import NOISE_SECONDS
from tests.support.sockets import DeafClient, Socket, opened, text_of

SHORT = "[chunks=20] [pace=20]"
LONG = "[chunks=100000] [pace=20]"
REVOKE = """
import json
import time
from tenants.keys import keys
from tenants.models import ApiKey
keys.revoke(ApiKey.objects.get(public_id={key_id!r}))
print(json.dumps(time.time()))
"""


def headers(prepared: Prepared) -> dict[str, str]:
    return {"authorization": f"Bearer {prepared.secret}"}


def ended(served: Served) -> list[float]:
    """Return when sockets ended, according to the gateway's log."""
    return [line["time"] for line in served.lines if line.get("event") == "socket"]


def statuses_of_calls(served: Served) -> list[str]:
    return [line["status"] for line in served.lines if line.get("event") == "call"]


def close_code(ws: Socket) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        ws.receive()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


def test_a_drain_closes_idle_sockets_at_once_and_the_others_when_they_are_done(
    serve: Serve, prepared: Prepared, provider: SandboxServer
) -> None:
    served = serve(TOLLGATE_DRAIN_SECONDS="4")
    with ExitStack() as stack:
        idle, short, long = (
            stack.enter_context(opened(served, headers(prepared))) for _ in range(3)
        )
        short.create(input=SHORT)
        long.create(input=LONG)
        begun = [short.receive()], [long.receive()]
        asked_at = served.signal()

        assert close_code(idle) == 1012
        assert time.monotonic() - asked_at < 1.0 + NOISE_SECONDS
        assert grammar.check(begun[0] + short.events())["status"] == "completed"
        assert close_code(short) == 1012
        failed = grammar.check(begun[1] + long.events())
        assert "shutting down" in failed["error"]["message"]
        assert close_code(long) == 1012
    assert served.wait() == 0
    assert time.monotonic() - asked_at < 4.0 + 2.0 + NOISE_SECONDS
    assert "Traceback" not in served.stderr
    lines = [line for line in served.lines if line.get("event") == "socket"]
    assert [line["code"] for line in lines] == [1012] * 3


def test_a_second_signal_ends_the_turns_at_once(serve: Serve, prepared: Prepared) -> None:
    served = serve()
    with opened(served, headers(prepared)) as ws:
        ws.create(input=LONG)
        begun = [ws.receive()]
        served.signal()
        eventually(lambda: served.ready().status_code == 503)
        served.signal()
        assert grammar.check(begun + ws.events())["status"] == "failed"
        assert close_code(ws) == 1012
    assert served.wait() == 0


def test_a_revoked_key_ends_its_sockets_on_every_worker_within_a_second(
    serve: Serve, prepared: Prepared
) -> None:
    served = serve("--workers", "2")
    with ExitStack() as stack:
        sockets: list[Socket] = []
        for worker in served.workers:
            with served.alone(worker):
                sockets += [stack.enter_context(opened(served, headers(prepared))) for _ in "12"]
        eventually(lambda: [sockets_of(worker) for worker in served.workers] == [2, 2])
        script = REVOKE.format(key_id=prepared.key_id)
        revoked_at = shell(environment(prepared.data_dir), script)
        for ws in sockets:
            assert ws.error()["status"] == 401
            assert close_code(ws) == 1008
        eventually(lambda: len(ended(served)) == len(sockets))
        assert max(ended(served)) - revoked_at < 1.0 + NOISE_SECONDS
    with pytest.raises(InvalidStatus), opened(served, headers(prepared)):
        pass


def test_sockets_nobody_reads_are_given_up(
    serve: Serve, prepared: Prepared, provider: SandboxServer
) -> None:
    served = serve(TOLLGATE_SEND_STALL_SECONDS="1")
    (worker,) = served.workers
    clients = [DeafClient(served, prepared) for _ in range(10)]
    for client in clients:
        client.create("endless")
    eventually(lambda: len(provider.calls) == 10 and stands_still(provider, 0.2))
    eventually(lambda: all(call.ended == "client_closed" for call in provider.calls))
    # The connections go too, although their clients still take nothing.
    eventually(lambda: sockets_of(worker) <= 2)
    for client in clients:
        client.socket.close()
    # It was the gateway that gave them up, or the kernel on its behalf, whichever noticed first.
    eventually(lambda: statuses_of_calls(served) == ["client_gone"] * 10)


def test_a_client_that_answers_no_ping_is_given_up(serve: Serve, prepared: Prepared) -> None:
    served = serve(TOLLGATE_KEEPALIVE_SECONDS="0.2", TOLLGATE_SEND_STALL_SECONDS="0.5")
    with DeafClient(served, prepared) as client:
        client.until_closed()
    _, _, frames = client.received.partition(b"\r\n\r\n")
    assert frames[0] == 0x89  # a ping
    assert b"keepalive ping timeout" in frames


def test_the_most_talkative_log_tells_neither_keys_nor_what_was_said(
    serve: Serve, prepared: Prepared
) -> None:
    served = serve(TOLLGATE_LOG_LEVEL="DEBUG")
    with opened(served, headers(prepared)) as ws:
        ws.turn(input="Between you and me")
    eventually(lambda: len(ended(served)) == 1)
    assert prepared.secret not in served.stderr
    assert "Between you and me" not in served.stderr


# Development


@dataclass(frozen=True, slots=True)
class Developing:
    root_url: str


@pytest.fixture
def runserver(prepared: Prepared) -> Iterator[Developing]:
    port = free_port()
    variables = environment(prepared.data_dir)

    def listens() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return False
        return True

    with Program(variables, "runserver", "--noreload", f"127.0.0.1:{port}") as server:
        eventually(listens)
        yield Developing(f"http://127.0.0.1:{port}")
        server.stop()


def test_the_development_server_serves_sockets_too(
    runserver: Developing, prepared: Prepared, provider: SandboxServer
) -> None:
    with opened(runserver, headers(prepared)) as ws:
        first = ws.turn("sandbox-chat", store=False)
        second = ws.turn("sandbox-chat", previous_response_id=first["id"], store=False)
        ws.create(input=LONG)
        ws.receive()
    assert text_of(second) == "You said: Hello"
    eventually(lambda: provider.calls[-1].ended == "client_closed")
    with pytest.raises(InvalidStatus) as caught, opened(runserver, {}):
        pass
    assert caught.value.response.status_code == 403
