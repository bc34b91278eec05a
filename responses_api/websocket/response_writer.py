"""Send an exchange's answer as frames: the events of its stream, one each."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import orjson

from gateway_project.lib.errors import GatewayError
from responses_api.stream.events import KEEPALIVE
from responses_api.websocket import frames

_NAME = b"event: "
_DATA = b"\ndata: "


class SocketResponseWriter:
    """Implements `ResponseWriter` over a WebSocket. `has_ended`: the last frame of the answer was sent, or is
    in the hands of the server."""

    __slots__ = (
        "_lane", "_request_id", "_send", "_suffix", "_unsent", "has_ended", "headers", "started",
        "survives_client",
    )  # fmt: skip

    def __init__(
        self, send: Callable[[str], Awaitable[None]], request_id: str, lane: str = ""
    ) -> None:
        self._send = send
        self._request_id = request_id
        self._lane = lane
        self._suffix = b',"stream_id":%b}' % orjson.dumps(lane) if lane else b""
        self._unsent: deque[str] = deque()
        self.headers: dict[str, str] = {}
        self.started = False
        self.has_ended = False
        self.survives_client = False

    async def json(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        raise NotImplementedError("what is asked over a WebSocket is always streamed")

    async def error(self, error: GatewayError) -> None:
        self.started = True
        await self._send(frames.error_frame(error, self._request_id, self._lane))
        self.has_ended = True

    async def start_stream(self, *, closing: bool) -> None:
        self.started = True

    async def send(self, body: bytes, *, more: bool) -> None:
        """Send whole events as they stand in a stream. Events that an interruption left unsent go first."""
        if events := events_in(body, self._suffix):
            self._unsent.extend(events)
            while self._unsent:
                await self._send(self._unsent[0])
                self._unsent.popleft()
        self.has_ended = not more


def events_in(body: bytes, suffix: bytes = b"") -> list[str]:
    """Return the JSON of events, with `suffix` in place of its last brace. Keep-alives are left out, as a
    WebSocket has pings, and so is `[DONE]`."""
    found = []
    for block in body.split(b"\n\n"):
        name, _, data = block.partition(_DATA)
        if data and name != _NAME + KEEPALIVE:
            found.append((data[:-1] + suffix if suffix else data).decode())
    return found
