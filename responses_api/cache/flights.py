"""Let equal requests of this process wait for the one that asks a model."""

from __future__ import annotations

import asyncio

from responses_api.cache.entries import CacheEntry


class Flight:
    """A request on its way to an answer that others wait for, until `deadline` at most."""

    __slots__ = ("answer", "deadline")

    def __init__(self, loop: asyncio.AbstractEventLoop, wait_seconds: float) -> None:
        self.answer: asyncio.Future[CacheEntry | None] = loop.create_future()
        self.deadline = loop.time() + wait_seconds

    def land(self, entry: CacheEntry | None) -> None:
        """Tell those who wait; None: there is no answer for them. Only the first call counts."""
        if not self.answer.done():
            self.answer.set_result(entry)


class Flights:
    """The flights of this process by key."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def waited_for(self, key: bytes, now: float) -> Flight | None:
        """Return the flight to wait for, if there is one that has not taken too long already."""
        flight = self._flights.get(key)
        return flight if flight is not None and now < flight.deadline else None

    def add(self, key: bytes, flight: Flight) -> None:
        self._flights[key] = flight
        flight.answer.add_done_callback(lambda _: self._remove(key, flight))

    def clear(self) -> None:
        """Let nobody new wait for the flights under way."""
        self._flights.clear()

    def _remove(self, key: bytes, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
