"""Record the reply of a call with an Idempotency-Key, for those who ask again.

The answer is committed before its end is sent, and a failure, which frees the key, before it is told. The
call outlives its client, because a client that sends a key intends to ask again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import structs

from gateway_project.lib import aio
from gateway_project.lib.errors import GatewayError, IdempotentAnswerTooLarge, Unavailable
from gateway_project.lib.json import Json
from responses_api.calls.admission import Admitted
from responses_api.doors.door import Door
from responses_api.doors.shapes import ModelCall
from responses_api.idempotency.calls import IdempotentCalls
from responses_api.process.response_writer import ResponseWriter
from responses_api.storage.idempotent_calls import Found, KeyedCallEnd
from responses_api.storage.pieces import LARGE_BYTES
from responses_api.storage.stores import AnswerStore
from routing.protocols.shared.envelope import Maker

_SIGNS_OF_LIFE = (b":", b"event: keepalive\n")


class Recording:
    """Implements `ResponseWriter` around another and records it. Whoever makes one calls `finish` when the
    call is over."""

    def __init__(
        self,
        reply: ResponseWriter,
        calls: IdempotentCalls,
        found: Found,
        call: ModelCall,
        door: Door,
        *,
        max_bytes: int,
        stall_seconds: float,
    ) -> None:
        self._reply = reply
        self._calls = calls
        self._found = found
        self._streams = call.stream
        # An event's JSON has no line ends, so no text can look like it.
        self._failure = door.failure_marker
        self._render = door.error
        self._max_bytes = max_bytes
        self._stall_seconds = stall_seconds
        self._pieces: list[bytes] = []
        self._size = 0
        self._committed: KeyedCallEnd | None = None
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

    # As a ResponseWriter

    async def json(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        await self._end(self._whole(status, headers or {}, body))
        if len(body) > LARGE_BYTES and not self._client_is_lost:
            await self._reply.json(status, body, headers)  # which looks after each piece
        else:
            await self._tell(partial(self._reply.json, status, body, headers))

    async def error(self, error: GatewayError) -> None:
        await self.json(error.http_status, self._render(error), error.headers())

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

    # Storing

    def with_recording_store(self, admitted: Admitted) -> Admitted:
        """Return the call with a store that also saves the answer here, if the answer is stored at all."""
        if admitted.store is None:
            return admitted
        return structs.replace(admitted, store=_RecordedStore(admitted.store, self))

    async def commit(self, closing: bytes) -> None:
        """Commit the answer that ends with `closing`, unless it turns out to end otherwise."""
        if self._streams:
            await self._commit(self._streamed(closing))
        else:
            await self._commit(self._whole(200, self.headers, closing))

    async def note_refusal(self, error: GatewayError) -> None:
        """Record that the call was refused before it began; somebody else tells the client."""
        await self._end(self._error(error))

    def finish(self) -> None:
        """End the recording. If the call was broken off without an end, free its key."""
        if not self._is_over:
            broken_off = Unavailable(
                "The call with this Idempotency-Key was interrupted; try again."
            )
            ending = self._committed or self._error(broken_off)
            aio.hold(self._end(ending), "end-broken-call")

    async def _end(self, ending: KeyedCallEnd) -> None:
        self._is_over = True
        try:
            await self._commit(ending)
        finally:
            self._calls.release(self._found, ending)

    async def _commit(self, ending: KeyedCallEnd) -> None:
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

    def _streamed(self, last: bytes) -> KeyedCallEnd:
        if self._size + len(last) > self._max_bytes:
            return self._error(IdempotentAnswerTooLarge())
        body = b"".join([*self._pieces, last])
        return KeyedCallEnd(200, self.headers, body, self._is_failure(last))

    def _whole(self, status: int, headers: dict[str, str], body: bytes) -> KeyedCallEnd:
        if len(body) > self._max_bytes:
            return self._error(IdempotentAnswerTooLarge())
        return KeyedCallEnd(status, headers, body, is_failure=status >= 400)

    def _error(self, error: GatewayError) -> KeyedCallEnd:
        body = self._render(error)
        return KeyedCallEnd(error.http_status, error.headers(), body, is_failure=True)


class _RecordedStore:
    """Implements `AnswerStore`: stores an answer in its usual place and under its key, in one transaction as
    a rule, because both are handed to the writer before either is waited for."""

    __slots__ = ("_recording", "_store")

    def __init__(self, store: AnswerStore, recording: Recording) -> None:
        self._store = store
        self._recording = recording

    async def save(self, answer: Json, maker: Maker, closing: bytes) -> None:
        saving = self._store.save(answer, maker, closing)
        await asyncio.gather(saving, self._recording.commit(closing))
