"""Watch runs for those in this worker who follow or make them.

One database query serves all of them, several times a second while anybody here watches a run, and never
otherwise. What this process does is known at once, and with Redis so is what others do. The database stays
the truth, so a lost announcement costs a moment and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gateway_project.lib import aio
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.secret import Secret
from responses_api.background import notify
from responses_api.models import UNFINISHED, Run

logger = logging.getLogger("tollgate.background")

POLL_SECONDS = 0.2
# How long to collect further news before announcing the first to other processes.
GATHER_SECONDS = 0.03


class RunState(NamedTuple):
    """The state of a run: its status, and the number of its last stored event."""

    status: str
    last_number: int

    @property
    def is_final(self) -> bool:
        return self.status not in UNFINISHED


Key = tuple[int, str]
Changed = Callable[[RunState | None], None]


class _WatchedRun:
    """A run being watched. `known` is None until it was seen once; once `is_over`, nothing more can happen
    to it."""

    __slots__ = ("is_over", "known", "watchers")

    def __init__(self) -> None:
        self.known: RunState | None = None
        self.is_over = False
        self.watchers: list[Changed] = []

    def tell(self, state: RunState | None) -> None:
        """Tell the watchers, unless they know as much already. A query that began before the last news is
        older."""
        if self.is_over or state == self.known or self._is_old(state):
            return
        self.known = state
        self.is_over = state is None or state.is_final
        for changed in tuple(self.watchers):
            changed(state)

    def _is_old(self, state: RunState | None) -> bool:
        known = self.known
        if state is None or known is None or state.is_final:
            return False
        return state.last_number < known.last_number


class RunWatcher:
    """The run watcher of one worker."""

    def __init__(self, redis_url: Secret | None) -> None:
        self._redis_url = redis_url
        self._loop = asyncio.get_running_loop()
        self._watched: dict[Key, _WatchedRun] = {}
        self._somebody_watches = asyncio.Event()
        self._wake = asyncio.Event()
        self._announce: Callable[[str], None] = lambda response_id: None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        notify.subscribe(self._on_notified)
        self._tasks.append(aio.hold(self._poll(), "runs-poll"))
        if self._redis_url is not None:
            from gateway_project.lib import announcements as redis  # noqa: PLC0415  # only where it is used

            announcer = redis.Announcer(self._redis_url, redis.RUNS_CHANNEL, GATHER_SECONDS)
            self._announce = announcer.say
            self._tasks.append(aio.hold(announcer.run(), "runs-announce"))
            listening = redis.listen(self._redis_url, self._on_announced, redis.RUNS_CHANNEL)
            self._tasks.append(aio.hold(listening, "runs-listen"))

    async def stop(self) -> None:
        notify.unsubscribe(self._on_notified)
        for task in self._tasks:
            await aio.end(task)
        self._tasks.clear()

    @property
    def is_resting(self) -> bool:
        """Return whether nobody watches, and the database is not asked."""
        return not self._somebody_watches.is_set()

    @contextlib.contextmanager
    def watching(
        self, tenant_id: int, response_id: str, changed: Changed, seen: RunState | None = None
    ) -> Iterator[None]:
        """Call `changed` whenever the run's state differs from the last known, such as the one that was
        `seen`; call it with None once the run is deleted."""
        key = (tenant_id, response_id)
        watched = self._watched.setdefault(key, _WatchedRun())
        if seen is not None:
            watched.tell(seen)
        watched.watchers.append(changed)
        if watched.known != seen:
            changed(watched.known)
        self._somebody_watches.set()
        self._wake.set()
        try:
            yield
        finally:
            watched.watchers.remove(changed)
            if not watched.watchers:
                del self._watched[key]
                self._wake.set()  # it may have been the last one

    def known(self, tenant_id: int, response_id: str) -> RunState | None:
        """Return the last known state of a run that is watched."""
        return self._watched[tenant_id, response_id].known

    def tell(self, tenant_id: int, response_id: str, state: RunState) -> None:
        """Report a state that this worker just wrote."""
        if (watched := self._watched.get((tenant_id, response_id))) is not None:
            watched.tell(state)
        self._announce(response_id)

    # What others did

    def _on_notified(self, response_id: str) -> None:
        self._loop.call_soon_threadsafe(self._on_announced, response_id.encode())

    def _on_announced(self, response_ids: bytes) -> None:
        named = set(response_ids.decode("latin-1").split())
        if not named or any(response_id in named for _, response_id in self._watched):
            self._wake.set()

    async def _poll(self) -> None:
        while True:
            if not self._watched:
                self._somebody_watches.clear()
                await self._somebody_watches.wait()
            self._wake.clear()
            await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    async def _look(self) -> None:
        asked = {key: (watched, watched.known) for key, watched in self._watched.items()}
        try:
            found = await in_database_thread(_states, [response_id for _, response_id in asked])
        except StoreUnavailable:
            return  # the revision watcher reports it
        except Exception:  # a watcher that ended would leave everybody waiting
            logger.exception("reading the state of runs failed")
            return
        for key, (watched, known_before) in asked.items():
            state = found.get(key)
            # A run that began while the database was read is missing in the result but not deleted.
            if state is not None or watched.known == known_before:
                watched.tell(state)


def _states(response_ids: list[str]) -> dict[Key, RunState]:
    rows = Run.objects.filter(pk__in=response_ids).values_list(
        "tenant_id", "response_id", "status", "last_number"
    )
    return {(tenant, response): RunState(status, last) for tenant, response, status, last in rows}
