"""Who waits for whom: on a lane one after the other, lanes beside each other, so many turns at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from gateway_project.lib import aio
from gateway_project.lib.errors import StreamLimitReached
from responses_api.websocket.limits import SocketLimits

Job = Callable[[], Awaitable[None]]


class Lanes:
    """Runs jobs. A lane is made by its first job and keeps no task while it has none."""

    __slots__ = (
        "_limits",
        "_room",
        "_slots",
        "_waiting",
        "_waiting_bytes",
        "_waiting_count",
        "tasks",
    )

    def __init__(self, limits: SocketLimits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.active)
        self._room = asyncio.Event()
        self._room.set()
        self._waiting: dict[str, deque[tuple[Job, int]]] = {}
        self._waiting_count = self._waiting_bytes = 0
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def put(self, lane: str, job: Job, size: int) -> None:
        """Raises StreamLimitReached for one lane too many."""
        waiting = self._waiting.get(lane)
        if waiting is None:
            named = len(self._waiting.keys() - {""})
            if lane and named >= self._limits.named_lanes:
                raise StreamLimitReached(self._limits.named_lanes)
            waiting = self._waiting[lane] = deque()
        waiting.append((job, size))
        self._count(1, size)
        if lane not in self.tasks:
            self.tasks[lane] = aio.hold(self._work(lane, waiting), "lane")

    async def room(self) -> None:
        """Wait until another job may come."""
        await self._room.wait()

    async def idle(self, seconds: float | None) -> None:
        """Wait until the lanes that are at work have ended, at most for so long."""
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=seconds)

    def clear(self) -> None:
        """Forget what waits."""
        for waiting in self._waiting.values():
            waiting.clear()
        self._waiting_count = self._waiting_bytes = 0
        self._room.set()

    async def _work(self, lane: str, waiting: deque[tuple[Job, int]]) -> None:
        try:
            while waiting:
                async with self._slots:
                    if waiting:
                        job, size = waiting.popleft()
                        self._count(-1, -size)
                        await job()
        finally:
            del self.tasks[lane]

    def _count(self, jobs: int, size: int) -> None:
        self._waiting_count += jobs
        self._waiting_bytes += size
        limits = self._limits
        if self._waiting_count < limits.waiting and self._waiting_bytes < limits.waiting_bytes:
            self._room.set()
        else:
            self._room.clear()
