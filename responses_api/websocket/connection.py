"""Run one WebSocket: its handshake, its frames, and how it is closed."""

from __future__ import annotations

import asyncio
from functools import partial

from gateway_project.lib import aio, clock, current_request, ids
from gateway_project.lib.asgi import CLIENT, Message, Receive, Scope, Send
from gateway_project.lib.errors import (
    BadRequest,
    GatewayError,
    StreamLimitReached,
    Unauthenticated,
    Unavailable,
)
from responses_api.calls.admission import authenticate, authenticate_turn
from responses_api.calls.refusals import record_refusal
from responses_api.process.interruption import Interruption
from responses_api.services import Services
from responses_api.websocket import ending, frames
from responses_api.websocket.ending import SocketEnding
from responses_api.websocket.handshake import refuse
from responses_api.websocket.lanes import Lanes
from responses_api.websocket.memory import ConnectionMemory
from responses_api.websocket.response_writer import SocketResponseWriter
from responses_api.websocket.turn import SocketTurn, request
from tenants.keys.caller import Caller

LAST_WORD_SECONDS = 0.5
# Headers that are about the handshake only, and are not sent to the upstreams of its turns.
_OF_THE_HANDSHAKE = frozenset({b"x-codex-turn-metadata", b"openai-beta"})


class SocketConnection:
    """One WebSocket. Its task reads frames; turns run in the tasks of its `lanes` and share its `memory`."""

    __slots__ = (
        "_caller", "_code", "_ending", "_expiry", "_is_abandoned", "_is_closed", "_lifetime", "_opened_at",
        "_receive", "_refusal", "_scope", "_send", "_services", "_task", "_turn_count", "_turns", "id",
        "lanes", "memory",
    )  # fmt: skip

    def __init__(self, services: Services, scope: Scope, receive: Receive, send: Send) -> None:
        self.id = ids.request_id()
        self._services = services
        self._scope = scope
        self._receive = receive
        self._send = send
        self._opened_at = clock.monotonic()
        self._caller: Caller | None = None
        self.memory = ConnectionMemory(services.socket_limits)
        self.lanes = Lanes(services.socket_limits)
        self._turns: dict[str, SocketTurn] = {}
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
        """Run the connection from the handshake until either side closes it."""
        await self._receive()
        current_request.enter(self.id, self._scope["headers"], self._services.tracer)
        handshake = request(self.id, self._scope, self.id)
        try:
            caller = await authenticate(self._services, handshake)
        except GatewayError as error:
            record_refusal(self._services, handshake, error)
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
            current_request.leave()

    # Open

    async def _open(self, caller: Caller) -> None:
        services = self._services
        await self._send(
            {"type": "websocket.accept", "headers": [(b"x-request-id", self.id.encode())]}
        )
        self._task = asyncio.current_task(services.loop)
        self._lifetime = services.loop.call_later(services.socket_limits.lifetime, self.end_of_time)
        self._know(caller)
        services.registry.sockets.add(self)
        if services.registry.draining:
            self.drain()

    def _know(self, caller: Caller) -> None:
        """Note whose connection it is, and until when it may last."""
        self._caller = caller
        if self._expiry is not None:
            self._expiry.cancel()
        if caller.expires_at is not None:
            seconds = max(caller.expires_at - clock.timestamp(), 0)
            self._expiry = self._services.loop.call_later(seconds, self._revoke, Unauthenticated())

    # Frames

    async def _read(self) -> None:
        """Read frames. While there is no room for more, nothing is taken from the socket. A frame can be
        large, so none is held here while the next one is waited for."""
        while not self._is_closed:
            await self.lanes.room()
            await self._take(await self._receive())

    async def _take(self, message: Message) -> None:
        """Put a frame onto its lane. An invalid frame is answered in its turn, like the rest."""
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
                await self.send(await frames.steer_failed(text, self._services.caps))
                return
            if envelope.type != frames.CREATE:
                raise _unknown(envelope.type)
            await self._queue(lane, text, len(text))
        except GatewayError as error:
            await self._queue(lane, error, 0)

    async def _queue(self, lane: str, asked: str | GatewayError, size: int) -> None:
        self._turn_count += 1
        of_turn = request(ids.request_id(), self._scope, self.id)
        reply = SocketResponseWriter(self.send, of_turn.id, lane)
        turn = SocketTurn(self._services, of_turn, reply, asked, lane)
        try:
            self.lanes.put(lane, partial(self._run, lane, turn), size)
        except StreamLimitReached as error:
            await reply.error(error)

    async def _run(self, lane: str, turn: SocketTurn) -> None:
        self._turns[lane] = turn
        try:
            await turn.run(self.memory, lambda: self._refusal)
        finally:
            del self._turns[lane]
        if turn.was_abandoned:
            self._abandon()

    async def send(self, text: str) -> None:
        """Send one frame. Wait while the client does not read; do nothing once it is gone."""
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
        """Return whether the key is still allowed; if not, end the connection. None: this cannot be known
        now."""
        if self._services.registry.draining:
            return True
        try:
            again = request(self.id, self._scope, self.id)
            caller = await authenticate_turn(self._services, again, counts=False)
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

    def end_of_time(self) -> None:
        """Begin no more turns: the connection has lasted as long as any may."""
        self._end(ending.out_of_time(self._services.socket_limits))

    def _end(self, why: SocketEnding) -> None:
        """Begin no more turns. A later reason replaces an earlier one."""
        if self._is_closed:
            return
        if self._ending is not None:
            self._ending.cancel()
        self._refusal = why.error
        self._ending = aio.hold(self._wind_down(why), "socket-end")

    async def _wind_down(self, why: SocketEnding) -> None:
        await self.lanes.idle(why.grace)
        for turn in tuple(self._turns.values()):
            turn.interrupt(why.interruption)
        await self.lanes.idle(LAST_WORD_SECONDS)
        try:
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await self._close(why)
        except TimeoutError:
            self._abandon()

    async def _close(self, why: SocketEnding) -> None:
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
        """Close the connection without another word, because the client does not read. What it received is
        incomplete."""
        self._is_closed = self._is_abandoned = True
        if self._task is not None:
            self._task.cancel()

    def _leave(self) -> None:
        """End what runs for a client that is gone."""
        self._is_closed = True
        self._services.registry.sockets.remove(self)
        for timer in (self._lifetime, self._expiry):
            if timer is not None:
                timer.cancel()
        if self._ending is not None:
            self._ending.cancel()
        self.memory.clear()
        self.lanes.clear()
        for lane, task in tuple(self.lanes.tasks.items()):
            turn = self._turns.get(lane)
            if turn is None or not turn.interrupt(Interruption.CLIENT_GONE):
                task.cancel()

    def _record(self) -> None:
        """Log one line for the connection, beside those of its turns."""
        caller = self._caller
        self._services.call_log.write(
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
    """Return the part of the handshake that is needed later: whose turns they are, and what upstreams may
    be told."""
    headers = [pair for pair in scope["headers"] if pair[0] not in _OF_THE_HANDSHAKE]
    return {"headers": headers, "client": scope.get("client"), CLIENT: scope.get(CLIENT)}


def _text(message: Message) -> str:
    text: str | None = message.get("text")
    if text is None:
        raise BadRequest("A frame must be text, not binary: one JSON object.")
    return text


def _unknown(kind: object) -> BadRequest:
    shown = str(kind)[:100]
    message = f"Unknown frame type {shown!r}; send 'response.create'."
    return BadRequest(message, param="type")
