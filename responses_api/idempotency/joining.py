"""A request whose call somebody else is running, or has run: it waits, and gets the same answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import orjson

from gateway_project.lib import clock, ids
from gateway_project.lib.asgi import ClientGone
from gateway_project.lib.errors import GatewayError, Unavailable
from gateway_project.lib.presence import Presence
from gateway_project.lib.sse import COMMENT, data_event
from responses_api import response_events, response_object
from responses_api.doors.shapes import ModelCall
from responses_api.idempotency.calls import REPLAYED
from responses_api.interruption import Interruption
from responses_api.reply import Reply
from responses_api.storage.idempotent_calls import Ending, Found

if TYPE_CHECKING:
    from responses_api.worker import Worker

Json = dict[str, Any]

SLICE_BYTES = 256 * 1024


class Joiner:
    """One request that joined. A stream is shown signs of life until its answer is there, and gets it as
    a whole then."""

    def __init__(self, worker: Worker, request_id: str, call: ModelCall, reply: Reply) -> None:
        self.request_id = request_id
        self._worker = worker
        self._limits = worker.limits
        self._call = call
        self._reply = reply
        self._interrupted: asyncio.Future[Interruption] = worker.loop.create_future()
        self._client_left: asyncio.Future[None] = worker.loop.create_future()

    def interrupt(self, why: Interruption) -> None:
        """Called by the registry; the client is told."""
        if not self._interrupted.done():
            self._interrupted.set_result(why)

    async def ending(self, found: Found, presence: Presence) -> Ending | None:
        """How the call of another ends, None if the other was lost before. Raises GatewayError,
        ClientGone."""
        ended = self._worker.idempotent_calls.ending(found)
        presence.watch(self._notice_leaving)
        self._worker.registry.add(self)
        try:
            return await self._wait(ended)
        finally:
            presence.unwatch()
            self._worker.registry.remove(self)

    def _notice_leaving(self) -> None:
        if not self._client_left.done():
            self._client_left.set_result(None)

    async def _wait(self, ended: asyncio.Future[Ending | None]) -> Ending | None:
        patience = self._limits.commit
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
                patience = self._limits.keepalive
                await self._show_life()
        ending = ended.result()
        if ending is None and self._reply.started:
            # Too late to take over: this stream has begun, and a call may still end as an HTTP error.
            message = "The call that this request had joined was lost; send the request again."
            raise Unavailable(message)
        return ending

    async def _show_life(self) -> None:
        await self._start({})
        await self._send(COMMENT, more=True)

    async def _start(self, headers: dict[str, str]) -> None:
        if not self._reply.started:
            self._reply.headers = {**headers, REPLAYED: "true"}
            await self._reply.start_stream(closing=self._worker.registry.draining)

    async def replay(self, ending: Ending) -> None:
        """Send the answer as it was sent to the one that made the call."""
        if not (self._call.stream and ending.http_status == 200):
            await self._replay_whole(ending)
            return
        await self._start(ending.headers)
        body = ending.body
        for first in range(0, len(body), SLICE_BYTES):
            await self._send(body[first : first + SLICE_BYTES], more=True)
        # A failed chat stream was cut, so that nobody takes it for complete; so is this.
        if not (ending.is_failure and self._call.door == "chat"):
            await self._send(b"", more=False)

    async def _replay_whole(self, ending: Ending) -> None:
        if self._reply.started:
            await self._fail(orjson.loads(ending.body)["error"])
            return
        headers = {**ending.headers, REPLAYED: "true"}
        await self._taken(self._reply.json(ending.http_status, ending.body, headers))

    async def error(self, error: GatewayError) -> None:
        """Tell the client of an error of ours."""
        if self._reply.started:
            await self._fail(error.body()["error"])
        else:
            await self._reply.error(error)

    async def _fail(self, error: Json) -> None:
        """The end of a stream that began with signs of life only."""
        if self._call.door == "chat":
            await self._send(data_event(orjson.dumps({"error": error})), more=True)
            return
        begun = response_object.in_progress(
            self._call.body, ids.response_id(), self._call.model, int(clock.timestamp())
        )
        failed = response_object.failed(begun, [], "server_error", error["message"])
        created = response_events.event(response_events.CREATED, 0, {"response": begun})
        await self._send(created + response_events.terminal(1, failed), more=False)

    async def _send(self, body: bytes, *, more: bool) -> None:
        await self._taken(self._reply.send(body, more=more))

    async def _taken(self, sending: Awaitable[None]) -> None:
        """Raises ClientGone for a client that does not take what is sent."""
        try:
            async with asyncio.timeout(self._limits.send_stall):
                await sending
        except TimeoutError:
            raise ClientGone from None
