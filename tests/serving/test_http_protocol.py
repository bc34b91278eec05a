"""The head of an answer goes out with its body, and is never lost."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway_project.lib.asgi import body_at_hand
from tests.plugins.cases import cases
from tests.support.one_app import served

LENGTH_2 = [(b"content-length", b"2")]


async def hello(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": LENGTH_2})
    await send({"type": "http.response.body", "body": b"hi"})


async def test_head_and_body_are_one_write_on_every_request_of_a_connection() -> None:
    async with served(hello) as asked:
        for number in (1, 2):
            asked.ask()
            assert (await asked.until(b"hi")).startswith(b"HTTP/1.1 200 OK\r\n")
            assert len(asked.writes) == number


async def test_requests_that_come_at_once_are_answered_in_order() -> None:
    async with served(hello) as asked:
        asked.ask()
        asked.ask()
        asked.ask(head="connection: close\r\n")
        assert (await asked.rest()).count(b"HTTP/1.1 200 OK\r\n") == 3
        assert len(asked.writes) == 3


async def test_an_answer_to_head_has_its_head() -> None:
    async with served(hello) as asked:
        asked.ask("HEAD")
        assert (await asked.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_client_that_waits_for_leave_to_send_its_body_gets_it() -> None:
    async with served(hello) as asked:
        asked.ask("POST", "expect: 100-continue\r\ncontent-length: 3\r\n")
        assert await asked.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        asked.say(b"abc")
        assert (await asked.until(b"hi")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_pieces_of_a_stream_go_out_one_by_one() -> None:
    go_on = asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await go_on.wait()
        await send({"type": "http.response.body", "body": b""})

    async with served(stream) as asked:
        asked.ask()
        assert (await asked.until(b"one\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        go_on.set()
        assert await asked.until(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"
        assert len(asked.writes) == 3


async def test_a_head_alone_may_be_sent_with_a_body_of_nothing() -> None:
    go_on = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": LENGTH_2})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"hi"})

    async with served(slow) as asked:
        asked.ask()
        await asked.until(b"\r\n\r\n")
        go_on.set()
        assert await asked.until(b"hi") == b"hi"


@cases("status", [204, 304])
async def test_an_answer_without_a_body_has_its_head(status: int) -> None:
    async def empty(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    async with served(empty) as asked:
        asked.ask(head="connection: close\r\n")
        assert (await asked.rest()).startswith(f"HTTP/1.1 {status} ".encode())


async def test_an_application_that_stops_after_the_head_is_cut_after_the_head() -> None:
    async def stops(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": LENGTH_2})

    async with served(stops) as asked:
        asked.ask()
        assert (await asked.rest()).endswith(b"\r\n\r\n")


@cases(
    "header",
    [
        (b"x-a", b"1\r\nx-b: 2"),
        (b"x-a", b"1\n"),
        (b"x-a", b"1\r"),
        (b"x-a", b"1\0"),
        (b"x a", b"1"),
        (b"x:a", b"1"),
        (b"", b"1"),
    ],
)
async def test_nothing_of_an_answer_goes_out_that_has_an_impossible_header(header: Any) -> None:
    async def careless(scope: Any, receive: Any, send: Any) -> None:
        headers = [*LENGTH_2, header]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hi"})

    async with served(careless) as asked:
        asked.ask()
        assert await asked.rest() == b""


@cases("body", [b"h", b"hi!"])
async def test_an_answer_that_is_not_as_long_as_announced_is_cut(body: bytes) -> None:
    async def careless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": LENGTH_2})
        await send({"type": "http.response.body", "body": body})

    async with served(careless) as asked:
        asked.ask()
        assert not (await asked.rest()).endswith(b"hi")


async def test_a_body_that_came_with_its_head_need_not_be_waited_for() -> None:
    found: list[bytes | None] = []

    async def reads_at_once(scope: Any, receive: Any, send: Any) -> None:
        found.append(body_at_hand(scope, 10))
        if found[-1] is None:
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": LENGTH_2})
        await send({"type": "http.response.body", "body": b"hi"})

    async with served(reads_at_once) as asked:
        for body in ("", "123456789", "1234567890"):
            asked.say(f"POST / HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
            await asked.until(b"hi")
    assert found == [b"", b"123456789", None]
