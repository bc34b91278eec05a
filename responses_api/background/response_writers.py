"""Send the answer of a run into its journal, and on to its client if there is one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import GatewayError, Unavailable
from gateway_project.lib.json import Json
from gateway_project.lib.presence import Presence
from gateway_project.lib.sse import DONE
from responses_api.background.events import KEEPALIVE, NumberedEvents
from responses_api.background.journal import Journal
from responses_api.background.runs import Begin
from responses_api.process.interruption import RunEnded
from responses_api.process.response_writer import ResponseWriter
from responses_api.stream import events as response_events
from routing.protocols.shared.envelope import Maker

logger = logging.getLogger("tollgate.background")


class RunStore:
    """Implements `AnswerStore`: the finished Response ends its run. `closing` holds the stored last
    events."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.closing = b""

    async def save(self, answer: Json, maker: Maker, closing: bytes) -> None:
        try:
            stored = await self._journal.finish(answer, maker, closing)
        except RunEnded as error:
            raise StoreUnavailable("the run has ended") from error
        self.closing = stored.events


class BackgroundResponseWriter:
    """Implements `ResponseWriter` when no client waits. `refused` is the error of a call that gave no
    output."""

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
            return  # the store has saved it
        try:
            await self._journal.append(self._journal.number(body))
        except StoreUnavailable as error:
            raise Unavailable("The events of this response could not be stored.") from error


class ResumableResponseWriter:
    """Implements `ResponseWriter` for a client that may leave and come back: events are stored before they
    are sent.

    The run begins with the first event. If the database fails, nothing more is stored and the client gets the
    rest directly. `sent_number` is the number of the last event sent to the client.
    """

    def __init__(
        self,
        reply: ResponseWriter,
        presence: Presence,
        journal: Journal,
        store: RunStore,
        begin: Callable[[NumberedEvents], Begin],
        *,
        stall_seconds: float,
    ) -> None:
        self._reply = reply
        self._presence = presence
        self._journal = journal
        self._store = store
        self._begin: Callable[[NumberedEvents], Begin] | None = begin
        self._stall_seconds = stall_seconds
        self._unsent = b""
        self._is_attached = True
        self._has_closed = False
        self.headers: dict[str, str] = {}
        self.started = False
        self.stores_events = True
        self.sent_number = -1

    @property
    def survives_client(self) -> bool:
        """Return True as soon as the client may know the response's id."""
        return (self.started and self.stores_events) or self._reply.survives_client

    @property
    def is_cut_off(self) -> bool:
        """Return whether the client, if still connected, was not told the end."""
        return self.started and self.stores_events and not self._has_closed

    async def json(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        raise AssertionError("a resumable answer is a stream")

    async def error(self, error: GatewayError) -> None:
        await self._reply.error(error)

    async def start_stream(self, *, closing: bool) -> None:
        self.started = True
        self._reply.headers = self.headers
        await self._reply.start_stream(closing=closing)

    async def send(self, body: bytes, *, more: bool) -> None:
        """Store and send a piece. What an interrupted send has stored but not sent goes first."""
        if body.startswith(KEEPALIVE):
            await self._send_keepalive()
            return
        if more:
            await self._store_events(body)
        elif self._store.closing:
            self._unsent += self._store.closing + DONE
        else:
            self._unsent += self._journal.number(body).events + DONE
        await self._forward(more=more)
        self._has_closed = not more

    async def _store_events(self, body: bytes) -> None:
        counted = self._journal.number(body)
        self._unsent += counted.events
        begin, self._begin = self._begin, None
        try:
            if begin is not None:
                await self._journal.begin(begin(counted))
            elif self.stores_events:
                await self._journal.append(counted)
        except StoreUnavailable as error:
            self.stores_events = False
            logger.error("a stream continues without being stored: %s", error)
        if self._presence.has_left and not self.survives_client:
            raise Unavailable(
                "The client left, and its stream was not stored, so it cannot be resumed."
            )

    async def _forward(self, *, more: bool) -> None:
        """Send what is unsent. A client that takes nothing is disconnected; the run goes on."""
        number = self._journal.last_number
        if self._is_attached and (self._unsent or not more):
            await self._send(self._unsent, more=more)
        self._unsent = b""
        self.sent_number = number

    async def _send_keepalive(self) -> None:
        """Send a keep-alive between events only: an event being sent is a sign of life itself."""
        if self._is_attached and not self._unsent:
            await self._send(response_events.keepalive(self.sent_number), more=True)

    async def _send(self, events: bytes, *, more: bool) -> None:
        try:
            async with asyncio.timeout(self._stall_seconds):
                await self._reply.send(events, more=more)
        except TimeoutError:
            self._is_attached = False
