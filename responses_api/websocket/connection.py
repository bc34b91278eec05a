"""One WebSocket: its handshake, its frames, and how it is closed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from gateway_project.lib import aio, clock, ids
from gateway_project.lib.asgi import CLIENT, Message, Receive, Scope, Send
from gateway_project.lib.errors import (
    BadRequest,
    GatewayError,
    StreamLimitReached,
    Unauthenticated,
    Unavailable,
)
from responses_api.admission import authenticate, authenticate_turn
from responses_api.interruption import Interruption
from responses_api.outcome import facts, refused
from responses_api.websocket import ending, frames
from responses_api.websocket.ending import Ending
from responses_api.websocket.handshake import refuse
from responses_api.websocket.lanes import Lanes
from responses_api.websocket.memory import ConnectionMemory
from responses_api.websocket.reply import SocketReply
from responses_api.websocket.turn import Turn, request
from tenants.caller import Caller

if TYPE_CHECKING:
    from responses_api.worker import Worker

LAST_WORD_SECONDS = 0.5
# Of the handshake, but said of its moment only: not for the eyes of an upstream that gets the turns.
_OF_THE_HANDSHAKE = frozenset({b"x-codex-turn-metadata", b"openai-beta"})


class Connection:
    """Made per socket. Its task reads frames; turns run in the tasks of their lanes."""

    __slots__ = (
        "_caller", "_code", "_ending", "_expiry", "_is_abandoned", "_is_closed", "_lanes", "_lifetime",
        "_memory", "_opened_at", "_receive", "_refusal", "_scope", "_send", "_task", "_turn_count", "_turns",
        "_worker", "id",
    )  # fmt: skip

    def __init__(self, worker: Worker, scope: Scope, receive: Receive, send: Send) -> None:
        self.id = ids.request_id()
        self._worker = worker
        self._scope = scope
        self._receive = receive
        self._send = send
        self._opened_at = clock.monotonic()
        self._caller: Caller | None = None
        self._memory = ConnectionMemory(worker.socket_limits)
        self._lanes = Lanes(worker.socket_limits)
        self._turns: dict[str, Turn] = {}
        self._turn_count = 0
        self._refusal: GatewayError | None = None
        self._ending: asyncio.Task[None] | None = None
        self._lifetime: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._is_abandoned = False
        self._code: int | None = None

    async def serve(self) -> None:
        """From the handshake until the socket is closed, by whomever."""
        await self._receive()
        handshake = request(self.id, self._scope, self.id)
        try:
            caller = await authenticate(self._worker, handshake)
        except GatewayError as error:
            self._worker.record(facts(handshake), refused("refused", error.http_status, error.code))
            await refuse(self._scope, self._send, error, self.id)
            return
        self._scope = _of_the_turns(self._scope)
        await self._open(caller)
        try:
            await self._read()
        except asyncio.CancelledError:
            if not self._is_abandoned or self._task is None:
                raise
            self._task.uncancel()
        finally:
            self._task = None
            self._leave()
            self._record()

    # Open

    async def _open(self, caller: Caller) -> None:
        worker = self._worker
        await self._send(
            {"type": "websocket.accept", "headers": [(b"x-request-id", self.id.encode())]}
        )
        self._task = asyncio.current_task(worker.loop)
        self._lifetime = worker.loop.call_later(worker.socket_limits.lifetime, self._end_of_time)
        self._know(caller)
        worker.registry.sockets.add(self)
        if worker.registry.draining:
            self.drain()

    def _know(self, caller: Caller) -> None:
        """Whose connection it is, and until when."""
        self._caller = caller
        if self._expiry is not None:
            self._expiry.cancel()
        if caller.expires_at is not None:
            seconds = max(caller.expires_at - clock.timestamp(), 0)
            self._expiry = self._worker.loop.call_later(seconds, self._revoke, Unauthenticated())

    # Frames

    async def _read(self) -> None:
        """While there is no room for more, nothing is taken from the socket. A frame can be large, so none
        is held here while the next one is waited for."""
        while not self._is_closed:
            await self._lanes.room()
            await self._take(await self._receive())

    async def _take(self, message: Message) -> None:
        """Put a frame onto its lane. What is wrong with it is answered in its turn, like the rest."""
        if message["type"] == "websocket.disconnect":
            self._is_closed = True
            self._code = self._code or message.get("code")
            return
        lane = ""
        try:
            text = _text(message)
            envelope = frames.envelope(text)
            lane = envelope.lane()
            if envelope.type == frames.STEER:
                await self.send(await frames.steer_failed(text, self._worker.caps))
                return
            if envelope.type != frames.CREATE:
                raise _unknown(envelope.type)
            await self._queue(lane, text, len(text))
        except GatewayError as error:
            await self._queue(lane, error, 0)

    async def _queue(self, lane: str, asked: str | GatewayError, size: int) -> None:
        self._turn_count += 1
        of_turn = request(ids.request_id(), self._scope, self.id)
        reply = SocketReply(self.send, of_turn.id, lane)
        turn = Turn(self._worker, of_turn, reply, asked, lane)
        try:
            self._lanes.put(lane, partial(self._run, lane, turn), size)
        except StreamLimitReached as error:
            await reply.error(error)

    async def _run(self, lane: str, turn: Turn) -> None:
        self._turns[lane] = turn
        try:
            await turn.run(self._memory, lambda: self._refusal)
        finally:
            del self._turns[lane]
        if turn.was_abandoned:
            self._abandon()

    async def send(self, text: str) -> None:
        """One frame. Waits while the client does not read; nothing happens once it is gone."""
        if self._is_closed:
            return
        try:
            await self._send({"type": "websocket.send", "text": text})
        except OSError:
            self._leave()

    # End

    def drain(self) -> None:
        self._end(ending.drained())

    async def is_allowed(self) -> bool | None:
        """Whether the key still may do this; if not, the connection ends. None: nobody can say now."""
        if self._worker.registry.draining:
            return True
        try:
            again = request(self.id, self._scope, self.id)
            caller = await authenticate_turn(self._worker, again, counts=False)
        except Unavailable:
            return None
        except GatewayError as error:
            self._revoke(error)
            return False
        if not self._is_closed:
            self._know(caller)
        return True

    def _revoke(self, error: GatewayError) -> None:
        self._end(ending.revoked(error))

    def _end_of_time(self) -> None:
        self._end(ending.out_of_time(self._worker.socket_limits))

    def _end(self, why: Ending) -> None:
        """From now on no turn begins. A later reason takes the place of an earlier one."""
        if self._is_closed:
            return
        if self._ending is not None:
            self._ending.cancel()
        self._refusal = why.error
        self._ending = aio.hold(self._wind_down(why), "socket-end")

    async def _wind_down(self, why: Ending) -> None:
        await self._lanes.idle(why.grace)
        for turn in tuple(self._turns.values()):
            turn.interrupt(why.interruption)
        await self._lanes.idle(LAST_WORD_SECONDS)
        try:
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await self._close(why)
        except TimeoutError:
            self._abandon()

    async def _close(self, why: Ending) -> None:
        if why.is_told:
            await self.send(frames.error_frame(why.error, self.id))
        if self._is_closed:
            return
        self._code = why.code
        message = {"type": "websocket.close", "code": why.code, "reason": why.error.code}
        try:
            await self._send(message)
        except OSError:
            self._leave()
        self._is_closed = True

    def _abandon(self) -> None:
        """Close it without another word: the client does not read. What it was told is incomplete."""
        self._is_closed = self._is_abandoned = True
        if self._task is not None:
            self._task.cancel()

    def _leave(self) -> None:
        """Nobody is there any more: end what runs for them."""
        self._is_closed = True
        self._worker.registry.sockets.remove(self)
        for timer in (self._lifetime, self._expiry):
            if timer is not None:
                timer.cancel()
        if self._ending is not None:
            self._ending.cancel()
        self._memory.clear()
        self._lanes.clear()
        for lane, task in tuple(self._lanes.tasks.items()):
            turn = self._turns.get(lane)
            if turn is None or not turn.interrupt(Interruption.CLIENT_GONE):
                task.cancel()

    def _record(self) -> None:
        """One line for the connection, beside those of its turns."""
        caller = self._caller
        self._worker.call_log.write(
            {
                "event": "socket",
                "socket": self.id,
                "client": self._scope.get(CLIENT),
                "tenant": caller.tenant_slug if caller else None,
                "key": caller.key_public_id if caller else None,
                "turns": self._turn_count,
                "code": self._code,
                "duration_ms": round((clock.monotonic() - self._opened_at) * 1000, 3),
            }
        )


def _of_the_turns(scope: Scope) -> Scope:
    """What is needed of the handshake later: whose turns they are, and what upstreams may be told."""
    headers = [pair for pair in scope["headers"] if pair[0] not in _OF_THE_HANDSHAKE]
    return {"headers": headers, "client": scope.get("client"), CLIENT: scope.get(CLIENT)}


def _text(message: Message) -> str:
    text: str | None = message.get("text")
    if text is None:
        raise BadRequest("A frame must be text, not binary: one JSON object.")
    return text


def _unknown(kind: object) -> BadRequest:
    shown = str(kind)[:100]
    message = f"A frame of type {shown!r} is not known; send 'response.create'."
    return BadRequest(message, param="type")
