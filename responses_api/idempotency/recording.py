"""The reply of a call with an Idempotency-Key: everything it sends is kept for those who ask again.

The answer is committed before its end leaves, and a failure, which frees the key, before it is told. The
call outlives its client, because whoever sends a key means to ask again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import orjson
from msgspec import structs

from gateway_project.lib import aio
from gateway_project.lib.errors import GatewayError, IdempotentAnswerTooLarge, Unavailable
from responses_api.admission import Admitted
from responses_api.doors.shapes import DoorName, ModelCall
from responses_api.idempotency.calls import IdempotentCalls
from responses_api.reply import Reply
from responses_api.storage.idempotent_calls import Ending, Found
from responses_api.storage.keepers import Keeper

Json = dict[str, Any]

# How a door's stream says that it failed. An event's JSON has no line ends, so no text can look like it.
_FAILURES: dict[DoorName, bytes] = {
    "chat": b'data: {"error":{',
    "responses": b"event: response.failed\n",
}
_SIGNS_OF_LIFE = (b":", b"event: keepalive\n")


class Recording:
    """Implements `Reply` around another. Whoever makes one calls `finish` when the call is over."""

    def __init__(
        self,
        reply: Reply,
        calls: IdempotentCalls,
        found: Found,
        call: ModelCall,
        *,
        max_bytes: int,
        stall_seconds: float,
    ) -> None:
        self._reply = reply
        self._calls = calls
        self._found = found
        self._streams = call.stream
        self._failure = _FAILURES.get(call.door, b"")  # the other doors do not stream
        self._max_bytes = max_bytes
        self._stall_seconds = stall_seconds
        self._pieces: list[bytes] = []
        self._size = 0
        self._committed: Ending | None = None
        self._is_over = False
        self._client_is_lost = False
        self.survives_client = True

    @property
    def headers(self) -> dict[str, str]:
        return self._reply.headers

    @headers.setter
    def headers(self, headers: dict[str, str]) -> None:
        self._reply.headers = headers

    @property
    def started(self) -> bool:
        return self._reply.started

    @started.setter
    def started(self, started: bool) -> None:
        self._reply.started = started

    # Reply

    async def json(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        await self._end(self._whole(status, headers or {}, body))
        await self._tell(partial(self._reply.json, status, body, headers))

    async def error(self, error: GatewayError) -> None:
        await self.json(error.http_status, orjson.dumps(error.body()), error.headers())

    async def start_stream(self, *, closing: bool) -> None:
        await self._tell(partial(self._reply.start_stream, closing=closing))

    async def send(self, body: bytes, *, more: bool) -> None:
        if not more or self._is_failure(body):
            await self._end(self._streamed(body))
        elif not body.startswith(_SIGNS_OF_LIFE):
            self._note(body)
        await self._tell(partial(self._reply.send, body, more=more))

    async def _tell(self, tell: Callable[[], Awaitable[None]]) -> None:
        """Tell the client, unless it stopped listening: it must not hold up what others wait for."""
        if self._client_is_lost:
            return
        try:
            async with asyncio.timeout(self._stall_seconds):
                await tell()
        except TimeoutError:
            self._client_is_lost = True

    # What is kept

    def kept_with(self, admitted: Admitted) -> Admitted:
        """The call with a keeper that keeps the answer here as well, where it is kept at all."""
        if admitted.keeper is None:
            return admitted
        return structs.replace(admitted, keeper=_Together(admitted.keeper, self))

    async def commit(self, closing: bytes) -> None:
        """Commit the answer that ends with `closing`, unless it turns out to end otherwise."""
        if self._streams:
            await self._commit(self._streamed(closing))
        else:
            await self._commit(self._whole(200, self.headers, closing))

    async def refused(self, error: GatewayError) -> None:
        """The call was refused before it began; somebody else tells the client."""
        await self._end(self._error(error))

    def finish(self) -> None:
        """The call is over. If it had no end, because it was broken off, its key is free."""
        if not self._is_over:
            broken_off = Unavailable(
                "The call with this Idempotency-Key was broken off; try again."
            )
            ending = self._committed or self._error(broken_off)
            aio.hold(self._end(ending), "end-broken-call")

    async def _end(self, ending: Ending) -> None:
        self._is_over = True
        try:
            await self._commit(ending)
        finally:
            self._calls.release(self._found, ending)

    async def _commit(self, ending: Ending) -> None:
        if ending != self._committed:
            self._committed = ending
            await self._calls.end(self._found, ending)

    def _note(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._max_bytes:
            self._pieces.clear()
        else:
            self._pieces.append(piece)

    def _is_failure(self, piece: bytes) -> bool:
        return piece.startswith(self._failure) or b"\n" + self._failure in piece

    def _streamed(self, last: bytes) -> Ending:
        if self._size + len(last) > self._max_bytes:
            return self._error(IdempotentAnswerTooLarge())
        body = b"".join([*self._pieces, last])
        return Ending(200, self.headers, body, self._is_failure(last))

    def _whole(self, status: int, headers: dict[str, str], body: bytes) -> Ending:
        if len(body) > self._max_bytes:
            return self._error(IdempotentAnswerTooLarge())
        return Ending(status, headers, body, is_failure=status >= 400)

    def _error(self, error: GatewayError) -> Ending:
        body = orjson.dumps(error.body())
        return Ending(error.http_status, error.headers(), body, is_failure=True)


class _Together:
    """Keeps an answer where it was to be kept and under its key, in one transaction as a rule: both are
    handed to the writer before either is waited for. Implements `Keeper`."""

    __slots__ = ("_keeper", "_recording")

    def __init__(self, keeper: Keeper, recording: Recording) -> None:
        self._keeper = keeper
        self._recording = recording

    async def keep(self, answer: Json, provider: str, closing: bytes) -> None:
        keeping = self._keeper.keep(answer, provider, closing)
        await asyncio.gather(keeping, self._recording.commit(closing))
