"""Large answers that are in memory as a whole, while their clients take them: so many bytes and no more."""

from __future__ import annotations

from gateway_project.lib import memory
from gateway_project.lib.errors import Unavailable
from responses_api.storage.pieces import LARGE_BYTES

MAX_HELD_BYTES = 128 * 1024 * 1024


class HeldBytes:
    """One per worker process."""

    def __init__(self, most: int = MAX_HELD_BYTES) -> None:
        self._most = most
        self.size = 0

    def try_to_hold(self, size: int) -> Held | None:
        """None where there is no room; small answers need none, and a single one always has it."""
        if size <= LARGE_BYTES:
            return Held(self, 0)
        if self.size and self.size + size > self._most:
            return None
        return Held(self, size)

    def hold(self, size: int) -> Held:
        """Raises Unavailable where there is no room."""
        held = self.try_to_hold(size)
        if held is None:
            message = "Too many large answers wait for their clients; try again."
            raise Unavailable(message, retry_after_seconds=1)
        return held


class Held:
    """What one answer holds, until it is given back."""

    __slots__ = ("_all", "_size")

    def __init__(self, of: HeldBytes, size: int) -> None:
        self._all = of
        self._size = size
        of.size += size

    def give_back(self) -> None:
        self._all.size -= self._size
        if self._size:
            self._size = 0
            memory.give_back()

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()
