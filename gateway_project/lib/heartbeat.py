"""The sign of life of an event loop, which other threads and processes can read."""

from __future__ import annotations

import asyncio
import mmap
import struct

from gateway_project.lib import clock

BEAT_SECONDS = 1.0
# A loop that has been silent for so long counts as stuck.
STUCK_SECONDS = 20.0

_INSTANT = struct.Struct("d")


class Heartbeat:
    """Made before a fork, it is shared with the child: the instant lies in memory that both have.

    `clock.monotonic()` is the same in all processes of a host.
    """

    __slots__ = ("_loop", "_memory", "_timer")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _INSTANT.size)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._write()

    @property
    def at(self) -> float:
        """When it last beat."""
        instant: float = _INSTANT.unpack_from(self._memory)[0]
        return instant

    @property
    def is_stuck(self) -> bool:
        return clock.monotonic() - self.at >= STUCK_SECONDS

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat in this loop for as long as it turns."""
        self._loop = loop
        self._beat()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Give the memory back. Nothing may beat any more in this process."""
        self._memory.close()

    def _beat(self) -> None:
        assert self._loop is not None
        self._write()
        self._timer = self._loop.call_later(BEAT_SECONDS, self._beat)

    def _write(self) -> None:
        _INSTANT.pack_into(self._memory, 0, clock.monotonic())
