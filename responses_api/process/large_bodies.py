"""Let large request bodies take turns: so many of one key at a time, and so many in all.

A turn lasts from the first byte read until the request is decoded and admitted. A request that waits is not
read from meanwhile, and gets a 429 if the wait is long. A small body of very many items, parts and tools
weighs as much as a large one (`ModelCall.weight`) and takes its turn once they were counted: the work they
make is still to come and begins when the turn ends, so that other keys' requests come in between.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from msgspec import Struct

from gateway_project.lib.errors import RateLimited

# Waiting requests of one key; any further one is refused at once.
MAX_WAITING = 16
RETRY_SECONDS = 1.0


class TurnLimits(Struct, frozen=True):
    """The limits on turns. A body of at least `size` bytes is large."""

    size: int
    in_all: int
    per_key: int
    wait_seconds: float


class LargeBodies:
    """The turns of large bodies in one worker process."""

    def __init__(self, limits: TurnLimits) -> None:
        self.limits = limits
        self._running: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @property
    def running_count(self) -> int:
        return self._running.total()

    @property
    def waiting_count(self) -> int:
        return len(self._waiting)

    def turn(self, key: str) -> BodyTurn:
        """Return a turn of this key, to be taken if the body turns out to be large."""
        return BodyTurn(self, key)

    async def _take(self, key: str) -> None:
        if self._fits(key):
            self._running[key] += 1
            return
        if sum(owner == key for owner, _ in self._waiting) >= MAX_WAITING:
            raise self._refusal()
        place = (key, asyncio.get_running_loop().create_future())
        self._waiting.append(place)
        try:
            async with asyncio.timeout(self.limits.wait_seconds):
                await place[1]
        except BaseException as error:
            self._give_up(*place)
            if isinstance(error, TimeoutError):
                raise self._refusal() from None
            raise

    def _give_up(self, key: str, place: asyncio.Future[None]) -> None:
        if place.done() and not place.cancelled():
            self._end(key)  # it was given its turn at the same moment
        else:
            self._waiting.remove((key, place))

    def _end(self, key: str) -> None:
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]
        for place in tuple(self._waiting):
            # One that was cancelled in this moment is about to give its place up.
            if self._fits(place[0]) and not place[1].done():
                self._waiting.remove(place)
                self._running[place[0]] += 1
                place[1].set_result(None)

    def _fits(self, key: str) -> bool:
        limits = self.limits
        return self._running.total() < limits.in_all and self._running[key] < limits.per_key

    def _refusal(self) -> RateLimited:
        limits = self.limits
        return RateLimited(
            f"Too many large requests at the same time: at most {limits.per_key} of one key and "
            f"{limits.in_all} in all may be read at once, if they have more than {limits.size} bytes or very "
            "many items. Try again.",
            RETRY_SECONDS,
            limit="large_bodies",
        )


class BodyTurn:
    """The turn of one request. Whoever makes one ends it."""

    __slots__ = ("_bodies", "_is_taken", "_key")

    def __init__(self, bodies: LargeBodies, key: str) -> None:
        self._bodies = bodies
        self._key = key
        self._is_taken = False

    async def take(self, size: int) -> None:
        """Wait until a body of this size, or weight, may go on. Raise RateLimited."""
        if size > self._bodies.limits.size and not self._is_taken:
            await self._bodies._take(self._key)
            self._is_taken = True

    def end(self) -> None:
        """End the turn: the request was decoded or given up."""
        if self._is_taken:
            self._is_taken = False
            self._bodies._end(self._key)
