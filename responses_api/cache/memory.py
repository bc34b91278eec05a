"""Keep the answers that were used last at hand, within so many bytes.

Another process may have replaced an answer meanwhile, so each is looked for again after a while.
"""

from __future__ import annotations

from collections import OrderedDict

from gateway_project.lib import clock
from responses_api.cache.entries import CacheEntry

LOOK_AGAIN_SECONDS = 30.0


class AnswerMemory:
    """Answers by key with when they were put there, least recently used first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, tuple[CacheEntry, float]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> CacheEntry | None:
        found = self._entries.get(key)
        if found is None:
            return None
        entry, since = found
        if clock.monotonic() - since > LOOK_AGAIN_SECONDS:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, key: bytes, entry: CacheEntry) -> None:
        self.drop(key)
        self._entries[key] = entry, clock.monotonic()
        self.size += entry.size
        while self.size > self._max_bytes and self._entries:
            _, (oldest, _) = self._entries.popitem(last=False)
            self.size -= oldest.size

    def drop(self, key: bytes) -> None:
        if (known := self._entries.pop(key, None)) is not None:
            self.size -= known[0].size

    def clear(self) -> None:
        self._entries.clear()
        self.size = 0
