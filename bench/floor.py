"""Serve the least a gateway in this language can cost: raw ASGI, aiohttp and uvicorn, without any
feature.

No authentication, no routing, no look at what passes. What the gateway costs more than this is the price
of its features. Runs as a process of its own: `python -m bench.floor PORT UPSTREAM`.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}


class Floor:
    """An ASGI application that passes every request on and every answer back."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar()
            )
        body = await _body(receive)
        url = self._upstream + scope["path"]
        async with self._session.request(
            scope["method"], url, data=body or None, headers=HEADERS
        ) as answer:
            await _start(answer, send)
            await _pass_on(answer, send)


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    return body


async def _start(answer: aiohttp.ClientResponse, send: Send) -> None:
    names = ("content-type", "content-length")
    headers = [
        (name.encode(), answer.headers[name].encode()) for name in names if name in answer.headers
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})


async def _pass_on(answer: aiohttp.ClientResponse, send: Send) -> None:
    if answer.content_length is not None:
        await send({"type": "http.response.body", "body": await answer.read()})
        return
    while piece := await answer.content.readany():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def main(port: int, upstream: str) -> None:
    uvicorn.run(
        Floor(upstream),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
