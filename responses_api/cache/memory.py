"""Keep the answers that were used last at hand, within so many bytes."""

from __future__ import annotations

from collections import OrderedDict

from responses_api.cache.entries import CacheEntry


class AnswerMemory:
    """Answers by key, least recently used first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, CacheEntry] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> CacheEntry | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: bytes, entry: CacheEntry) -> None:
        self.drop(key)
        self._entries[key] = entry
        self.size += entry.size
        while self.size > self._max_bytes and self._entries:
            _, oldest = self._entries.popitem(last=False)
            self.size -= oldest.size

    def drop(self, key: bytes) -> None:
        if (known := self._entries.pop(key, None)) is not None:
            self.size -= known.size

    def clear(self) -> None:
        self._entries.clear()
        self.size = 0
