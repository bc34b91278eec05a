"""A connection may cost only so much: heads, slow senders, idle connections, and their number are limited."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson

from gateway_project.lib import hosts
from gateway_project.lib.client_address import TrustedProxies
from gateway_project.serving.connections import (
    RESERVE_PER_ADDRESS,
    ConnectionLimits,
    affordable,
)
from gateway_project.serving.http import protocol_with
from tests.plugins.cases import cases
from tests.support.one_app import App, Asked, served

Json = dict[str, Any]
QUICK = 0.05
GET = b"GET / HTTP/1.1\r\nhost: x\r\n"


class Seen:
    """The requests that reached the application, and those that were refused before it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.left = 0
        self.refused: list[Json] = []

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer with the body's size."""
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(body)
        answer = b"%d bytes." % len(body)
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@contextlib.asynccontextmanager
async def limited(app: App | None = None, **limits: Any) -> AsyncIterator[tuple[Asked, Seen]]:
    seen = Seen()
    protocol = protocol_with(ConnectionLimits(**limits), seen.refused.append)
    async with served(app or seen.app, protocol) as asked:
        yield asked, seen


def refusal(answer: bytes) -> tuple[int, str]:
    """Status and code of an answer that has the envelope, an id, and says that it is the last one."""
    head, _, body = answer.partition(b"\r\n\r\n")
    headers = head.lower().split(b"\r\n")
    assert b"connection: close" in headers
    assert b"content-type: application/json" in headers
    assert any(line.startswith(b"x-request-id: req_") for line in headers)
    error = orjson.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return int(headers[0].split()[1]), error["code"]


# Heads


HEADS = [
    GET + b"x: " + b"a" * 70_000,  # without end
    GET + b"x: 1\r\n" * 12_000,
    GET + b"x: " + b"a" * 70_000 + b"\r\n\r\n",  # complete at once
    b"GET /" + b"a" * 70_000,
    GET + b"".join(b"x%d: %s\r\n" % (n, b"a" * 1000) for n in range(80)) + b"\r\n",
    b"\r\n" * 40_000,
]


async def test_heads_of_more_than_64_kb_in_all_are_refused_before_anybody_sees_them() -> None:
    for head in HEADS:
        async with limited() as (asked, seen):
            asked.say(head)
            assert refusal(await asked.rest()) == (431, "headers_too_large"), head[:40]
            (line,) = seen.refused
            assert (line["http_status"], line["error"]) == (431, "headers_too_large")
            assert line["client"] == "127.0.0.1"
            assert seen.bodies == []


async def test_a_body_may_come_with_its_head_and_is_no_part_of_it() -> None:
    async with limited() as (asked, seen):
        for size in (100, 1_000_000):
            asked.say(
                GET.replace(b"GET", b"POST") + b"content-length: %d\r\n\r\n" % size + b"a" * size
            )
            await asked.until(b" bytes.")
        asked.say(GET + b"x: " + b"a" * 60_000 + b"\r\n\r\n")
        await asked.until(b" bytes.")
        assert [len(body) for body in seen.bodies] == [100, 1_000_000, 0]
        assert seen.refused == []


async def test_a_refusal_waits_for_the_answers_before_it() -> None:
    go_on = asyncio.Event()
    seen = Seen()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await seen.app(scope, receive, send)

    for bad in (GET + b"x: " + b"a" * 70_000 + b"\r\n\r\n", b"rubbish\r\n\r\n"):
        async with limited(slow, linger_seconds=QUICK) as (asked, _):
            go_on.clear()
            asked.say(GET + b"\r\n" + bad)
            await idle_for_a_while(asked)
            go_on.set()
            first, _, second = (await asked.rest()).partition(b" bytes.")
            assert first.startswith(b"HTTP/1.1 200 OK")
            assert refusal(second)[0] in {400, 431}


async def idle_for_a_while(asked: Asked) -> None:
    """So long that every connection was looked at: a refused one is closed by then."""
    other = await asked.another()
    other.say(b"rubbish\r\n\r\n")
    assert refusal(await other.rest()) == (400, "invalid_http")
    other.close()


async def test_a_body_that_is_hardly_one_is_refused() -> None:
    start = GET.replace(b"GET", b"POST") + b"transfer-encoding: chunked\r\n\r\n"
    for flood in (
        b"1;x=" + b"a" * 200_000,
        b"0\r\n" + b"x: 1\r\n" * 50_000,
        b"0\r\nx: " + b"a" * 200_000,
    ):
        async with limited() as (asked, seen):
            asked.say(start + flood)
            status, code = refusal(await asked.rest())
            assert (status, code) == (400, "invalid_http"), flood[:10]
            assert seen.bodies == []


# Time


async def test_a_head_has_to_come_in_time() -> None:
    async with limited(head_seconds=QUICK) as (asked, seen):
        asked.say(GET + b"\r\n")
        await asked.until(b" bytes.")
        asked.say(GET)
        assert refusal(await asked.rest()) == (408, "request_timeout")
        assert len(seen.bodies) == 1


async def test_a_connection_without_a_request_is_closed() -> None:
    async with limited(idle_seconds=QUICK) as (asked, seen):
        other = await asked.another()
        asked.say(GET + b"\r\n")
        assert (await asked.rest()).endswith(b" bytes.")
        assert await other.rest() == b""
        assert seen.refused == []


async def test_an_answer_may_take_as_long_as_it_takes() -> None:
    go_on = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await Seen().app(scope, receive, send)

    async with limited(slow, idle_seconds=QUICK, head_seconds=QUICK) as (asked, _):
        asked.ask()
        for _ in range(3):
            assert await (await asked.another()).rest() == b""  # closed for its idleness
        go_on.set()
        assert (await asked.until(b" bytes.")).startswith(b"HTTP/1.1 200 OK")


