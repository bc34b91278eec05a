"""Bound what Django serves: the body that comes in, and the memory an answer holds.

Django reads a body to its end before it checks whose it is, and keeps its answer until the client has
taken it.
"""

from __future__ import annotations

import asyncio

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
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.errors import GatewayError, Unavailable
from gateway_project.lib.prefixes import is_api, is_management
from gateway_project.serving.management import MAX_BODY_BYTES
from responses_api.process.held import Held
from responses_api.process.large_bodies import BodyTurn
from responses_api.resources.rest import HELD
from responses_api.services import Services
from responses_api.storage.pieces import LARGE_BYTES
from tenants.sign_in import by_session

# Before it knows who sent a form, Django makes up to eighty times its bytes of objects of it. Whoever is not
# signed in to the console has a name, a password or a code to send.
STRANGERS_BYTES = 64 * 1024
# A page takes what the management API takes for the same row, and files, of which no objects are made.
MAX_UPLOAD_BYTES = 4 * 1024 * 1024


class Bounded:
    """One request; `receive` and `send` replace those of the server."""

    def __init__(self, services: Services, scope: Scope, receive: Receive, send: Send) -> None:
        self._services = services
        self._scope = scope
        self._receive = receive
        self._send = send
        self._turn: BodyTurn | None = None
        self._max_bytes = _most_bytes(scope, services.max_body_bytes)
        self._declared = declared_length(scope["headers"])
        self._size = 0
        self._is_read = False
        self._held: Held | None = None
        self._refusal: GatewayError | None = None
        self._has_answered = False

    async def begin(self) -> None:
        """Refuse a large body before it is read. Raise GatewayError."""
        check_size(self._declared, self._max_bytes)
        is_chunked = bool(header(self._scope["headers"], b"transfer-encoding"))
        is_large = is_chunked or self._declared > self._services.large_bodies.limits.size
        path = self._scope["path"]
        if not is_api(path) and not is_management(path):
            if (is_chunked or self._declared > STRANGERS_BYTES) and not await _is_signed_in(
                self._scope
            ):
                self._max_bytes = min(self._max_bytes, STRANGERS_BYTES)
                check_size(self._declared, self._max_bytes)
        elif is_large and is_api(path):
            caller = await self._services.doorkeeper.identify(self._scope)
            self._turn = self._services.large_bodies.turn(caller.key_public_id)
            await self._turn.take(self._declared)

    async def receive(self) -> Message:
        """Return the next piece of the body.

        A refusal looks to Django as if the client had left, so that it gives up its work; `raise_refusal`
        tells the reason afterwards.
        """
        if self._is_read:
            return await self._receive()
        try:
            return await self._next_piece()
        except GatewayError as error:
            self._refusal = error
            return {"type": "http.disconnect"}

    async def _next_piece(self) -> Message:
        """Raise PayloadTooLarge, BadRequest when the body stalled, or RateLimited."""
        with StallTimer(self._services.body_stall_seconds, self._services.rounds):
            message = await self._receive()
        self._size += len(message.get("body", b""))
        check_size(self._size, self._max_bytes)
        if self._turn is not None:
            await self._turn.take(self._size)
        self._is_read = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send, and end Django's work when the client takes nothing or there is no room for the answer.

        It ends as a cancellation, which Django treats as a client that left.
        """
        try:
            if message["type"] == "http.response.start":
                self._hold(message)
            async with asyncio.timeout(self._services.timeouts.send_stall):
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
            self._held = self._services.held.hold(held)
        self._has_answered = True

    def raise_refusal(self) -> None:
        """Raise the reason why nothing was answered, if nothing was."""
        if self._refusal is not None and not self._has_answered:
            raise self._refusal

    def end(self) -> None:
        """Release what the request held, answered or not."""
        self._end_turn()
        if self._held is not None:
            self._held.give_back()

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.end()


def _most_bytes(scope: Scope, max_body_bytes: int) -> int:
    """Return how large the body of a request may be at most, whoever sends it."""
    if is_api(scope["path"]):
        return max_body_bytes
    is_upload = header(scope["headers"], b"content-type").startswith(b"multipart/form-data")
    if is_upload and not is_management(scope["path"]):
        return min(max_body_bytes, MAX_UPLOAD_BYTES)
    return min(max_body_bytes, MAX_BODY_BYTES)


async def _is_signed_in(scope: Scope) -> bool:
    """Tell whether the request brings a session of the console in which somebody may do something. Raise
    Unavailable."""
    session_id = by_session.session_id_of(scope)
    if not session_id:
        return False
    try:
        return await in_database_thread(by_session.request_of, session_id) is not None
    except StoreUnavailable as error:
        message = "The database is unavailable; try again."
        raise Unavailable(message, retry_after_seconds=2) from error
