"""Order the turns: one after another on a lane, lanes beside each other, and only so many at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from gateway_project.lib import aio
from gateway_project.lib.errors import StreamLimitReached
from responses_api.process.socket_limits import SocketLimits

Job = Callable[[], Awaitable[None]]


class Lanes:
    """The lanes of one connection, where `waiting_count` jobs wait. A lane is made by its first job and keeps
    no task while it has none."""

    __slots__ = (
        "_limits",
        "_room",
        "_slots",
        "_waiting",
        "_waiting_bytes",
        "tasks",
        "waiting_count",
    )

    def __init__(self, limits: SocketLimits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.active)
        self._room = asyncio.Event()
        self._room.set()
        self._waiting: dict[str, deque[tuple[Job, int]]] = {}
        self.waiting_count = self._waiting_bytes = 0
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def put(self, lane: str, job: Job, size: int) -> None:
        """Add a job to a lane. Raise StreamLimitReached if that makes too many lanes."""
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
        """Wait until the lanes that are at work have ended, at most `seconds`."""
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=seconds)

    def clear(self) -> None:
        """Forget what waits."""
        for waiting in self._waiting.values():
            waiting.clear()
        self.waiting_count = self._waiting_bytes = 0
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
        self.waiting_count += jobs
        self._waiting_bytes += size
        limits = self._limits
        if self.waiting_count < limits.waiting and self._waiting_bytes < limits.waiting_bytes:
            self._room.set()
        else:
            self._room.clear()
