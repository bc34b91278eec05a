"""Keep the values that were used last, within so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """A value that knows how many bytes it takes."""

    @property
    def size(self) -> int: ...


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", bound=Sized)


class RecentValues(Generic[Key, Value]):
    """Values by key, least recently used first. `size` is what they take in sum, never above `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Key) -> Value | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> list[Key]:
        """Keep a value in the place of an older one of its key; return the keys that had to go for it."""
        self.drop(key)
        self._values[key] = value
        self.size += value.size
        gone: list[Key] = []
        while self.size > self.max_bytes:
            oldest, dropped = self._values.popitem(last=False)
            self.size -= dropped.size
            gone.append(oldest)
        return gone

    def drop(self, key: Key) -> Value | None:
        """Forget a value and return it, if it was there."""
        if (value := self._values.pop(key, None)) is not None:
            self.size -= value.size
        return value

    def clear(self) -> None:
        self._values.clear()
        self.size = 0
