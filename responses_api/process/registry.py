"""Track what this worker is running, and stop it from taking new work."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice
from typing import Protocol, cast

from responses_api.process.interruption import Interruption
from responses_api.process.running_call import RunningCall, StoppedCall
from responses_api.process.sockets import Sockets


class Running(Protocol):
    """One running answer: an exchange, or a request that waits for another's exchange."""

    @property
    def request_id(self) -> str: ...

    def interrupt(self, why: Interruption) -> None: ...


class Describable(Running, Protocol):
    """A running answer that makes a call of its own, and can tell of it when it is asked."""

    @property
    def tenant_id(self) -> int: ...

    def describe(self) -> RunningCall: ...

    def stopped(self, began_at: float) -> StoppedCall | None:
        """Return how it ended, since it was asked to stop; None while it has not."""


class Registry:
    """The running calls by request id, the tasks that still read a request, and the open WebSockets."""

    def __init__(self) -> None:
        self._running: dict[str, Running] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.uploads: set[asyncio.Task[None]] = set()
        self._dropped: set[asyncio.Task[None]] = set()
        self.sockets = Sockets()
        self.draining = False
        self.retiring = False

    def add(self, running: Running) -> None:
        if not self._running:
            self._idle.clear()
        self._running[running.request_id] = running

    def remove(self, running: Running) -> None:
        self._running.pop(running.request_id, None)
        if not self._running:
            self._idle.set()

    def __len__(self) -> int:
        return len(self._running)

    def count_by_channel(self) -> dict[str, int]:
        """Count what runs, by how its client waits for it; `waiting` is what waits for another's answer."""
        return dict(Counter(getattr(each, "channel", "waiting") for each in self._running.values()))

    @property
    def running(self) -> tuple[Running, ...]:
        """The running calls, in the order in which they began."""
        return tuple(self._running.values())

    def describe(self, tenants: frozenset[int] | None, limit: int) -> tuple[list[RunningCall], int]:
        """Return the `limit` oldest calls of these tenants, or of all, and how many there are.

        Nothing of this is kept while nobody asks: a call is described from what it has anyway.
        """
        found = [call for call in self._calls() if tenants is None or call.tenant_id in tenants]
        return [call.describe() for call in islice(found, limit)], len(found)

    def find_call(self, request_id: str) -> Describable | None:
        """Return the call of this request, if it is running here."""
        running = self._running.get(request_id)
        return cast("Describable", running) if hasattr(running, "describe") else None

    def _calls(self) -> list[Describable]:
        """Return what makes a call of its own, oldest first; followers and joiners wait for another's."""
        running = self._running.values()
        return [cast("Describable", each) for each in running if hasattr(each, "describe")]

    async def idle(self) -> None:
        """Wait until no call is running."""
        await self._idle.wait()

    def cancel(self, request_id: str) -> bool:
        """End one request on an operator's behalf; return False if it is not running here."""
        return self.interrupt(request_id, Interruption.CANCELLED)

    def interrupt(self, request_id: str, why: Interruption) -> bool:
        """End one request; return False if it is not running here."""
        running = self._running.get(request_id)
        if running is not None:
            running.interrupt(why)
        return running is not None

    @property
    def begins_runs(self) -> bool:
        """Tell whether background responses are begun here, rather than left to others."""
        return not (self.draining or self.retiring)

    @property
    def is_busy(self) -> bool:
        return bool(self._running) or len(self.sockets) > 0

    def retire(self) -> None:
        """Go on answering what comes over open connections; leave to the successor what can be left."""
        self.retiring = True
        self.sockets.drain()

    def start_draining(self) -> None:
        """Take no new work. Incomplete uploads are dropped now: nothing was sent for them."""
        self.draining = True
        self._dropped, self.uploads = self.uploads, set()
        for task in self._dropped:
            task.cancel()
        self.sockets.drain()

    def was_dropped(self, task: asyncio.Task[None]) -> bool:
        """Return whether this task's upload was dropped by the drain, and not by anybody else."""
        return task in self._dropped

    async def drain(self, seconds: float, grace_seconds: float) -> None:
        """Let what runs finish for `seconds`, then end each with its terminal event."""
        self.start_draining()
        await self._wait_until_idle(seconds)
        self.interrupt_all()
        await self._wait_until_idle(grace_seconds)

    def interrupt_all(self) -> None:
        for running in self.running:
            running.interrupt(Interruption.DRAIN)

    async def _wait_until_idle(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.idle()
        except TimeoutError:
            return
