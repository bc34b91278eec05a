"""Pool a worker's connections to upstreams: reuse idle ones, open others.

Every address a name stands for is checked right before it is connected to (egress.py). Proxies of the
environment are not used.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import aiohappyeyeballs

from gateway_project.lib import current_request
from routing.upstream import egress
from routing.upstream.http1 import READ_BYTES, Connection

# How long an idle connection is kept. Servers close theirs after 60 s and more where they are far away, and
# after 5 s where they are somebody's own (uvicorn, Node): without TLS a new connection costs next to nothing.
IDLE_SECONDS = 15.0
PLAIN_IDLE_SECONDS = 4.0
# How much earlier than the upstream means to.
IDLE_MARGIN_SECONDS = 1.0
NAMES_SECONDS = 10.0
# RFC 8305, 5: how long an address may take before the next one is tried beside it.
NEXT_ADDRESS_SECONDS = 0.25

AddressInfos = list[egress.AddressInfo]


class PoolSlot(NamedTuple):
    """A host and port to connect to, and whether it may lead into a private network. `keepalive_seconds`:
    how long a connection may be idle, if the operator says so."""

    host: str
    port: int
    is_tls: bool
    allow_private: bool
    keepalive_seconds: int | None = None

    @property
    def idle_seconds(self) -> float:
        if self.keepalive_seconds is not None:
            return self.keepalive_seconds
        return IDLE_SECONDS if self.is_tls else PLAIN_IDLE_SECONDS


class NoConnectionFree(Exception):
    """Every connection is in use, and none came free in time."""


class Connections:
    """All connections of one event loop. At most `at_most` are in use at once; further callers wait."""

    def __init__(self, *, connect_seconds: float, wait_seconds: float, at_most: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect_seconds = connect_seconds
        self._wait_seconds = wait_seconds
        self._at_most = at_most
        self._taken = 0
        self._in_use: dict[Connection, PoolSlot] = {}
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._idle: dict[PoolSlot, list[Connection]] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._names = Names(self._loop)
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def in_use(self) -> int:
        return self._taken

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def take(self, place: PoolSlot, *, fresh: bool = False) -> Connection:
        """Return a connection for one request, a new one if need be. Raises OSError, TimeoutError,
        NoConnectionFree."""
        if self._taken < self._at_most:
            self._taken += 1
        else:
            await self._wait_in_line()
        connection = None if fresh else self._found(place)
        if connection is None:
            try:
                connection = await self._connect(place)
            except BaseException:
                self._give_place()
                raise
        self._in_use[connection] = place
        return connection

    def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in [*self._in_use, *(one for idle in self._idle.values() for one in idle)]:
            connection.cut()
        self._idle.clear()

    def _found(self, place: PoolSlot) -> Connection | None:
        """Return the connection that was used last: the others may end."""
        idle = self._idle.get(place)
        if not idle:
            return None
        now = self._loop.time()
        while idle:
            connection = idle.pop()
            if not connection.is_usable:
                continue
            if (
                connection.idle_since + idle_seconds(place, connection) > now
                and connection.is_quiet
            ):
                return connection
            connection.cut()
        return None

    async def _connect(self, place: PoolSlot) -> Connection:
        async with asyncio.timeout(self._connect_seconds):
            infos = await self._names.look_up(place.host, place.port)
            connected = await aiohappyeyeballs.start_connection(
                infos,
                happy_eyeballs_delay=NEXT_ADDRESS_SECONDS,
                interleave=1,
                loop=self._loop,
                socket_factory=_socket_factory(allow_private=place.allow_private),
            )
            try:
                with current_request.stepped_out_of():  # others use the connection after this one
                    _, connection = await self._loop.create_connection(
                        lambda: Connection(self._loop, self._free, self._buffer),
                        sock=connected,
                        ssl=_certificates() if place.is_tls else None,
                        server_hostname=place.host if place.is_tls else None,
                    )
            except BaseException:
                with contextlib.suppress(
                    OSError, RuntimeError
                ):  # uvloop may have closed it already
                    connected.close()
                raise
        return connection

    async def _wait_in_line(self) -> None:
        turn = self._loop.create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_place()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise NoConnectionFree from error
            raise

    def _give_place(self) -> None:
        """Hand the right to a connection on to who has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1

    def _free(self, connection: Connection, keep: bool) -> None:
        """Called when a connection has done its request, or has ended; the latter may be told twice."""
        place = self._in_use.pop(connection, None)
        if place is None:
            self._forget_idle(connection)
            return
        if keep:
            connection.idle_since = self._loop.time()
            self._idle.setdefault(place, []).append(connection)
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(IDLE_SECONDS, self._sweep)
        if self._waiting:
            self._give_place()
        else:
            self._taken -= 1

    def _forget_idle(self, connection: Connection) -> None:
        for idle in self._idle.values():
            if connection in idle:
                idle.remove(connection)
                return

    def _sweep(self) -> None:
        """Close what has been idle for too long."""
        self._sweeping = None
        now = self._loop.time()
        for place, idle in list(self._idle.items()):
            kept = [one for one in idle if one.idle_since + idle_seconds(place, one) > now]
            for connection in set(idle).difference(kept):
                connection.cut()
            if kept:
                self._idle[place] = kept
            else:
                del self._idle[place]
        if self._idle:
            self._sweeping = self._loop.call_later(IDLE_SECONDS / 2, self._sweep)


def idle_seconds(place: PoolSlot, connection: Connection) -> float:
    """Return how long a connection may be idle: a little less than its upstream says, if that is shorter."""
    told = connection.idle_seconds
    if told is None:
        return place.idle_seconds
    return min(place.idle_seconds, told - IDLE_MARGIN_SECONDS)


class Names:
    """The addresses of names, remembered for some seconds; concurrent look-ups of a name share one answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked: dict[tuple[str, int], asyncio.Task[AddressInfos]] = {}

    async def look_up(self, host: str, port: int) -> AddressInfos:
        """Raises OSError for a name without an address."""
        key = (host, port)
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = self._loop.create_task(resolve(self._loop, host, port))
            asked.add_done_callback(partial(self._remember, key))
        return await asyncio.shield(asked)

    def _remember(self, key: tuple[str, int], asked: asyncio.Task[AddressInfos]) -> None:
        failed = asked.cancelled() or asked.exception() is not None
        self._loop.call_later(0 if failed else NAMES_SECONDS, self._asked.pop, key, None)


async def resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> AddressInfos:
    """Return every address of a name. Raises OSError."""
    found: list[Any] = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return found


def _socket_factory(*, allow_private: bool) -> Callable[[egress.AddressInfo], socket.socket]:
    create = egress.socket_factory(allow_private=allow_private)

    def make(info: egress.AddressInfo) -> socket.socket:
        made = create(info)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return made

    return make


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: that takes tens of milliseconds."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
