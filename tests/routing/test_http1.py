"""The hot path's HTTP client against a server that says exactly what a test tells it to."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from gateway_project.lib.errors import UpstreamCut
from routing.route import ResolvedTarget
from routing.upstream.connections import Connections, NoConnectionFree, PoolSlot
from routing.upstream.http1 import MAX_HEAD_BYTES, PIECE_BYTES, READ_BYTES, Connection
from routing.upstream.inflating import MAX_MEMBERS, BrokenHTTP, ConnectionCut, Inflater
from routing.upstream.transport import Transport
from tests.plugins.cases import cases
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.requests import target

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LARGE = b"x" * (2 * 1024 * 1024)


def bare(data: bytes) -> bytes:
    """Compressed without a frame, which some servers call deflate."""
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(data) + packing.flush()


def encoded(encoding: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\n\r\n%b" % (encoding, body)


COMPRESSED = {
    "members": (encoded(b"gzip", gzip.compress(LARGE) + gzip.compress(b"ok")), LARGE + b"ok"),
    "padding": (encoded(b"x-gzip", gzip.compress(b"ok") + b"\0" * 512), b"ok"),
    "zlib": (encoded(b"deflate", zlib.compress(LARGE)), LARGE),
    "raw deflate": (encoded(b"Deflate", bare(LARGE)), LARGE),
    "gzip as deflate": (encoded(b"deflate", gzip.compress(LARGE)), LARGE),
}

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Upstream:
    """Counts what connects to it."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.connected = 0
        self.place = PoolSlot("127.0.0.1", 0, False, True)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def upstream(serve: Serve) -> AsyncIterator[Upstream]:
    told = Upstream(serve)
    server = await asyncio.start_server(told, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    told.place = told.place._replace(port=port)
    try:
        yield told
    finally:
        server.close()


def answering(*answers: bytes, close: bool = False) -> Serve:
    """Says each of these after one request each, and then keeps still or closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            writer.write(answer)
        if not close:
            await reader.read()

    return serve


def pool(at_most: int = 10, wait: float = 30) -> Connections:
    return Connections(connect_seconds=30, wait_seconds=wait, at_most=at_most)


async def asked(connections: Connections, place: PoolSlot) -> tuple[int, bytes]:
    """Status and body of a whole response."""
    connection = await connections.take(place)
    response = await connection.request(REQUEST, b"{}")
    pieces = []
    while piece := await response.chunk():
        pieces.append(piece)
    return response.status, b"".join(pieces)


async def test_a_connection_is_used_again_when_its_response_is_complete():
    async with upstream(answering(OK, OK, OK)) as server:
        connections = pool()
        for _ in range(3):
            assert await asked(connections, server.place) == (200, b"ok")
        assert (server.connected, connections.in_use) == (1, 0)
        connections.close()


@cases(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nmore",
        OK + b"HTTP/1.1 200 OK\r\nx: the beginning of a second",
        OK + b"\x00garbage",
    ],
    ids=["close", "HTTP/1.0", "a second response", "a part of a second", "garbage"],
)
async def test_a_connection_that_may_not_or_cannot_be_trusted_is_not_used_again(answer: bytes):
    async with upstream(answering(answer, OK)) as server:
        connections = pool()
        for _ in range(2):
            assert (await asked(connections, server.place)) == (200, b"ok")
        assert (server.connected, connections.in_use) == (2, 0)
        connections.close()


async def test_an_idle_connection_whose_end_the_loop_has_not_read_yet_is_not_used():
    listener = socket.create_server(("127.0.0.1", 0))
    place = PoolSlot("127.0.0.1", listener.getsockname()[1], False, True)
    closed = threading.Event()
    close = threading.Event()

    def serve() -> None:
        for is_first in (True, False):
            peer, _ = listener.accept()
            while b"{}" not in peer.recv(65536):
                pass
            peer.sendall(OK)
            if is_first:
                close.wait(GIVE_UP_SECONDS)
            peer.close()
            closed.set()

    listener.settimeout(GIVE_UP_SECONDS)
    server = threading.Thread(target=serve, daemon=True)
    server.start()
    connections = pool()
    assert await asked(connections, place) == (200, b"ok")
    close.set()
    assert closed.wait(GIVE_UP_SECONDS)  # the loop stands still, as it does while it is busy
    assert await asked(connections, place) == (200, b"ok")
    server.join()
    connections.close()
    listener.close()


@cases(
    ("header", "keepalive_seconds", "connected"),
    [
        (b"timeout=60, max=100", None, 1),
        (b"timeout=1", None, 2),
        (b"Timeout = 0", None, 2),
        (b"max=5", None, 1),
        (b"max=5", 0, 2),
        (b"max=5", 600, 1),
    ],
)
async def test_a_connection_is_used_as_long_as_upstream_and_operator_say(
    header: bytes, keepalive_seconds: int | None, connected: int
):
    answer = OK.replace(b"\r\n\r\n", b"\r\nkeep-alive: " + header + b"\r\n\r\n")
    async with upstream(answering(answer, answer)) as server:
        place = server.place._replace(keepalive_seconds=keepalive_seconds)
        connections = pool()
        for _ in range(2):
            assert await asked(connections, place) == (200, b"ok")
        assert server.connected == connected
        connections.close()


@cases(("size", "sent_again"), [(50 * 1024 * 1024, True), (2, False)], ids=["partly", "as a whole"])
async def test_what_a_used_connection_did_not_take_is_sent_again_and_what_it_took_is_not(
    size: int, sent_again: bool
):
    bodies: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
            if bodies == [2]:  # the second request, on the used connection
                bodies.append(len(await reader.read(2)))
                return
            await reader.readexactly(length)
            bodies.append(length)
            writer.write(OK)

    async with upstream(serve) as server:
        url = f"http://127.0.0.1:{server.place.port}"
        target = at(base_url=url)
        transport = Transport(connect_seconds=30, pool_wait_seconds=30, max_connections=5)
        await (await transport.post(target, "/", b"{}", {})).body()
        if sent_again:
            answer = await transport.post(target, "/", b"x" * size, {})
            assert await answer.body() == b"ok"
            assert bodies == [2, 2, size]
        else:
            with pytest.raises(UpstreamCut):
                await transport.post(target, "/", b"x" * size, {})
            assert bodies == [2, 2]
        assert transport.open_connections == 0
        await transport.close()


def at(**fields: Any) -> ResolvedTarget:
    return replace(target("chat"), allow_private_network=True, **fields)


@cases(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(LARGE),
            LARGE,
        ),
        *COMPRESSED.values(),
    ],
    ids=["chunked", "until the end", "informational", "no content", "compressed", *COMPRESSED],
)
async def test_a_response_ends_where_HTTP_says(answer: bytes, body: bytes):  # noqa: N802
    async with upstream(answering(answer, close=True)) as server:
        connections = pool()
        assert (await asked(connections, server.place))[1] == body
        assert connections.in_use == 0
        connections.close()


@cases(
    ("answer", "failure"),
    [
        (b"", ConnectionCut),
        (b"HTTP/1.1 200", ConnectionCut),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", ConnectionCut),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", ConnectionCut),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", ConnectionCut),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nplain", ConnectionCut),
        (b"SSH-2.0-OpenSSH_9.2\r\n", BrokenHTTP),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nok", BrokenHTTP),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", BrokenHTTP),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * (2 * MAX_HEAD_BYTES), BrokenHTTP),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * MAX_HEAD_BYTES + b"\r\n", BrokenHTTP),
    ],
)  # fmt: skip
async def test_a_response_that_is_cut_or_broken_fails(answer: bytes, failure: type[Exception]):
    async with upstream(answering(answer, close=True)) as server:
        connections = pool()
        with pytest.raises(failure):
            await asked(connections, server.place)
        await until(lambda: connections.in_use == 0)
        connections.close()


@cases("beginning", [b"0\r\n", b"0\r\nx: ", b"1;"], ids=["names", "value", "chunk"])
async def test_what_is_no_body_is_read_no_further_than_a_head_may_be_long(beginning: bytes):
    """Trailers and the extensions of a chunk, which never end."""
    size = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal size
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n" + beginning
        )
        more = (b"x: y\r\n" if beginning.endswith(b"\r\n") else b"xxxxxx") * 1000
        while size < 100 * MAX_HEAD_BYTES:
            writer.write(more)
            await writer.drain()
            size += len(more)

    async with upstream(serve) as server:
        connections = pool()
        with pytest.raises(ConnectionCut):
            await asked(connections, server.place)
        assert size < 100 * MAX_HEAD_BYTES
        assert connections.in_use == 0
        connections.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_bytes_may_come_one_by_one_and_in_no_more_members_than_anybody_means(
    encoding,
):
    told = Inflater(encoding)
    packed = gzip.compress(b"ab") + gzip.compress(b"c") if encoding == "gzip" else bare(b"abc")
    out = b""
    for byte in packed:
        told.feed(bytes([byte]))
        out += told.next()
    assert out == b"abc"
    bomb = Inflater("gzip")
    bomb.feed(gzip.compress(b"") * (MAX_MEMBERS + 1))
    with pytest.raises(BrokenHTTP):
        bomb.next()


async def test_others_have_their_turn_while_a_few_compressed_bytes_become_many():
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"
    async with upstream(answering(head + gzip.compress(LARGE), close=True)) as server:
        connections = pool()
        response = await (await connections.take(server.place)).request(REQUEST, b"{}")
        await response.chunk()  # from here on all of it is there
        task = asyncio.create_task(other())
        pieces = 0
        while await response.chunk():
            pieces += 1
        task.cancel()
        assert pieces > 1
        assert turns >= pieces - 1  # it begins after the first
        connections.close()


async def test_an_upstream_that_answers_early_is_not_sent_the_rest():
    early = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"
    taken = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        await reader.readuntil(b"\r\n\r\n")
        writer.write(early)
        while piece := await reader.read(PIECE_BYTES):
            taken += len(piece)

    async with upstream(serve) as server:
        connections = pool()
        connection = await connections.take(server.place)
        body = b"x" * (64 * 1024 * 1024)
        response = await connection.request(REQUEST, body)
        assert (response.status, await response.chunk()) == (413, b"no")
        assert connections.in_use == 0
        assert not connection.is_usable
        assert taken < len(body)
        connections.close()


async def test_a_reader_that_takes_nothing_stops_the_upstream():
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1_000):
            writer.write(LARGE[:PIECE_BYTES])
            await writer.drain()
            sent += PIECE_BYTES

    async with upstream(serve) as server:
        connections = pool()
        response = await (await connections.take(server.place)).request(REQUEST, b"{}")
        before = -1
        while sent != before:  # until nothing more is taken from it
            before = sent
            for _ in range(1_000):
                await asyncio.sleep(0)
        assert sent < 32 * 1024 * 1024
        whole = 0
        while piece := await response.chunk():
            whole += len(piece)
        assert whole == 1_000 * PIECE_BYTES
        connections.close()


async def test_who_waits_for_a_connection_gets_it_in_turn_or_is_told():
    async with upstream(answering(OK, OK, OK)) as server:
        connections = pool(at_most=1)
        first = await connections.take(server.place)
        second = asyncio.create_task(asked(connections, server.place))
        gone = asyncio.create_task(asked(connections, server.place))
        third = asyncio.create_task(asked(connections, server.place))
        await asyncio.sleep(0)
        gone.cancel()
        response = await first.request(REQUEST, b"{}")
        while await response.chunk():
            pass
        assert await second == await third == (200, b"ok")
        assert (server.connected, connections.in_use) == (1, 0)
        connections.close()
        hasty = pool(at_most=1, wait=0)
        await hasty.take(server.place)
        with pytest.raises(NoConnectionFree):
            await hasty.take(server.place)
        hasty.close()


async def test_a_response_that_is_given_up_closes_its_connection_at_once():
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nbeginning")
        try:
            await reader.read()
        finally:
            closed.set()

    async with upstream(serve) as server:
        connections = pool()
        response = await (await connections.take(server.place)).request(REQUEST, b"{}")
        assert await response.chunk() == b"beginning"
        waiting = asyncio.create_task(response.chunk())
        await asyncio.sleep(0)
        waiting.cancel()
        response.close()
        await closed.wait()
        await until(lambda: connections.in_use == 0)
        connections.close()


async def test_a_connection_that_fails_to_open_gives_its_place_back():
    async with upstream(answering(OK)) as server:
        place = server.place
    connections = pool(at_most=1)
    for _ in range(3):
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            await connections.take(place)
    assert connections.in_use == 0
    connections.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while not condition():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0)


async def test_a_call_that_is_cancelled_as_its_response_ends_leaves_the_connection_to_the_next() -> (
    None
):
    def free(_: Connection, keep: bool) -> None:
        first.cancel()  # its task was woken, and has not run yet

    loop = asyncio.get_running_loop()
    buffer = memoryview(bytearray(READ_BYTES))
    async with upstream(answering(OK, OK)) as told:
        _, connection = await loop.create_connection(
            lambda: Connection(loop, free, buffer), told.place.host, told.place.port
        )
        first = loop.create_task(connection.request(REQUEST, b"{}"))
        with pytest.raises(asyncio.CancelledError):
            await first
        assert connection.is_usable
        second = await connection.request(REQUEST, b"{}")
        assert await second.chunk() == b"ok"
        connection.cut()
