"""Share the sign of life of an event loop or process with other threads and processes."""

from __future__ import annotations

import asyncio
import mmap
import struct

from gateway_project.lib import aio, clock

BEAT_SECONDS = 1.0
# A loop that has been silent for so long counts as stuck.
STUCK_SECONDS = 20.0

_INSTANT = struct.Struct("d")


class SharedHeartbeat:
    """A timestamp in shared memory. If it was made before a fork, parent and child both see it.

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
        """Return when it last beat."""
        instant: float = _INSTANT.unpack_from(self._memory)[0]
        return instant

    @property
    def is_stuck(self) -> bool:
        return clock.monotonic() - self.at >= STUCK_SECONDS

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat from this event loop for as long as the loop runs."""
        self._loop = loop
        self._beat()

    def beat(self) -> None:
        """Beat once; safe from any thread."""
        self._write()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Release the shared memory. Nothing in this process may beat afterwards."""
        self._memory.close()

    def _beat(self) -> None:
        assert self._loop is not None
        self._write()
        self._timer = self._loop.call_later(aio.seconds_to_tick(BEAT_SECONDS), self._beat)

    def _write(self) -> None:
        _INSTANT.pack_into(self._memory, 0, clock.monotonic())
