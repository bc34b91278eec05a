"""Keep a worker's caches correct: notice every change of keys and routes within a second.

It reads one number twice a second, or, of a database of SQLite, looks twice a second whether anything was
committed. With Redis, a change is announced as well and noticed at once; the number in the database stays the
truth, so a lost announcement costs half a second and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gateway_project.lib import aio
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.changes import Changes
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.secret import Secret
from tenants import revision

logger = logging.getLogger("tollgate.watcher")

# How often a database that nobody writes to is asked even so: whether it still answers.
STILL_THERE_SECONDS = 5.0


class RevisionWatcher:
    """Calls `changed` whenever the revision moved.

    `seen` is the revision that was read last. `is_current`: the last read succeeded; `is_failing`: it did
    not. Before the first read, neither.
    """

    def __init__(
        self, changed: Callable[[], None], *, poll_seconds: float, redis_url: Secret | None
    ) -> None:
        self._changed = changed
        self._poll_seconds = poll_seconds
        self._redis_url = redis_url
        self.seen: int | None = None
        self._changes = Changes(most_seconds=STILL_THERE_SECONDS)
        self._wake = asyncio.Event()
        self._has_looked = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()
        self.is_current = False
        self.is_failing = False

    def start(self) -> None:
        revision.on_change(self._wake_from_any_thread)
        self._tasks.append(aio.hold(self._poll(), "revision-poll"))
        if self._redis_url is not None:
            from gateway_project.lib import announcements  # noqa: PLC0415  # redis only where it is used

            listening = announcements.listen(self._redis_url, lambda _: self._wake.set())
            self._tasks.append(aio.hold(listening, "revision-listen"))

    async def first_look(self, patience: float) -> None:
        """Wait until the first read, successful or not, or for this many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._has_looked.wait()

    async def stop(self) -> None:
        revision.forget(self._wake_from_any_thread)
        for task in self._tasks:
            await aio.end(task)
        self._tasks.clear()

    def _wake_from_any_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._wake.set)

    async def _poll(self) -> None:
        while True:
            await self.look()
            self._has_looked.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(aio.seconds_to_tick(self._poll_seconds)):
                    await self._wake.wait()
            self._wake.clear()

    async def look(self) -> None:
        """Read the revision, if it can have changed, and call `changed` if it has."""
        if not self._changes.are_possible:
            return
        stamp = self._changes.stamp()
        try:
            number = await in_database_thread(revision.current)
        except Exception as error:  # a watch that ended would leave revoked keys alive
            if not isinstance(error, StoreUnavailable):
                logger.exception("the revision could not be read")
            elif self.is_current:
                logger.error("the database is unavailable; going on with cached values")
            self.is_current, self.is_failing = False, True
            self._changes.seen(None)
            return
        self._changes.seen(stamp)
        self.is_current, self.is_failing = True, False
        if number != self.seen:
            self.seen = number
            self._changed()
