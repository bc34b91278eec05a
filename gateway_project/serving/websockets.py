"""Extend uvicorn's WebSockets, deciding what it leaves to chance: slow readers, slow writers, huge
frames.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from django.conf import settings
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.datastructures import Headers as HandshakeHeaders
from websockets.exceptions import InvalidHandshake
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS, Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway_project.lib.asgi import Headers
from gateway_project.lib.errors import BadRequest, GatewayError, HeadTooLarge
from gateway_project.serving.connections import Slot

_quiet = logging.getLogger("tollgate.websocket.protocol")
_quiet.setLevel(logging.ERROR)

POLICY = 1008
LINGER_SECONDS = 5.0
CONSOLE_MESSAGE_BYTES = 8192


def text_frame(payload: bytes) -> bytes:
    """Build an unmasked, unfragmented frame: RFC 6455, section 5.2."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def problem_of_handshake(url: bytes, headers: Headers) -> GatewayError | None:
    """Return why a request cannot become a WebSocket, as an API error.

    The library, which checks again, would answer in plain text or not at all.
    """
    longest = max((len(name) + len(value) + 4 for name, value in headers), default=0)
    if max(longest, len(url) + 20) > MAX_LINE_LENGTH or len(headers) > MAX_NUM_HEADERS:
        return HeadTooLarge(
            f"A handshake may have {MAX_NUM_HEADERS} headers of {MAX_LINE_LENGTH} bytes each."
        )
    if not url.isascii():
        return BadRequest("The address must be percent-encoded.")
    known = HandshakeHeaders((name.decode(), value.decode("latin-1")) for name, value in headers)
    try:
        ServerProtocol().process_request(Request(url.decode(), known))
    except InvalidHandshake as error:
        return BadRequest(f"This is not a WebSocket handshake: {error}.")
    return None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection. While the application takes no frames, uvicorn reads nothing from the client."""

    place: Slot | None = None  # among the connections of this process

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The library tells of every connection and, at DEBUG, of every frame and key.
        self.conn.logger = _quiet
        self.conn.debug = False
        self._stall_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_message()

    async def send(self, message: ASGISendEvent) -> None:
        """Send text without the library's detours, which is a third cheaper a frame.

        A frame for a connection that is being closed is no fault of the application.
        """
        text = message.get("text")
        if not isinstance(text, str):
            await super().send(message)
            return
        if not self.writable.is_set():
            await self.writable.wait()
        if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
            raise ClientDisconnected
        self.transport.write(text_frame(text.encode()))

    def bound(self, url: bytes) -> None:
        """Take no more from a page of the console than it has to say."""
        if url.startswith(b"/console/"):
            self.conn.max_message_size = CONSOLE_MESSAGE_BYTES

    def keepalive_timeout(self) -> None:
        """Ignore a missing pong that we simply did not read."""
        if not self.read_paused:
            super().keepalive_timeout()
            return
        self.pong_timer = None
        self.pending_ping_payload = None
        self.schedule_ping()

    def handle_parser_exception(self) -> None:
        """Tell the client why, and read on what it is sending.

        Closing a socket with unread bytes resets it, and the client may never see the reason (such as
        1009).
        """
        if self.close_sent:
            return
        closing = self.conn.close_sent
        assert closing is not None
        disconnect = {
            "type": "websocket.disconnect",
            "code": closing.code,
            "reason": closing.reason,
        }
        self.queue.put_nowait(disconnect)  # type: ignore[arg-type]  # a dict like theirs
        self.close_sent = True
        self.stop_keepalive()
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()  # the client's turn to close; the timer is for one that does not
        self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)
        if self.place is not None:
            self.place.leave()

    # A message that stops arriving half-way holds memory for as long as the connection lives.

    def _watch_message(self) -> None:
        self._stop_watching()
        if (
            (self.frames or self.conn.reader.buffer)
            and not self.read_paused
            and not self.close_sent
        ):
            self._stall_timer = self.loop.call_later(settings.BODY_STALL_SECONDS, self._stalled)

    def _stop_watching(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _stalled(self) -> None:
        self.conn.fail(POLICY, "the message stopped arriving")
        self.handle_parser_exception()