async def test_a_body_has_to_come_at_a_least_rate_and_its_reader_is_told() -> None:
    post = GET.replace(b"GET", b"POST") + b"content-length: 100000\r\n\r\n"
    async with limited(body_window_seconds=QUICK, body_bytes_per_second=10**9) as (asked, seen):
        asked.say(post + b"some")
        assert refusal(await asked.rest()) == (408, "request_timeout")
        assert (seen.left, seen.bodies) == (1, [])
    async with limited(body_window_seconds=QUICK, body_bytes_per_second=0) as (asked, seen):
        asked.say(post + b"some")
        for _ in range(3):
            await idle_for_a_while(asked)
        asked.say(b"a" * (100_000 - 4))
        await asked.until(b" bytes.")
        assert len(seen.bodies[0]) == 100_000


async def test_a_client_that_waits_for_leave_to_send_is_not_taken_for_slow() -> None:
    go_on = asyncio.Event()
    seen = Seen()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await seen.app(scope, receive, send)

    limits = {"body_window_seconds": QUICK, "body_bytes_per_second": 1, "idle_seconds": QUICK}
    async with limited(slow, **limits) as (asked, _):
        asked.ask("POST", "expect: 100-continue\r\ncontent-length: 3\r\n")
        for _ in range(3):
            assert await (await asked.another()).rest() == b""
        go_on.set()
        assert await asked.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        asked.say(b"abc")
        await asked.until(b" bytes.")
        assert seen.bodies == [b"abc"]


async def test_who_goes_on_sending_after_the_answer_is_cut_off_soon() -> None:
    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"no"})

    async with limited(refuses, body_window_seconds=QUICK, body_bytes_per_second=0) as (asked, _):
        asked.say(GET.replace(b"GET", b"POST") + b"content-length: 100000\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert (await asked.rest()).endswith(b"no")
    async with limited(refuses) as (asked, _):
        for _ in range(2):  # one that sends it all is served on
            asked.say(GET.replace(b"GET", b"POST") + b"content-length: 5\r\n\r\n")
            await asked.until(b"no")
            asked.say(b"hello")


# Upgrades


async def test_an_upgrade_to_what_we_do_not_speak_is_ignored_and_the_body_kept() -> None:
    upgrades = (
        b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAA\r\n",
        b"connection: keep-alive, Upgrade\r\nupgrade: websocket\r\n",  # with a body it is none
    )
    length, chunked = b"content-length: 5\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n"
    bodies = ((length, b"hello"), (chunked, b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"))
    for upgrade in upgrades:
        async with limited() as (asked, seen):
            for framing, body in bodies:
                head = GET.replace(b"GET", b"POST") + upgrade + framing
                asked.say(head + body + GET + b"\r\n")
                assert (await asked.until(b" bytes.")).endswith(b"5 bytes.")
                assert (await asked.until(b" bytes.")).endswith(b"0 bytes.")
                asked.say(head)
                asked.say(body[:1])
                asked.say(body[1:])
                assert (await asked.until(b" bytes.")).endswith(b"5 bytes.")
            assert seen.bodies == [b"hello", b"", b"hello"] * 2
    async with limited() as (asked, _):
        asked.say(b"CONNECT host:1 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert refusal(await asked.rest()) == (400, "invalid_http")


# How many


async def test_an_address_may_have_so_many_connections() -> None:
    async with limited(per_address=2) as (asked, _):
        second, third = await asked.another(), await asked.another()
        for connection in (asked, second):
            connection.ask()
            await connection.until(b" bytes.")
        third.ask()
        assert refusal(await third.rest()) == (429, "too_many_connections")
        health = await asked.another()
        health.say(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        await health.until(b" bytes.")
        health.close()
        third.close()
        second.close()
        while True:  # until the server has noticed
            again = await asked.another()
            again.ask(head="connection: close\r\n")
            got = await again.rest()
            if got.endswith(b" bytes."):
                break
            again.close()


async def test_what_is_beyond_the_reserve_is_not_even_told() -> None:
    async with limited(per_address=1) as (asked, _):
        more = [await asked.another() for _ in range(RESERVE_PER_ADDRESS)]
        with contextlib.suppress(ConnectionResetError):
            assert await (await asked.another()).rest() == b""
        for connection in more:
            connection.close()


async def test_all_addresses_together_may_have_so_many_and_trusted_proxies_count_here_only() -> (
    None
):
    loopback = TrustedProxies([hosts.network("127.0.0.1")])
    async with limited(per_address=1, total=3, trusted=loopback) as (asked, seen):
        others = [await asked.another() for _ in range(2)]
        for connection in others:
            connection.ask()
            await connection.until(b" bytes.")
        one_too_many = await asked.another()
        one_too_many.ask(head="x-forwarded-for: 203.0.113.7\r\n")
        assert refusal(await one_too_many.rest()) == (503, "service_unavailable")
        assert seen.refused[0]["client"] == "203.0.113.7"
        for connection in (*others, one_too_many):
            connection.close()


async def test_who_has_no_place_must_be_quick() -> None:
    async with limited(per_address=1, reserve_seconds=QUICK, head_seconds=QUICK) as (asked, _):
        silent = await asked.another()
        assert await silent.rest() == b""


@cases(
    ("wanted", "files", "expected"),
    [(8192, 20_000, 8192), (8192, 4096, 1920), (8192, 256, 64), (10, 99, 10)],
)
def test_no_more_connections_are_taken_than_there_are_files_for(
    wanted: int, files: int, expected: int
) -> None:
    assert affordable(wanted, files) == expected
