"""What this worker is running, and how it stops taking work."""

from __future__ import annotations

import asyncio
from typing import Protocol

from responses_api.interruption import Interruption
from responses_api.websocket.sockets import Sockets


class Running(Protocol):
    """What answers a request: an exchange, or one that waits for the exchange of another."""

    @property
    def request_id(self) -> str: ...

    def interrupt(self, why: Interruption) -> None: ...


class Registry:
    """What is running by request id, the tasks that still read a request, and open WebSockets."""

    def __init__(self) -> None:
        self._running: dict[str, Running] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.uploads: set[asyncio.Task[None]] = set()
        self._dropped: set[asyncio.Task[None]] = set()
        self.sockets = Sockets()
        self.draining = False

    def add(self, running: Running) -> None:
        self._running[running.request_id] = running
        self._idle.clear()

    def remove(self, running: Running) -> None:
        self._running.pop(running.request_id, None)
        if not self._running:
            self._idle.set()

    def __len__(self) -> int:
        return len(self._running)

    def cancel(self, request_id: str) -> bool:
        """End one request on an operator's behalf; False if it is not running here."""
        return self.interrupt(request_id, Interruption.CANCELLED)

    def interrupt(self, request_id: str, why: Interruption) -> bool:
        """End one request; False if it is not running here."""
        running = self._running.get(request_id)
        if running is not None:
            running.interrupt(why)
        return running is not None

    def start_draining(self) -> None:
        """Take no new work. Uploads that are not complete are dropped now: nothing was sent for them."""
        self.draining = True
        self._dropped, self.uploads = self.uploads, set()
        for task in self._dropped:
            task.cancel()
        self.sockets.drain()

    def dropped(self, task: asyncio.Task[None]) -> bool:
        """Whether this task's upload was dropped by the drain, and not by anybody else."""
        return task in self._dropped

    async def drain(self, seconds: float, grace_seconds: float) -> None:
        """Let what runs finish for `seconds`, then end each with its terminal event."""
        self.start_draining()
        await self._wait_until_idle(seconds)
        self.interrupt_all()
        await self._wait_until_idle(grace_seconds)

    def interrupt_all(self) -> None:
        for running in tuple(self._running.values()):
            running.interrupt(Interruption.DRAIN)

    async def _wait_until_idle(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return
