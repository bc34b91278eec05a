"""A connection ends when its time is over, its key ends, the server drains, or its client stops reading."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
import pytest
from django.conf import settings
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway_project.lib import clock
from gateway_project.sandbox.faults import PREFIX
from responses_api.models import StoredResponse
from tenants.keys import caller, keys
from tests.plugins.tiers import by_tier
from tests.support import grammar, rows
from tests.support.patience import GIVE_UP_SECONDS, NOISE_SECONDS, growing, until
from tests.support.sockets import DeafClient, Socket, opened

Json = dict[str, Any]

LONG = "[chunks=1000] [pace=10]"
# Of this many words only the first comes before the sandbox is told to hurry.
HELD = "[chunks=30] [pace=600000]"
PROTOCOLS = ("chat", "responses", "anthropic")
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def closed(ws: Socket) -> tuple[int, str]:
    """Code and reason with which the connection is closed next."""
    with pytest.raises(ConnectionClosed) as caught:
        ws.receive()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def started(ws: Socket, model: str = "sandbox-responses", **fields: Any) -> list[Json]:
    """A long response that has begun: its first events."""
    ws.create(model, **{"input": LONG, **fields})
    events = [ws.receive()]
    while not events[-1]["type"].endswith(".delta"):
        events.append(ws.receive())
    return events


# Its time is over


def test_an_idle_connection_is_told_when_its_time_is_over(gateway, acme):
    gateway.limit_sockets(lifetime=0.1)
    with opened(gateway, acme.headers) as ws:
        error = ws.error()
        assert (error["status"], error["error"]["code"]) == (
            400,
            "websocket_connection_limit_reached",
        )
        assert closed(ws) == (1001, "websocket_connection_limit_reached")


@each_protocol
def test_a_running_response_may_finish_and_no_other_begins(gateway, acme, protocol):
    with opened(gateway, acme.headers) as ws:
        events = started(ws, f"sandbox-{protocol}", input=HELD)
        ws.create(f"sandbox-{protocol}")
        gateway.sockets_time_is_over()
        gateway.sandbox.hurry()
        assert grammar.check(events + ws.events())["status"] == "completed"
        for _ in ("the turn that waited", "the connection"):
            assert ws.error()["error"]["code"] == "websocket_connection_limit_reached"
        assert closed(ws)[0] == 1001
    gateway.idle()
    assert len(gateway.sandbox.calls) == 1


def test_a_response_that_takes_longer_is_ended(gateway, acme, outcomes):
    gateway.limit_sockets(grace=0.1)
    with opened(gateway, acme.headers) as ws:
        events = started(ws)
        gateway.sockets_time_is_over()
        assert grammar.check(events + ws.events())["status"] == "failed"
        assert ws.error()["error"]["code"] == "websocket_connection_limit_reached"
        assert closed(ws)[0] == 1001
    (line,) = [line for line in outcomes() if line["event"] == "call"]
    assert (line["status"], line["usage_source"]) == ("failed", "counted")


# Its key is


def revoke(acme) -> None:
    keys.revoke(acme.key)


def suspend(acme) -> None:
    acme.tenant.status = "suspended"
    acme.tenant.save()


def expire(acme) -> None:
    acme.key.expires_at = clock.now()
    acme.key.save()


def narrow(acme) -> None:
    acme.key.scopes = ["models"]
    acme.key.save()


def move(acme) -> None:
    acme.key.allowed_networks = ["192.0.2.0/24"]
    acme.key.save()


ENDS = {revoke: 401, suspend: 401, expire: 401, narrow: 403, move: 403}


@pytest.mark.persistence
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_an_idle_connection_ends_with_its_key(gateway, acme, end):
    with opened(gateway, acme.headers) as ws:
        assert ws.turn()["status"] == "completed"
        end(acme)
        ended_at = time.monotonic()
        error = ws.error()
        assert error["status"] == ENDS[end]
        assert closed(ws) == (1008, error["error"]["code"])
        assert time.monotonic() - ended_at < 1.0 + NOISE_SECONDS


@pytest.mark.persistence
@each_protocol
def test_a_running_response_ends_properly_when_its_key_does(gateway, acme, outcomes, protocol):
    with opened(gateway, acme.headers) as ws:
        events = started(ws, f"sandbox-{protocol}")
        ws.create(f"sandbox-{protocol}")
        keys.revoke(acme.key)
        assert grammar.check(events + ws.events())["status"] == "failed"
        for _ in ("the turn that waited", "the connection"):
            assert ws.error()["status"] == 401
        assert closed(ws)[0] == 1008
    statuses = [line["status"] for line in outcomes() if line["event"] == "call"]
    assert statuses == ["failed", "refused"]
    (call,) = gateway.sandbox.calls
    assert call.ended == "client_closed"


@pytest.mark.persistence
def test_a_key_that_expires_by_itself_ends_its_connection(gateway, acme):
    for seconds in growing(0.4):
        acme.key.expires_at = clock.now() + timedelta(seconds=seconds)
        acme.key.save()
        gateway.catch_up()
        with contextlib.suppress(InvalidStatus), opened(gateway, acme.headers) as ws:
            assert ws.error()["error"]["code"] == "invalid_api_key"
            assert closed(ws)[0] == 1008
            return


def is_past(moment: datetime) -> bool:
    return clock.now() > moment


@pytest.mark.persistence
def test_an_expiry_that_was_put_off_counts(gateway, acme):
    sockets = gateway.worker.services.registry.sockets
    for seconds in growing(1.2):
        acme.key.expires_at = expires_at = clock.now() + timedelta(seconds=seconds)
        acme.key.save()
        with contextlib.suppress(InvalidStatus), opened(gateway, acme.headers) as ws:
            acme.key.expires_at = None
            acme.key.save()
            gateway.catch_up()
            until(lambda: not sockets.is_checking_keys)
            if clock.now() < expires_at:
                until(partial(is_past, expires_at + timedelta(seconds=0.1)))
                assert ws.turn()["status"] == "completed"
                return


@pytest.mark.persistence
def test_other_keys_keep_their_connections_at_one_query_a_key(gateway, acme, monkeypatch):
    other = rows.customer("other")
    looked_up: list[str] = []
    find = caller.find

    def counted(key: str) -> Any:
        looked_up.append(key)
        return find(key)

    monkeypatch.setattr(caller, "find", counted)
    with (
        opened(gateway, acme.headers) as mine,
        opened(gateway, other.headers) as one,
        opened(gateway, other.headers) as two,
        opened(gateway, other.headers) as three,
    ):
        sockets = gateway.worker.services.registry.sockets
        gateway.catch_up()  # what made the customers is a change of its own, and no part of this
        until(lambda: not sockets.is_checking_keys)
        before = list(looked_up)
        keys.revoke(acme.key)
        assert mine.error()["status"] == 401
        until(lambda: not sockets.is_checking_keys)
        assert sorted(looked_up[len(before) :]) == sorted([acme.secret, other.secret])
        assert [ws.turn()["status"] for ws in (one, two, three)] == ["completed"] * 3
        assert len(looked_up) == len(before) + 2


def test_a_client_that_does_not_read_cannot_put_off_the_end_of_its_key(gateway, acme, outcomes):
    provider = rows.provider("responses", gateway.sandbox.base_url, "endless")
    rows.alias("endless", (provider, PREFIX + "never-ending"))
    with DeafClient(gateway, acme) as client:
        client.create("endless")
        until(lambda: is_blocked(gateway))
        keys.revoke(acme.key)
        revoked_at = time.monotonic()
        until(lambda: len(gateway.worker.services.registry.sockets) == 0)
        assert time.monotonic() - revoked_at < 1.0 + NOISE_SECONDS
        until(lambda: gateway.sandbox.calls[-1].ended == "client_closed")


# The server drains


def drain(gateway, seconds: float, grace: float = 1.0) -> Any:
    registry = gateway.worker.services.registry
    return asyncio.run_coroutine_threadsafe(registry.drain(seconds, grace), gateway.loop)


def test_an_idle_connection_is_closed_when_the_drain_begins(gateway, ws):
    drain(gateway, GIVE_UP_SECONDS).result(GIVE_UP_SECONDS)
    assert closed(ws) == (1012, "server_shutting_down")


@each_protocol
def test_a_running_response_may_finish_in_a_drain_and_no_other_begins(gateway, ws, protocol):
    events = started(ws, f"sandbox-{protocol}", input=HELD, stream_id="a")
    ws.create(f"sandbox-{protocol}", stream_id="a")
    draining = drain(gateway, GIVE_UP_SECONDS)
    until(lambda: gateway.worker.services.registry.draining)
    gateway.sandbox.hurry()
    assert grammar.check(events + ws.events())["status"] == "completed"
    refused = ws.error()
    assert (refused["status"], refused["error"]["code"]) == (503, "server_shutting_down")
    assert refused["error"]["headers"]["retry-after"] == "1"
    assert closed(ws)[0] == 1012
    draining.result(GIVE_UP_SECONDS)


def test_a_turn_that_comes_during_the_drain_is_refused(gateway, ws):
    events = started(ws, input=HELD)
    draining = drain(gateway, GIVE_UP_SECONDS)
    until(lambda: gateway.worker.services.registry.draining)
    ws.create(stream_id="late")
    *events_before, refused = ws.events()
    assert (refused["stream_id"], refused["error"]["code"]) == ("late", "server_shutting_down")
    gateway.sandbox.hurry()
    assert grammar.check(events + events_before + ws.events())["status"] == "completed"
    assert closed(ws)[0] == 1012
    draining.result(GIVE_UP_SECONDS)


@each_protocol
def test_what_outlasts_the_drain_gets_its_terminal_event(gateway, ws, protocol):
    for lane in ("a", "b"):
        ws.create(f"sandbox-{protocol}", input=LONG, stream_id=lane)
    until(lambda: len(gateway.sandbox.calls) == 2)
    draining = drain(gateway, 0.2)
    ends = [ws.events()[-1], ws.events()[-1]]
    assert {end["stream_id"] for end in ends} == {"a", "b"}
    for end in ends:
        # Before the first event of a response, an error frame is its end.
        assert end["type"] in {"response.failed", "error"}
    assert closed(ws)[0] == 1012
    draining.result(GIVE_UP_SECONDS)


# The client leaves


@each_protocol
@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_client_that_leaves_ends_all_it_was_waiting_for(gateway, acme, outcomes, protocol, how):
    with opened(gateway, acme.headers) as ws:
        ws.create(f"sandbox-{protocol}", input=LONG)
        ws.create(f"sandbox-{protocol}", input="[wait=60000] Hello", stream_id="silent")
        ws.create(f"sandbox-{protocol}", input="never sent")
        until(lambda: len(gateway.sandbox.calls) == 2)
        if how == "abort":
            ws.connection.socket.close()
        else:
            ws.connection.close()
    until(lambda: all(call.ended == "client_closed" for call in gateway.sandbox.calls))
    lines = [line for line in outcomes() if line["event"] == "call"]
    assert [line["status"] for line in lines] == ["client_gone"] * 2
    assert len(gateway.sandbox.calls) == 2


def test_a_client_that_leaves_behind_more_than_is_read_is_noticed_too(gateway, acme):
    gateway.limit_sockets(waiting=2)
    with opened(gateway, acme.headers) as ws:
        ws.create(input=LONG)
        for _ in range(20):
            ws.create()
        until(lambda: len(gateway.sandbox.calls) == 1)
        ws.connection.socket.close()
    until(lambda: gateway.sandbox.calls[0].ended == "client_closed")
    until(lambda: len(gateway.worker.services.registry.sockets) == 0)
    assert len(gateway.sandbox.calls) == 1


@pytest.mark.persistence
def test_a_stream_whose_client_left_is_kept_as_cancelled(gateway, acme):
    with opened(gateway, acme.headers) as ws:
        started(ws)
    until(lambda: StoredResponse.objects.filter(status="cancelled").count() == 1)


# The client does not read


def is_blocked(gateway) -> bool:
    """Tell whether every running exchange has waited for its client for a while."""

    def look() -> bool:
        running = gateway.worker.services.registry.running
        now = asyncio.get_running_loop().time()
        return bool(running) and all(
            exchange.progress.phase.value == "sending" and now - exchange.progress.since > 0.05
            for exchange in running
        )

    return gateway.call(look)


def test_a_client_that_does_not_read_holds_the_upstream_back_and_is_given_up(
    gateway, acme, outcomes
):
    gateway.limit(send_stall=1.5)
    provider = rows.provider("responses", gateway.sandbox.base_url, "endless")
    rows.alias("endless", (provider, PREFIX + "never-ending"))
    with DeafClient(gateway, acme) as client:
        client.create("endless")
        sockets = gateway.worker.services.registry.sockets
        until(lambda: is_blocked(gateway) or len(sockets) == 0)
        sent = gateway.sandbox.calls[0].events_sent
        until(lambda: len(sockets) == 0)
        assert (
            gateway.sandbox.calls[0].events_sent - sent < 50_000
        )  # bounded by the kernel's buffers
        until(lambda: gateway.sandbox.calls[0].ended == "client_closed")
    lines = outcomes()
    assert [line["error"] for line in lines if line["event"] == "call"] == ["client_stalled"]


def test_a_slow_reader_gets_everything(gateway, acme):
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", gateway.port))
    with opened(gateway, acme.headers, sock=narrow) as ws:
        ws.create(input="[chunks=20000]")
        until(lambda: is_blocked(gateway))
        count, last = 0, b""
        while b'"response.completed"' not in last[:40]:
            last = ws.connection.recv(20, decode=False)
            count += b'"response.output_text.delta"' in last[:40]
    assert count == 20_000


# Pings


def protocol_of(gateway) -> Any:
    (found,) = [
        protocol
        for protocol in gateway.server.server_state.connections
        if hasattr(protocol, "pending_ping_payload")
    ]
    return found


def test_pings_are_sent_and_their_answers_awaited(gateway, ws):
    protocol = gateway.call(lambda: protocol_of(gateway))
    patience = settings.KEEPALIVE_SECONDS, settings.SEND_STALL_SECONDS
    assert (protocol.ping_interval, protocol.ping_timeout) == patience
    gateway.call(protocol.send_keepalive_ping)
    until(lambda: protocol.pending_ping_payload is None)
    assert ws.turn()["status"] == "completed"


def test_an_answer_to_a_ping_that_we_did_not_read_is_not_missed(gateway, acme):
    gateway.limit_sockets(waiting=1)
    with opened(gateway, acme.headers) as ws:
        ws.create(input=HELD)
        for _ in range(3):
            ws.create()
        protocol = gateway.call(lambda: protocol_of(gateway))
        until(lambda: protocol.read_paused and len(gateway.sandbox.calls) == 1)
        protocol.ping_timeout = 0.05
        gateway.call(protocol.send_keepalive_ping)
        missed_at = time.monotonic() + 2 * protocol.ping_timeout
        until(lambda: time.monotonic() > missed_at)
        gateway.sandbox.hurry()
        assert [ws.response()["status"] for _ in range(4)] == ["completed"] * 4


def test_a_client_that_answers_no_ping_is_given_up(gateway, acme):
    with DeafClient(gateway, acme):
        protocol = gateway.call(lambda: protocol_of(gateway))
        protocol.ping_timeout = 0.05
        gateway.call(protocol.send_keepalive_ping)
        until(lambda: len(gateway.worker.services.registry.sockets) == 0)


# Many at once


async def visit(gateway, acme, number: int) -> None:
    """One connection with frames of every kind, left after some milliseconds in a way that depends on its
    number."""
    chance = random.Random(number)
    url = f"ws://127.0.0.1:{gateway.port}/v1/responses"
    ws = await connect(
        url,
        additional_headers=acme.headers,
        compression=None,
        ping_interval=None,
        open_timeout=GIVE_UP_SECONDS,
    )
    reading = asyncio.ensure_future(_read_all(ws))
    for step in range(chance.randrange(1, 8)):
        frame: Json = {
            "type": "response.create",
            "model": f"sandbox-{chance.choice(PROTOCOLS)}",
            "input": chance.choice(
                ["Hello", "[chunks=50] [pace=2]", "[wait=30] Hello", "[tool] x"]
            ),
            "store": chance.random() < 0.3,
            "generate": chance.random() < 0.8,
        }
        if lane := chance.choice(["", "a", "b", "c"]):
            frame["stream_id"] = lane
        text = orjson.dumps(frame).decode() if step % 5 else chance.choice(["{", "[]", "{}"])
        await ws.send(text)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(chance.random() * 0.2):
            await asyncio.shield(reading)
    if number % 2:
        ws.transport.abort()
    await ws.close()
    await reading


async def _read_all(ws: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for _ in ws:
            pass


async def visits(gateway, acme, count: int) -> None:
    for start in range(0, count, 20):
        await asyncio.gather(*(visit(gateway, acme, start + n) for n in range(20)))


@pytest.mark.persistence
def test_many_connections_left_at_any_moment_leave_nothing(gateway, acme, caplog):
    asyncio.run(visits(gateway, acme, 100))
    until(lambda: len(gateway.worker.services.registry.sockets) == 0)
    gateway.idle()
    with opened(gateway, acme.headers) as ws:
        assert ws.turn()["status"] == "completed"
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.long
def test_hundreds_of_connections_leave_nothing(gateway, acme, caplog):
    asyncio.run(visits(gateway, acme, by_tier(150, 150, 3_000)))
    until(lambda: len(gateway.worker.services.registry.sockets) == 0)
    gateway.idle()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.fixture
def garbage(gateway) -> Iterator[Callable[[], set[str]]]:
    """Return the types of ours that only the garbage collector could free since the last look."""

    def look() -> set[str]:
        gc.collect()
        types = {f"{type(found).__module__}.{type(found).__name__}" for found in gc.garbage}
        gc.garbage.clear()
        return {name for name in types if name.startswith(("responses_api", "gateway_project"))}

    gateway.call(gc.collect)
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield lambda: gateway.call(look)
    gc.set_debug(0)
    gc.garbage.clear()


def test_what_a_connection_held_is_free_at_once(gateway, acme, garbage):
    """Workers collect garbage rarely, and a connection may hold much."""
    with opened(gateway, acme.headers) as ws:
        first = ws.turn(store=False)
        ws.turn(store=False, previous_response_id=first["id"])
        ws.refused("nothing", stream_id="a")
        started(ws)
    until(lambda: len(gateway.worker.services.registry.sockets) == 0)
    gateway.idle()
    assert garbage() == set()
