"""Write what a run's owner has to store: its events one after another, then its end."""

from __future__ import annotations

import asyncio
import logging

from gateway_project.lib import aio, clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.json import Json
from gateway_project.lib.writer import Writer
from responses_api.background.events import NumberedEvents, number_events
from responses_api.background.run_watcher import RunState, RunWatcher
from responses_api.background.runs import Append, Begin, Finish, Owned
from responses_api.models import Status
from responses_api.process.interruption import RunEnded
from responses_api.storage.stores import write
from routing.protocols.shared.envelope import Maker

logger = logging.getLogger("tollgate.background")


# How long to wait for an unavailable database; the run's lease is shorter.
PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.5


class Journal:
    """The journal of one run that this process makes. A caller that is cancelled during a write may go on:
    the write is completed all the same, before anything else.

    `is_ending`: the end is being written. `has_ended`: the run is over or no longer ours, and nothing more is
    written. `patience_seconds`: how long to wait for an unavailable database.
    """

    def __init__(
        self,
        writer: Writer,
        run_watcher: RunWatcher,
        run: Owned,
        *,
        stores_events: bool,
        last_number: int = -1,
        patience_seconds: float = 0.0,
    ) -> None:
        self._writer = writer
        self._run_watcher = run_watcher
        self._run = run
        self._stores_events = stores_events
        self._last_number = last_number  # of the events that were numbered, written or not
        self._patience_seconds = patience_seconds
        self._writing: asyncio.Task[Exception | None] | None = None
        self.is_ending = False
        self.has_ended = False

    @property
    def run(self) -> Owned:
        return self._run

    @property
    def last_number(self) -> int:
        return self._last_number

    def number(self, events: bytes) -> NumberedEvents:
        """Return the events as they are stored and sent."""
        if not self._stores_events:
            return NumberedEvents(b"", self._last_number + 1, self._last_number)
        counted = number_events(events, self._last_number + 1)
        self._last_number = counted.last
        return counted

    async def begin(self, record: Begin) -> None:
        """Write the run itself with its first events. Raise StoreUnavailable."""
        await self._write(record, RunState(record.response["status"], record.opening.last))

    async def append(self, events: NumberedEvents) -> None:
        """Store the events, then return. Raise RunEnded or StoreUnavailable."""
        if events.events:
            state = RunState(Status.IN_PROGRESS, events.last)
            await self._write(Append(self._run, events), state)

    async def finish(self, response: Json, maker: Maker, closing: bytes) -> NumberedEvents:
        """End the run with this Response; return its last events, which are stored with it.

        Raise RunEnded or StoreUnavailable.
        """
        self.is_ending = True
        last = self._last_number
        events = self.number(closing)
        record = Finish(self._run, last, events, response, maker)
        try:
            await self._write(record, RunState(response["status"], events.last))
        except (RunEnded, StoreUnavailable):
            self._last_number = last  # the client may be sent another end
            raise
        return events

    async def _write(self, record: Begin | Append | Finish, state: RunState) -> None:
        """Write a record. Nothing may be awaited between numbering events and this, because a number once
        used must be written."""
        written = self._try_write(record, state, after=self._writing)
        self._writing = aio.hold(written, "run-write")
        error = await asyncio.shield(self._writing)
        if error is not None:
            raise error

    async def _try_write(
        self,
        record: Begin | Append | Finish,
        state: RunState,
        after: asyncio.Task[Exception | None] | None,
    ) -> Exception | None:
        """Return the error as a value, because nobody may be left to catch it."""
        if after is not None and not after.done():
            await asyncio.wait([after])
        if self.has_ended:
            return RunEnded()
        try:
            is_ours = await self._write_in_time(record)
        except StoreUnavailable as error:
            self.has_ended = True
            return error
        if not is_ours:
            self.has_ended = True
            return RunEnded()
        self.has_ended = isinstance(record, Finish)
        self._run_watcher.tell(self._run.tenant_id, self._run.response_id, state)
        return None

    async def _write_in_time(self, record: Begin | Append | Finish) -> bool:
        deadline = clock.monotonic() + self._patience_seconds
        while True:
            try:
                return bool(await write(self._writer, record))
            except StoreUnavailable:
                if clock.monotonic() >= deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)
