"""Send the answer of one request: over HTTP here, elsewhere over whatever implements `ResponseWriter`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from gateway_project.lib.asgi import Message, Send
from gateway_project.lib.errors import GatewayError, Unavailable
from gateway_project.lib.problems import CONTENT_TYPE, problem_body
from responses_api.process.held import HeldBytes
from responses_api.storage.pieces import LARGE_BYTES, PIECE_BYTES
from responses_api.stream.error_body import openai_error

logger = logging.getLogger("tollgate.reply")

# The header of an answer that was given before.
REPLAYED = "idempotent-replayed"
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", CONTENT_TYPE.encode())
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
# Proxies must neither buffer nor cache a stream (docs/wire.md, pitfall 13).
_STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class ResponseWriter(Protocol):
    """Destination of an exchange's answer: a JSON answer or a stream, never both, and headers once.

    `survives_client`: the answer is wanted even if the client that asked for it is gone.
    """

    headers: dict[str, str]
    started: bool

    @property
    def survives_client(self) -> bool: ...

    async def json(
        self, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None: ...

    async def error(self, error: GatewayError) -> None: ...

    async def start_stream(self, *, closing: bool) -> None: ...

    async def send(self, body: bytes, *, more: bool) -> None: ...


class HttpResponseWriter:
    """The answer to an HTTP request as ASGI messages. With `held`, large JSON answers are counted there
    until the client took them; the client must take each piece within `stall_seconds`."""

    __slots__ = (
        "_held", "_render", "_request_id", "_send", "_stall_seconds", "headers", "started", "status",
        "survives_client",
    )  # fmt: skip

    def __init__(
        self,
        send: Send,
        request_id: str,
        held: HeldBytes | None = None,
        stall_seconds: float = 0.0,
        render: Callable[[GatewayError], bytes] = openai_error,
    ) -> None:
        """`render` writes an error as the body of a response."""
        self._send = send
        self._held = held
        self._stall_seconds = stall_seconds
        self._render = render
        self._request_id = (b"x-request-id", request_id.encode())
        self.headers: dict[str, str] = {}  # of a good answer, beside the usual ones
        self.started = False
        self.status = 0  # that was sent
        self.survives_client = False

    async def json(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send a whole answer; send 503 instead if it is large and there is no room for it."""
        if len(body) > LARGE_BYTES and self._held is not None:
            await self._large(self._held, status, body, headers)
            return
        await self._send(self._head(_JSON, status, len(body), headers))
        await self._send({"type": "http.response.body", "body": body})

    async def error(self, error: GatewayError) -> None:
        """Send an error in the envelope of its door."""
        await self.json(error.http_status, self._render(error), error.headers())

    async def error_page(self, error: GatewayError) -> None:
        """Send an error as a sentence, for a person with a browser."""
        body = error.message.encode()
        await self._send(self._head(_TEXT, error.http_status, len(body), error.headers()))
        await self._send({"type": "http.response.body", "body": body})

    async def problem(self, error: GatewayError) -> None:
        """Send an error in the format of the management API."""
        body = problem_body(error)
        await self._send(self._head(_PROBLEM, error.http_status, len(body), error.headers()))
        await self._send({"type": "http.response.body", "body": body})

    def _head(
        self, kind: tuple[bytes, bytes], status: int, size: int, headers: dict[str, str] | None
    ) -> Message:
        """Return the message that starts an answer of this size, which is about to be sent."""
        self.started = True
        self.status = status
        lines = [kind, (b"content-length", b"%d" % size), self._request_id]
        if headers:
            lines += [(name.encode(), value.encode()) for name, value in headers.items()]
        return {"type": "http.response.start", "status": status, "headers": lines}

    async def _large(
        self, held: HeldBytes, status: int, body: bytes, headers: dict[str, str] | None
    ) -> None:
        """Send a large answer in pieces. The server writes each when the client took the one before it, so
        that it is known when the last one was taken. A client that stalls is cut off."""
        try:
            is_fresh = not (headers and REPLAYED in headers)
            holding = await held.wait_to_hold(len(body), self._stall_seconds, is_fresh=is_fresh)
        except Unavailable as error:
            # Also what was charged for it.
            error.told = {n: v for n, v in (headers or {}).items() if n.startswith("x-")}
            await self.error(error)
            return
        with holding:
            await self._send(self._head(_JSON, status, len(body), headers))
            try:
                for start in range(0, len(body), PIECE_BYTES):
                    await self._piece(body[start : start + PIECE_BYTES], more=True)
                await self._piece(b"", more=False)
            except TimeoutError:
                logger.info("a client stopped taking its answer and was disconnected")

    async def _piece(self, body: bytes, *, more: bool) -> None:
        async with asyncio.timeout(self._stall_seconds):
            await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def pass_on(self, message: Message) -> None:
        """Pass on a message of another application, with our request id."""
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            message = {**message, "headers": [*message["headers"], self._request_id]}
        await self._send(message)

    async def start_stream(self, *, closing: bool) -> None:
        """Send the headers of a stream; `closing` asks the client to use another connection next."""
        self.started = True
        self.status = 200
        headers: list[Any] = [*_STREAM, self._request_id, *_encoded(self.headers)]
        if closing:
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send(self, body: bytes, *, more: bool) -> None:
        """Send a piece of a stream: whole events only, so that none is ever split across two pieces."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
