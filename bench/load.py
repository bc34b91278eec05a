"""Send a closed loop of calls over a number of connections, and tally the results."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import perf_counter

from bench.calls import Call
from bench.client import Connection

MAX_SECONDS = 300
MAX_KEPT_FAULTS = 5


class LoadFailed(Exception):
    """Calls failed, so that no figure means anything; the message shows the first few."""


@dataclass(slots=True)
class Tally:
    """The result of a load. `latencies` in seconds, one per call; `peak` calls ran at once."""

    calls: int = 0
    events: int = 0
    seconds: float = 0.0
    peak: int = 0
    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def calls_per_second(self) -> float:
        return self.calls / self.seconds

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds


class Load:
    """Open connections to one server, reusable for many loads."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._connections: list[Connection] = []

    async def connect(self, concurrency: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(concurrency):
            _, connection = await loop.create_connection(self._new, "127.0.0.1", self._port)
            self._connections.append(connection)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    async def run(self, call: Call, count: int) -> Tally:
        """Send `count` calls; each connection sends the next when it has its answer. Raise LoadFailed."""
        self._call, self._request = call, call.on_wire(self._port, self._key)
        self._tally, self._left, self._running = Tally(), count, 0
        self._ended = asyncio.get_running_loop().create_future()
        started_at = perf_counter()
        for connection in self._connections[:count]:
            self._next(connection)
        async with asyncio.timeout(MAX_SECONDS):
            await self._ended
        self._tally.seconds = perf_counter() - started_at
        if self._tally.failures:
            shown = "; ".join(self._tally.faults)
            raise LoadFailed(f"{self._tally.failures} of {count} calls failed: {shown}")
        return self._tally

    def _new(self) -> Connection:
        return Connection(self._done)

    def _next(self, connection: Connection) -> None:
        self._left -= 1
        self._running += 1
        self._tally.peak = max(self._tally.peak, self._running)
        connection.send(self._call, self._request)

    def _done(self, connection: Connection, events: int, fault: str) -> None:
        tally = self._tally
        self._running -= 1
        tally.calls += 1
        tally.events += events
        tally.latencies.append(perf_counter() - connection.sent_at)
        if fault:
            tally.failures += 1
            tally.faults = [*tally.faults, fault][:MAX_KEPT_FAULTS]
        if self._left > 0 and not tally.failures:
            self._next(connection)
        elif self._running == 0 and not self._ended.done():
            self._ended.set_result(None)
