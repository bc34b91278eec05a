"""Keep the answers that were used last at hand, within so many bytes.

Another process may have replaced an answer meanwhile, so each is looked for again after a while.
"""

from __future__ import annotations

from msgspec import Struct

from gateway_project.lib import clock
from responses_api.cache.entries import CacheEntry
from responses_api.cache.recent import RecentValues

LOOK_AGAIN_SECONDS = 30.0


class _AtHand(Struct, frozen=True):
    entry: CacheEntry
    since: float
    size: int


class AnswerMemory:
    """Answers by key with when they were put there."""

    def __init__(self, max_bytes: int) -> None:
        self._answers: RecentValues[bytes, _AtHand] = RecentValues(max_bytes)

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def size(self) -> int:
        return self._answers.size

    def get(self, key: bytes) -> CacheEntry | None:
        found = self._answers.get(key)
        if found is None:
            return None
        if clock.monotonic() - found.since > LOOK_AGAIN_SECONDS:
            self.drop(key)
            return None
        return found.entry

    def put(self, key: bytes, entry: CacheEntry) -> None:
        self._answers.put(key, _AtHand(entry, clock.monotonic(), entry.size))

    def drop(self, key: bytes) -> None:
        self._answers.drop(key)

    def clear(self) -> None:
        self._answers.clear()
