"""Bound a worker's connections: how many, from where, and how long each may take.

One coarse timer per event loop looks at all connections; a connection only records what it is doing, so
that a request costs no timer and no look at the clock. Times are therefore met to about a tick.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from gateway_project.lib.client_address import NOBODY, TrustedProxies, network_of

MAX_TICK_SECONDS = 1.0
# Connections beyond a limit that are still read, so that health checks pass and others are told why not.
RESERVE = 64
RESERVE_PER_ADDRESS = 16
# Files a process has open beside its clients' connections and the ones to upstreams that these cause.
OTHER_FILES = 256
LEAST_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of one worker process. `linger_seconds`: how long a refused client may go on sending."""

    head_bytes: int = 64 * 1024
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    body_bytes_per_second: int = 1000
    body_window_seconds: float = 10.0
    linger_seconds: float = 2.0
    reserve_seconds: float = 3.0
    total: int = 8192
    per_address: int = 1024
    trusted: TrustedProxies = NOBODY
    tick: float = field(init=False)

    def __post_init__(self) -> None:
        shortest = min(self.head_seconds, self.idle_seconds, self.body_window_seconds)
        object.__setattr__(self, "tick", min(MAX_TICK_SECONDS, max(shortest / 4, 0.01)))


def affordable(wanted: int, file_limit: int) -> int:
    """Cap the wanted connections by the file limit: a call needs two files."""
    return min(wanted, max(LEAST_CONNECTIONS, (file_limit - OTHER_FILES) // 2))


class Standing(Enum):
    """The allowance of a connection."""

    SERVED = "served"
    ADDRESS_FULL = "too many connections of its address"
    SERVER_FULL = "too many connections in all"


class WatchedConnection(Protocol):
    """A connection that the timer looks at."""

    @property
    def is_busy(self) -> bool:
        """Tell whether a request is under way."""

    def look(self, now: float) -> None: ...

    def retire(self) -> None:
        """Close after the next answer that has not begun."""


class Slot:
    """The slot of a connection in its process; released once, by its last holder."""

    __slots__ = ("_counted", "_network", "standing")

    def __init__(self, counted: Counted, network: str, standing: Standing) -> None:
        self._counted: Counted | None = counted
        self._network = network
        self.standing = standing

    def leave(self) -> None:
        counted, self._counted = self._counted, None
        if counted is not None:
            counted.remove(self._network)


class Counted:
    """Connections counted in total and by network; "" stands for proxies, which bring many."""

    __slots__ = ("_by_network", "total")

    def __init__(self) -> None:
        self.total = 0
        self._by_network: Counter[str] = Counter()

    def of(self, network: str) -> int:
        return self._by_network[network] if network else 0

    def add(self, network: str) -> None:
        self.total += 1
        self._by_network[network] += 1

    def remove(self, network: str) -> None:
        self.total -= 1
        self._by_network[network] -= 1
        if not self._by_network[network]:
            del self._by_network[network]


class ConnectionTable:
    """The connections of one server, WebSockets included.

    One that finds no regular slot may get one in the reserve, to be told so. Both are counted apart, so
    that a client that retries again and again does not keep itself out.
    """

    def __init__(self, limits: ConnectionLimits, loop: asyncio.AbstractEventLoop) -> None:
        self.limits = limits
        self._loop = loop
        self._served = Counted()
        self._in_reserve = Counted()
        self._watched: set[WatchedConnection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.is_retiring = False

    @property
    def total(self) -> int:
        return self._served.total + self._in_reserve.total

    @property
    def is_busy(self) -> bool:
        """Tell whether a connection has a request under way; WebSockets are not looked at."""
        return any(connection.is_busy for connection in self._watched)

    def retire(self) -> None:
        """Close each connection after its next answer: there will be no new ones."""
        self.is_retiring = True
        for connection in tuple(self._watched):
            connection.retire()

    def enter(self, address: str) -> Slot | None:
        """Return a slot for a connection from this address; None if there is not even one to refuse it
        on.
        """
        limits = self.limits
        network = "" if limits.trusted.trusts(address) else network_of(address)
        if self._served.total >= limits.total:
            return self._reserve_place(network, Standing.SERVER_FULL)
        if self._served.of(network) >= limits.per_address:
            return self._reserve_place(network, Standing.ADDRESS_FULL)
        self._served.add(network)
        return Slot(self._served, network, Standing.SERVED)

    def _reserve_place(self, network: str, standing: Standing) -> Slot | None:
        reserve = self._in_reserve
        if reserve.total >= RESERVE or reserve.of(network) >= RESERVE_PER_ADDRESS:
            return None
        reserve.add(network)
        return Slot(reserve, network, standing)

    def watch(self, connection: WatchedConnection) -> None:
        """Look at a connection until `unwatch`."""
        self._watched.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(self.limits.tick, self._look)

    def unwatch(self, connection: WatchedConnection) -> None:
        self._watched.discard(connection)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for connection in tuple(self._watched):
            connection.look(now)
        if self._watched:
            self._timer = self._loop.call_later(self.limits.tick, self._look)
