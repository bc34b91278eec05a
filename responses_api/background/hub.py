"""What happens to runs, for those of one worker who follow or make them.

One look in the database serves them all: several times a second for every run somebody here watches, and
never if nobody does. What this process does itself it knows at once, and with Redis what others do; the
database stays the truth, so a lost announcement costs a moment and nothing else.
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
from responses_api.background import bell
from responses_api.models import UNFINISHED, Run

logger = logging.getLogger("tollgate.background")

POLL_SECONDS = 0.2
# How long further news is awaited before the first is announced to other processes.
GATHER_SECONDS = 0.03


class State(NamedTuple):
    """Where a run is: its status, and the number of the last event that is kept."""

    status: str
    last_number: int

    @property
    def is_final(self) -> bool:
        return self.status not in UNFINISHED


Key = tuple[int, str]
Changed = Callable[[State | None], None]


class _Watched:
    """`known` is None until it is seen for the first time; nothing more can happen to what `is_over`."""

    __slots__ = ("is_over", "known", "watchers")

    def __init__(self) -> None:
        self.known: State | None = None
        self.is_over = False
        self.watchers: list[Changed] = []

    def tell(self, state: State | None) -> None:
        """Tell the watchers, unless they know as much. A look that began before the last news is older."""
        if self.is_over or state == self.known or self._is_old(state):
            return
        self.known = state
        self.is_over = state is None or state.is_final
        for changed in tuple(self.watchers):
            changed(state)

    def _is_old(self, state: State | None) -> bool:
        known = self.known
        if state is None or known is None or state.is_final:
            return False
        return state.last_number < known.last_number


class Hub:
    """One per worker."""

    def __init__(self, redis_url: Secret | None) -> None:
        self._redis_url = redis_url
        self._loop = asyncio.get_running_loop()
        self._watched: dict[Key, _Watched] = {}
        self._somebody_watches = asyncio.Event()
        self._wake = asyncio.Event()
        self._announce: Callable[[str], None] = lambda response_id: None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        bell.on_ring(self._rung)
        self._tasks.append(aio.hold(self._poll(), "runs-poll"))
        if self._redis_url is not None:
            from responses_api import announcements as redis  # noqa: PLC0415  # only where it is used

            announcer = redis.Announcer(self._redis_url, redis.RUNS_CHANNEL, GATHER_SECONDS)
            self._announce = announcer.say
            self._tasks.append(aio.hold(announcer.run(), "runs-announce"))
            listening = redis.listen(self._redis_url, self._heard, redis.RUNS_CHANNEL)
            self._tasks.append(aio.hold(listening, "runs-listen"))

    async def stop(self) -> None:
        bell.forget(self._rung)
        for task in self._tasks:
            await aio.end(task)
        self._tasks.clear()

    @contextlib.contextmanager
    def watching(
        self, tenant_id: int, response_id: str, changed: Changed, seen: State | None = None
    ) -> Iterator[None]:
        """Call `changed` whenever the state of a run is another than the last known, such as the one that
        was `seen`; with None once it is deleted."""
        key = (tenant_id, response_id)
        watched = self._watched.setdefault(key, _Watched())
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

    def tell(self, tenant_id: int, response_id: str, state: State) -> None:
        """What this worker just wrote."""
        if (watched := self._watched.get((tenant_id, response_id))) is not None:
            watched.tell(state)
        self._announce(response_id)

    # What others did

    def _rung(self, response_id: str) -> None:
        self._loop.call_soon_threadsafe(self._heard, response_id.encode())

    def _heard(self, response_ids: bytes) -> None:
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
            return  # which the watcher of the revision reports
        except Exception:  # a hub that ended would leave everybody waiting
            logger.exception("the state of runs cannot be read")
            return
        for key, (watched, known_before) in asked.items():
            state = found.get(key)
            # A run that began while the database was read is not there yet, and was not deleted.
            if state is not None or watched.known == known_before:
                watched.tell(state)


def _states(response_ids: list[str]) -> dict[Key, State]:
    rows = Run.objects.filter(pk__in=response_ids).values_list(
        "tenant_id", "response_id", "status", "last_number"
    )
    return {(tenant, response): State(status, last) for tenant, response, status, last in rows}
