"""Bound the large answers that are in memory as a whole while their clients take them.

What can be had again for nothing (what is stored, an answer that is replayed) takes half of the room at most:
a client that asks for it and does not read it must not keep others from what was made and charged.
"""

from __future__ import annotations

import asyncio

from gateway_project.lib import memory
from gateway_project.lib.errors import Unavailable
from responses_api.storage.pieces import LARGE_BYTES

MAX_HELD_BYTES = 128 * 1024 * 1024


class HeldBytes:
    """The bytes that one worker process holds, and its limit."""

    def __init__(self, most: int = MAX_HELD_BYTES) -> None:
        self._most = most
        self._change: asyncio.Future[None] | None = (
            None  # made by the first caller that waits for room
        )
        self.size = 0
        self.waiting = 0  # bytes that wait for room

    def try_to_hold(self, size: int, *, is_fresh: bool = False) -> Held | None:
        """Hold `size` bytes; return None if there is no room. Small answers need none, and a single large
        one always has it."""
        if size <= LARGE_BYTES:
            return Held(self, 0)
        if self.size and self.size + size > self._room(is_fresh=is_fresh):
            return None
        return Held(self, size)

    def _room(self, *, is_fresh: bool) -> int:
        return self._most if is_fresh else self._most // 2

    def hold(self, size: int) -> Held:
        """Hold `size` bytes. Raise Unavailable if there is no room."""
        held = self.try_to_hold(size)
        if held is None:
            raise _no_room()
        return held

    async def wait_to_hold(self, size: int, seconds: float, *, is_fresh: bool) -> Held:
        """Hold an answer that is in memory already, once there is room for it. `is_fresh`: it was just made.
        Raise Unavailable if there is none in time, or at once if as many bytes wait already as may be held,
        because those are in memory too."""
        if (held := self.try_to_hold(size, is_fresh=is_fresh)) is not None:
            return held
        if self.waiting and self.waiting + size > self._room(is_fresh=is_fresh):
            raise _no_room()
        self.waiting += size
        try:
            async with asyncio.timeout(seconds):
                while held is None:
                    await self._changed()
                    held = self.try_to_hold(size, is_fresh=is_fresh)
        except TimeoutError:
            raise _no_room() from None
        finally:
            self.waiting -= size
        return held

    def take_back(self, size: int) -> None:
        """Count held bytes as free, and tell those who wait for room."""
        self.size -= size
        if self._change is not None:
            self._change.set_result(None)
            self._change = None

    async def _changed(self) -> None:
        if self._change is None:
            self._change = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._change)


def _no_room() -> Unavailable:
    message = "Too many large answers are waiting for their clients; try again."
    return Unavailable(message, retry_after_seconds=1)


class Held:
    """The bytes that one answer holds, until they are given back."""

    __slots__ = ("_all", "_size")

    def __init__(self, of: HeldBytes, size: int) -> None:
        self._all = of
        self._size = size
        of.size += size

    def give_back(self) -> None:
        size, self._size = self._size, 0
        if size:
            self._all.take_back(size)
            memory.give_back()

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()
