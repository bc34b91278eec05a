"""Cache values in the process and load missing ones once, however many callers ask.

The hot path reads `fresh()` without awaiting. A miss calls the given load function; concurrent misses of
one key share the load. `clear()` forgets everything, including the results of loads in progress, so that
nothing read before a change outlives it. When a load fails because the database is unavailable, a value
no older than `stale_seconds` is served instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from gateway_project.lib import clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class StoreUnavailable(Exception):
    """The load function could not reach its store."""


class LoadingCache(Generic[K, V]):
    """Values by key. Absent values (None) are remembered too, in a bounded table of their own."""

    def __init__(
        self,
        *,
        fresh_seconds: float,
        stale_seconds: float,
        max_entries: int,
        max_absent: int,
    ) -> None:
        self._fresh_seconds = fresh_seconds
        self._stale_seconds = stale_seconds
        self._max_entries = max_entries
        self._max_absent = max_absent
        self._entries: dict[K, tuple[float, V]] = {}
        self._absent: dict[K, float] = {}
        self._loading: dict[K, asyncio.Future[V | None]] = {}
        self._generation = 0

    def fresh(self, key: K) -> V | None:
        """Return the value if it is cached and young enough, without I/O."""
        entry = self._entries.get(key)
        if entry is not None and clock.monotonic() - entry[0] < self._fresh_seconds:
            return entry[1]
        return None

    async def get(self, key: K, load: Callable[[], Awaitable[V | None]]) -> V | None:
        """Return the value, loading it if necessary; None if there is none. Raise StoreUnavailable."""
        value = self.fresh(key)
        if value is not None:
            return value
        absent_since = self._absent.get(key)
        if absent_since is not None and clock.monotonic() - absent_since < self._fresh_seconds:
            return None
        loading = self._loading.get(key)
        if loading is None:
            loading = asyncio.ensure_future(self._load_and_keep(key, load))
            self._loading[key] = loading
            loading.add_done_callback(lambda done: self._finish_load(key, done))
        # A caller that goes away must not cancel the load the others wait for.
        return await asyncio.shield(loading)

    def clear(self) -> None:
        self._generation += 1
        self._entries.clear()
        self._absent.clear()
        self._loading.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _finish_load(self, key: K, done: asyncio.Future[V | None]) -> None:
        if self._loading.get(key) is done:
            del self._loading[key]
        if not done.cancelled():
            done.exception()  # seen here, so that an abandoned load does not warn

    async def _load_and_keep(self, key: K, load: Callable[[], Awaitable[V | None]]) -> V | None:
        generation, asked_at = self._generation, clock.monotonic()
        stale = self._entries.get(key)
        try:
            value = await load()
        except StoreUnavailable:
            if stale is not None and asked_at - stale[0] < self._stale_seconds:
                return stale[1]
            raise
        if generation == self._generation:
            self._keep(key, value, asked_at)
        return value

    def _keep(self, key: K, value: V | None, at: float) -> None:
        self._entries.pop(key, None)
        self._absent.pop(key, None)
        if value is None:
            _evict_oldest(self._absent, self._max_absent)
            self._absent[key] = at
        else:
            _evict_oldest(self._entries, self._max_entries)
            self._entries[key] = (at, value)


def _evict_oldest(table: dict[K, V], max_entries: int) -> None:
    while len(table) >= max_entries:
        del table[next(iter(table))]
