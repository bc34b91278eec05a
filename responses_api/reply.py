"""How the answer of one request goes out: over HTTP here, elsewhere over whatever implements `Reply`."""

from __future__ import annotations

from typing import Any, Protocol

import orjson

from gateway_project.lib.asgi import Message, Send
from gateway_project.lib.errors import GatewayError

_JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
# Proxies must neither buffer nor cache a stream (docs/wire.md, pitfall 13).
_STREAM = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class Reply(Protocol):
    """Where an exchange sends its answer: a JSON answer, or a stream; never both, and headers once.

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


class HttpReply:
    """The reply to an HTTP request, as ASGI messages."""

    __slots__ = ("_request_id", "_send", "headers", "started", "status", "survives_client")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = (b"x-request-id", request_id.encode())
        self.headers: dict[str, str] = {}  # of a good answer, beside the usual ones
        self.started = False
        self.status = 0  # that was sent
        self.survives_client = False

    async def json(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """A whole answer."""
        await self._whole(_JSON, status, body, headers)

    async def error(self, error: GatewayError) -> None:
        """An error as OpenAI's envelope."""
        await self.json(error.http_status, orjson.dumps(error.body()), error.headers())

    async def error_page(self, error: GatewayError) -> None:
        """An error as a sentence, for somebody with a browser."""
        await self._whole(_TEXT, error.http_status, error.message.encode(), error.headers())

    async def _whole(
        self, kind: tuple[bytes, bytes], status: int, body: bytes, headers: dict[str, str] | None
    ) -> None:
        self.started = True
        self.status = status
        length = (b"content-length", b"%d" % len(body))
        extra = _encoded(headers) if headers else ()
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [kind, length, self._request_id, *extra],
            }
        )
        await self._send({"type": "http.response.body", "body": body})

    async def pass_on(self, message: Message) -> None:
        """A message of another application, with our request id."""
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            message = {**message, "headers": [*message["headers"], self._request_id]}
        await self._send(message)

    async def start_stream(self, *, closing: bool) -> None:
        """The headers of a stream; `closing` asks the client to use another connection next."""
        self.started = True
        self.status = 200
        headers: list[Any] = [*_STREAM, self._request_id, *_encoded(self.headers)]
        if closing:
            headers.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send(self, body: bytes, *, more: bool) -> None:
        """A piece of a stream: whole events only, so that none is ever split across two pieces."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
