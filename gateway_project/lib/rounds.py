"""Look by one timer at everything that may take too long: a timer for each would cost a call microseconds."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Protocol

logger = logging.getLogger("tollgate.rounds")


class RoundMember(Protocol):
    """Be looked at as long as it runs, at least every `tick` seconds."""

    @property
    def tick(self) -> float: ...

    def look(self, now: float) -> None:
        """Look, at an instant of the event loop's clock."""


class Rounds:
    """The rounds of one event loop. There is no timer while nothing runs.

    A loop that stood still (its machine was suspended, or too busy) runs its timers before it reads what came
    meanwhile. So a round that is late by a tick is put off by another: nobody is blamed for silence that was
    the worker's own.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # Not that of the request for which a timer happens to be made: each timer makes the next one.
        self._context = contextvars.copy_context()
        self._watched: set[RoundMember] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tick = 0.0
        self._due = 0.0
        self._was_put_off = False

    def join(self, watched: RoundMember) -> None:
        """Look at it from now on, until it leaves."""
        self._watched.add(watched)
        if self._timer is None or watched.tick < self._tick:
            self._arm(watched.tick)

    def leave(self, watched: RoundMember) -> None:
        self._watched.discard(watched)

    def _arm(self, tick: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._tick = tick
        self._due = self.loop.time() + tick
        self._timer = self.loop.call_later(tick, self._look, context=self._context)

    def _look(self) -> None:
        self._timer = None
        now = self.loop.time()
        self._was_put_off = now - self._due > self._tick and not self._was_put_off
        if self._was_put_off:
            self._arm(self._tick)
            return
        for watched in tuple(self._watched):
            try:
                watched.look(now)
            except Exception:  # the others are still to be looked at
                logger.exception("something that runs cannot be looked at")
        if self._watched:
            self._arm(min(watched.tick for watched in self._watched))
