"""Join a call that another request runs or has run: wait for it, and send the same answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from gateway_project.lib.asgi import ClientGone
from gateway_project.lib.errors import GatewayError, Unavailable
from gateway_project.lib.presence import Presence
from responses_api.doors.door import Door
from responses_api.doors.shapes import ModelCall
from responses_api.idempotency.calls import IdempotentCalls
from responses_api.process.interruption import Interruption
from responses_api.process.response_writer import REPLAYED, ResponseWriter
from responses_api.services import Services
from responses_api.storage.idempotent_calls import Found, KeyedCallEnd
from responses_api.storage.pieces import LARGE_BYTES

SLICE_BYTES = 256 * 1024


class Joiner:
    """One request that joined a call. If it asked for a stream, it gets signs of life until the answer is
    there, then the whole answer."""

    def __init__(
        self,
        services: Services,
        calls: IdempotentCalls,
        request_id: str,
        door: Door,
        call: ModelCall,
        reply: ResponseWriter,
    ) -> None:
        self.request_id = request_id
        self._calls = calls
        self._registry = services.registry
        self._timeouts = services.timeouts
        self._door = door
        self._call = call
        self._reply = reply
        self._interrupted: asyncio.Future[Interruption] = services.loop.create_future()
        self._client_left: asyncio.Future[None] = services.loop.create_future()

    def interrupt(self, why: Interruption) -> None:
        """End the wait, on the registry's behalf; the client is told why."""
        if not self._interrupted.done():
            self._interrupted.set_result(why)

    async def ending(self, found: Found, presence: Presence) -> KeyedCallEnd | None:
        """Return how the other request's call ended; None if its owner was lost first. Raise GatewayError
        or ClientGone."""
        ended = self._calls.ending(found)
        presence.watch(self._notice_leaving)
        self._registry.add(self)
        try:
            return await self._wait(ended)
        finally:
            presence.unwatch()
            self._registry.remove(self)

    def _notice_leaving(self) -> None:
        if not self._client_left.done():
            self._client_left.set_result(None)

    async def _wait(self, ended: asyncio.Future[KeyedCallEnd | None]) -> KeyedCallEnd | None:
        patience = self._timeouts.commit
        while not ended.done():
            done, _ = await asyncio.wait(
                (ended, self._client_left, self._interrupted),
                timeout=patience if self._call.stream else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self._interrupted in done:
                raise self._interrupted.result().error()
            if self._client_left in done:
                raise ClientGone
            if not done:
                patience = self._timeouts.keepalive
                await self._show_life()
        ending = ended.result()
        if ending is None and self._reply.started:
            # Too late to take over: this stream has begun, and a call may still end as an HTTP error.
            message = "The call that this request joined was lost; send the request again."
            raise Unavailable(message)
        return ending

    async def _show_life(self) -> None:
        await self._start({})
        await self._send(self._door.keepalive, more=True)

    async def _start(self, headers: dict[str, str]) -> None:
        if not self._reply.started:
            self._reply.headers = {**headers, REPLAYED: "true"}
            await self._reply.start_stream(closing=self._registry.draining)

    async def replay(self, ending: KeyedCallEnd) -> None:
        """Send the answer as it was sent to the client that made the call."""
        if not (self._call.stream and ending.http_status == 200):
            await self._replay_whole(ending)
            return
        await self._start(ending.headers)
        body = ending.body
        for first in range(0, len(body), SLICE_BYTES):
            await self._send(body[first : first + SLICE_BYTES], more=True)
        # If the failed stream was cut, so that nobody takes it for complete, this one is cut too.
        if self._door.ends_whole or not ending.is_failure:
            await self._send(b"", more=False)

    async def _replay_whole(self, ending: KeyedCallEnd) -> None:
        if self._reply.started:
            await self._fail(ending.body)
            return
        headers = {**ending.headers, REPLAYED: "true"}
        telling = self._reply.json(ending.http_status, ending.body, headers)
        if len(ending.body) > LARGE_BYTES:
            await telling  # which looks after each piece
        else:
            await self._send_in_time(telling)

    async def error(self, error: GatewayError) -> None:
        """Tell the client of an error of ours."""
        if self._reply.started:
            await self._fail(self._door.error(error))
        else:
            await self._reply.error(error)

    async def _fail(self, error: bytes) -> None:
        """End a stream that began with signs of life only."""
        out = self._door.failed_stream(self._call, error)
        await self._send(out, more=not self._door.ends_whole)

    async def _send(self, body: bytes, *, more: bool) -> None:
        await self._send_in_time(self._reply.send(body, more=more))

    async def _send_in_time(self, sending: Awaitable[None]) -> None:
        """Wait until the client takes what is sent. Raise ClientGone if it does not."""
        try:
            async with asyncio.timeout(self._timeouts.send_stall):
                await sending
        except TimeoutError:
            raise ClientGone from None
