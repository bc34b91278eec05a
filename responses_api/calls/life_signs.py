"""Send signs of life to the client of a stream that has nothing to say."""

from __future__ import annotations

import asyncio

from gateway_project.lib.aio import hold
from responses_api.process.registry import Registry
from responses_api.process.response_writer import ResponseWriter
from responses_api.stream.upstream_reader import UpstreamReader


class LifeSigns:
    """Signs of life, sent one at a time in a task of their own. Whoever sends anything else waits for
    `wait_until_sent` first."""

    __slots__ = ("_began_at", "_registry", "_reply", "_task")

    def __init__(self, reply: ResponseWriter, registry: Registry) -> None:
        self._reply = reply
        self._registry = registry
        self._task: asyncio.Task[None] | None = None
        self._began_at = 0.0

    @property
    def is_sending(self) -> bool:
        return self._task is not None

    def show(self, reader: UpstreamReader, now: float) -> None:
        """Send a keep-alive; before there is any output, send the headers and open the stream."""
        self._began_at = now
        # Built now: by the time it is sent, another attempt may have taken over.
        sign = reader.keepalive() if self._reply.started else reader.announce()
        self._task = hold(self._send(sign), "keep-alive")

    def stuck_for(self, now: float) -> float:
        """Return for how many seconds the client has not taken a sign of life; 0 if none is being sent."""
        return now - self._began_at if self._task is not None else 0.0

    async def wait_until_sent(self) -> None:
        """Wait for the sign of life being sent: headers and opening event belong together, and nothing may
        come between them."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _send(self, sign: bytes) -> None:
        try:
            if not self._reply.started:
                await self._reply.start_stream(closing=self._registry.draining)
            await self._reply.send(sign, more=True)
        finally:
            self._task = None
