"""What Django serves, within bounds: of the body that comes in, and of the memory an answer holds.

Django reads a body to its end before it asks whose it is, and keeps what it answers until the client took it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway_project.lib.asgi import (
    Message,
    Receive,
    Scope,
    Send,
    StallTimer,
    check_size,
    declared_length,
    header,
)
from gateway_project.lib.errors import Unavailable
from responses_api.large_bodies import Turn
from responses_api.prefixes import is_api
from responses_api.rest import HELD
from responses_api.storage.pieces import LARGE_BYTES

if TYPE_CHECKING:
    from responses_api.worker import Worker

# Answers that are held whole and wait for their clients, all together.
MAX_HELD_BYTES = 128 * 1024 * 1024


class Abandoned(Exception):
    """The client takes nothing, or what it is sent is not there any more: its answer stays incomplete."""


class HeldBytes:
    """How much of large answers is in memory; one per worker process."""

    def __init__(self, most: int = MAX_HELD_BYTES) -> None:
        self._most = most
        self.size = 0

    def take(self, size: int) -> None:
        """Raises Unavailable when there is no room."""
        if self.size + size > self._most:
            message = "Too many large answers wait for their clients; try again."
            raise Unavailable(message, retry_after_seconds=1)
        self.size += size

    def give_back(self, size: int) -> None:
        self.size -= size


class Bounded:
    """One request: `receive` and `send` stand in for those of the server."""

    def __init__(self, worker: Worker, scope: Scope, receive: Receive, send: Send) -> None:
        self._worker = worker
        self._scope = scope
        self._receive = receive
        self._send = send
        self._turn: Turn | None = None
        self._declared = declared_length(scope["headers"])
        self._size = 0
        self._is_read = False
        self._held = 0
        self.has_answered = False

    async def begin(self) -> None:
        """Refuse a large body before it is read. Raises GatewayError."""
        check_size(self._declared, self._worker.max_body_bytes)
        is_chunked = bool(header(self._scope["headers"], b"transfer-encoding"))
        is_large = is_chunked or self._declared > self._worker.large_bodies.limits.size
        if is_large and is_api(self._scope["path"]):
            caller = await self._worker.doorkeeper.whose(self._scope)
            self._turn = self._worker.large_bodies.turn(caller.key_public_id)
            await self._turn.take(self._declared)

    async def receive(self) -> Message:
        """The next piece of the body. Raises PayloadTooLarge, BadRequest when it stopped arriving,
        RateLimited."""
        if self._is_read:
            return await self._receive()
        with StallTimer(self._worker.body_stall_seconds):
            message = await self._receive()
        self._size += len(message.get("body", b""))
        check_size(self._size, self._worker.max_body_bytes)
        if self._turn is not None:
            await self._turn.take(self._size)
        self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Raises Abandoned for a client that takes nothing, Unavailable before the head where there is no
        room for the answer."""
        if message["type"] == "http.response.start":
            self._hold(message)
        try:
            async with asyncio.timeout(self._worker.limits.send_stall):
                await self._send(message)
        except TimeoutError:
            raise Abandoned from None

    def _hold(self, head: Message) -> None:
        self._end_turn()
        length = declared_length(head["headers"])
        held: int = self._scope.get(HELD, length)
        if held > LARGE_BYTES:
            self._worker.held.take(held)
            self._held = held
        self.has_answered = True

    def end(self) -> None:
        """It was answered, or came to nothing."""
        self._end_turn()
        self._worker.held.give_back(self._held)
        self._held = 0

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.end()
