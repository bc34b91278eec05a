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
from gateway_project.lib.errors import GatewayError, Unavailable
from responses_api.held import Held
from responses_api.large_bodies import Turn
from responses_api.prefixes import is_api
from responses_api.rest import HELD
from responses_api.storage.pieces import LARGE_BYTES

if TYPE_CHECKING:
    from responses_api.worker import Worker


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
        self._held: Held | None = None
        self._refusal: GatewayError | None = None
        self._has_answered = False

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
        """The next piece of the body. A refusal is for Django as if the client had left: then it gives up
        what it has. `raise_refusal` tells afterwards."""
        if self._is_read:
            return await self._receive()
        try:
            return await self._next_piece()
        except GatewayError as error:
            self._refusal = error
            return {"type": "http.disconnect"}

    async def _next_piece(self) -> Message:
        """Raises PayloadTooLarge, BadRequest when it stopped arriving, RateLimited."""
        with StallTimer(self._worker.body_stall_seconds):
            message = await self._receive()
        self._size += len(message.get("body", b""))
        check_size(self._size, self._worker.max_body_bytes)
        if self._turn is not None:
            await self._turn.take(self._size)
        self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Ends what Django does where the client takes nothing, or there is no room for the answer: as a
        cancellation, which Django takes for a client that left."""
        try:
            if message["type"] == "http.response.start":
                self._hold(message)
            async with asyncio.timeout(self._worker.limits.send_stall):
                await self._send(message)
        except Unavailable as error:
            self._refusal = error
            raise asyncio.CancelledError from None
        except TimeoutError:
            raise asyncio.CancelledError from None

    def _hold(self, head: Message) -> None:
        self._end_turn()
        length = declared_length(head["headers"])
        held: int = self._scope.get(HELD, length)
        if held > LARGE_BYTES:
            self._held = self._worker.held.hold(held)
        self._has_answered = True

    def raise_refusal(self) -> None:
        """Raise why nothing was answered, if nothing was."""
        if self._refusal is not None and not self._has_answered:
            raise self._refusal

    def end(self) -> None:
        """It was answered, or came to nothing."""
        self._end_turn()
        if self._held is not None:
            self._held.give_back()

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.end()
