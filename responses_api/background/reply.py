"""Where the answer of a run goes: into its journal, and on to its client if there is one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import GatewayError, Unavailable
from gateway_project.lib.presence import Presence
from gateway_project.lib.sse import DONE
from responses_api import response_events
from responses_api.background.events import KEEPALIVE, Numbered
from responses_api.background.journal import Journal
from responses_api.background.runs import Begin
from responses_api.interruption import RunEnded
from responses_api.reply import Reply

logger = logging.getLogger("tollgate.background")

Json = dict[str, Any]


class RunKeeper:
    """Implements `Keeper`: the finished Response ends its run. `closing` is how it was kept."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.closing = b""

    async def keep(self, answer: Json, provider: str, closing: bytes) -> None:
        try:
            kept = await self._journal.finish(answer, provider, closing)
        except RunEnded as error:
            raise StoreUnavailable("its run has ended") from error
        self.closing = kept.events


class BackgroundReply:
    """Implements `Reply` where nobody waits. `refused` is the error of a call that gave no output."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.headers: dict[str, str] = {}
        self.started = False
        self.survives_client = True
        self.refused: GatewayError | None = None

    async def json(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        raise AssertionError("a run always streams")

    async def error(self, error: GatewayError) -> None:
        self.refused = error

    async def start_stream(self, *, closing: bool) -> None:
        self.started = True

    async def send(self, body: bytes, *, more: bool) -> None:
        if not more:
            return  # the keeper kept it
        try:
            await self._journal.append(self._journal.number(body))
        except StoreUnavailable as error:
            raise Unavailable("The events of this response could not be kept.") from error


class ResumableReply:
    """Implements `Reply` for a client that may leave and come back: what it is sent was kept before.

    The run begins with the first event. If the database fails, nothing more is kept and the client gets
    the rest as any other would. `sent_number` is that of the last event the client was sent.
    """

    def __init__(
        self,
        reply: Reply,
        presence: Presence,
        journal: Journal,
        keeper: RunKeeper,
        begin: Callable[[Numbered], Begin],
        *,
        stall_seconds: float,
    ) -> None:
        self._reply = reply
        self._presence = presence
        self._journal = journal
        self._keeper = keeper
        self._begin: Callable[[Numbered], Begin] | None = begin
        self._stall_seconds = stall_seconds
        self._unsent = b""
        self._is_attached = True
        self._has_closed = False
        self.headers: dict[str, str] = {}
        self.started = False
        self.keeps = True
        self.sent_number = -1

    @property
    def survives_client(self) -> bool:
        """From the moment the client may know the response's id."""
        return (self.started and self.keeps) or self._reply.survives_client

    @property
    def is_cut_off(self) -> bool:
        """Whether the client, if it is still there, was not told the end."""
        return self.started and self.keeps and not self._has_closed

    async def json(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        raise AssertionError("a resumable answer is a stream")

    async def error(self, error: GatewayError) -> None:
        await self._reply.error(error)

    async def start_stream(self, *, closing: bool) -> None:
        self.started = True
        self._reply.headers = self.headers
        await self._reply.start_stream(closing=closing)

    async def send(self, body: bytes, *, more: bool) -> None:
        """After a send that was interrupted, what that had kept but not sent goes first."""
        if body.startswith(KEEPALIVE):
            await self._send_keepalive()
            return
        if more:
            await self._keep(body)
        elif self._keeper.closing:
            self._unsent += self._keeper.closing + DONE
        else:
            self._unsent += self._journal.number(body).events + DONE
        await self._forward(more=more)
        self._has_closed = not more

    async def _keep(self, body: bytes) -> None:
        counted = self._journal.number(body)
        self._unsent += counted.events
        begin, self._begin = self._begin, None
        try:
            if begin is not None:
                await self._journal.begin(begin(counted))
            elif self.keeps:
                await self._journal.append(counted)
        except StoreUnavailable as error:
            self.keeps = False
            logger.error("a stream goes on without being kept: %s", error)
        if self._presence.has_left and not self.survives_client:
            raise Unavailable("The client left, and nothing is kept that it could come back to.")

    async def _forward(self, *, more: bool) -> None:
        """A client that takes nothing is left behind; the run goes on."""
        number = self._journal.last_number
        if self._is_attached and (self._unsent or not more):
            await self._send(self._unsent, more=more)
        self._unsent = b""
        self.sent_number = number

    async def _send_keepalive(self) -> None:
        """Between events only: what is on its way is a sign of life itself."""
        if self._is_attached and not self._unsent:
            await self._send(response_events.keepalive(self.sent_number), more=True)

    async def _send(self, events: bytes, *, more: bool) -> None:
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self._reply.send(events, more=more)
        except TimeoutError:
            self._is_attached = False
