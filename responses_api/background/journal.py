"""What the owner of a run writes of it: events one after the other, then the end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from gateway_project.lib import aio, clock
from gateway_project.lib.cache import StoreUnavailable
from responses_api.background.events import Numbered, numbered
from responses_api.background.hub import State
from responses_api.background.runs import Append, Begin, Finish, Owned
from responses_api.interruption import RunEnded
from responses_api.models import Status
from responses_api.storage.keepers import write

if TYPE_CHECKING:
    from responses_api.worker import Worker

logger = logging.getLogger("tollgate.background")

Json = dict[str, Any]

# How long a database that is away is waited for; the run's lease is shorter.
PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.5


class Journal:
    """One per run that this process makes. Whoever is cancelled while something is written may go on:
    it is written all the same, and before anything else.

    `is_ending`: its end is being written; `has_ended`: it is over or no longer ours, and nothing more is
    written. `patience_seconds` is how long a database that is away is waited for.
    """

    def __init__(
        self,
        worker: Worker,
        run: Owned,
        *,
        keeps_events: bool,
        last_number: int = -1,
        patience_seconds: float = 0.0,
    ) -> None:
        self._worker = worker
        self._run = run
        self._keeps_events = keeps_events
        self._last_number = last_number  # of the events that were counted, written or not
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

    def number(self, events: bytes) -> Numbered:
        """The events as they are kept and sent."""
        if not self._keeps_events:
            return Numbered(b"", self._last_number + 1, self._last_number)
        counted = numbered(events, self._last_number + 1)
        self._last_number = counted.last
        return counted

    async def begin(self, record: Begin) -> None:
        """Write the run itself, with its first events. Raises StoreUnavailable."""
        await self._write(record, State(record.response["status"], record.opening.last))

    async def append(self, events: Numbered) -> None:
        """Returns once the events are kept. Raises RunEnded, StoreUnavailable."""
        if events.events:
            state = State(Status.IN_PROGRESS, events.last)
            await self._write(Append(self._run, events), state)

    async def finish(self, response: Json, provider: str, closing: bytes) -> Numbered:
        """End the run with this Response; its last events, which are kept with it.

        Raises RunEnded, StoreUnavailable.
        """
        self.is_ending = True
        last = self._last_number
        events = self.number(closing)
        record = Finish(self._run, last, events, response, provider)
        try:
            await self._write(record, State(response["status"], events.last))
        except (RunEnded, StoreUnavailable):
            self._last_number = last  # the client may be told another end
            raise
        return events

    async def _write(self, record: Begin | Append | Finish, state: State) -> None:
        """Nothing may be awaited between counting events and this: what was counted must be written."""
        written = self._written(record, state, after=self._writing)
        self._writing = aio.hold(written, "run-write")
        error = await asyncio.shield(self._writing)
        if error is not None:
            raise error

    async def _written(
        self,
        record: Begin | Append | Finish,
        state: State,
        after: asyncio.Task[Exception | None] | None,
    ) -> Exception | None:
        """The error is a value, because nobody may be left to catch it."""
        if after is not None and not after.done():
            await asyncio.wait([after])
        if self.has_ended:
            return RunEnded()
        try:
            is_ours = await self._written_in_time(record)
        except StoreUnavailable as error:
            self.has_ended = True
            return error
        if not is_ours:
            self.has_ended = True
            return RunEnded()
        self.has_ended = isinstance(record, Finish)
        self._worker.hub.tell(self._run.tenant_id, self._run.response_id, state)
        return None

    async def _written_in_time(self, record: Begin | Append | Finish) -> bool:
        deadline = clock.monotonic() + self._patience_seconds
        while True:
            try:
                return bool(await write(self._worker.writer, record))
            except StoreUnavailable:
                if clock.monotonic() >= deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)
