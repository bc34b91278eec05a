"""An event loop whose clock jumps to the next timer, and whose network lies in memory.

A call that waits a minute for its upstream takes no time here, nothing depends on how busy the machine is,
and every turn of the loop can be named: `at_turn` does something before a certain one. Connections lead to
what `listen` was given; the HTTP client, its pool and its parser are the product's own.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Callable
from socket import AF_INET, IPPROTO_TCP, SOCK_STREAM
from typing import Any

HOST = "127.0.0.1"
# As much as a socket takes before its writer must wait.
HIGH_WATER_BYTES = 128 * 1024
# A call that has not ended by then never will.
MOST_TURNS = 200_000

ProtocolFactory = Callable[[], Any]


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop without sockets; closed like any other."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self  # asked by the base class when nothing is ready
        self._now = 0.0
        self._listeners: dict[int, ProtocolFactory] = {}
        self._ports: dict[Any, int] = {}
        self._quiet = _Quiet()
        self._due: dict[int, Callable[[], None]] = {}
        self.turn = 0

    # Time

    def time(self) -> float:
        return self._now

    def at_turn(self, turn: int, do: Callable[[], None]) -> None:
        """Do something right before this turn, counted from `begin`."""
        self._due[turn] = do

    def begin(self) -> None:
        """Count turns from now on."""
        self.turn = 0
        self._due.clear()

    def select(self, timeout: float | None) -> list[Any]:
        """Stand in for the selector: instead of waiting, let the time go by."""
        self.turn += 1
        if timeout is None:
            raise AssertionError("nothing is left to happen, and somebody still waits")
        if self.turn > MOST_TURNS:
            raise AssertionError(f"no end after {MOST_TURNS} turns")
        self._now += timeout
        if (do := self._due.pop(self.turn, None)) is not None:
            do()
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """Nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody waits in a selector."""

    def close(self) -> None:
        if not self.is_closed():
            self._quiet.close()
        super().close()

    # The network

    def listen(self, port: int, factory: ProtocolFactory | None) -> None:
        """Accept connections to this port; with None accept them and say nothing."""
        self._listeners[port] = factory or asyncio.Protocol

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> list[Any]:
        return [(AF_INET, SOCK_STREAM, IPPROTO_TCP, "", (HOST, port))]

    async def sock_connect(self, sock: Any, address: Any) -> None:
        await asyncio.sleep(0)
        if address[1] not in self._listeners:
            raise ConnectionRefusedError(111, "Connection refused")
        self._ports[sock] = address[1]

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: ProtocolFactory, *, sock: Any, ssl: Any = None, **_: Any
    ) -> tuple[Any, Any]:
        port = self._ports.pop(sock)
        sock.close()
        await asyncio.sleep(0)
        if ssl is not None:
            raise NO_TLS
        near, far = protocol_factory(), self._listeners[port]()
        ours, theirs = MemoryTransport(self, near, self._quiet), MemoryTransport(self, far, None)
        ours.peer, theirs.peer = theirs, ours
        far.connection_made(theirs)
        near.connection_made(ours)
        return ours, near


NO_TLS = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")


class _Quiet:
    """A stand-in for a connection's socket, from which nothing ever waits to be read."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def fileno(self) -> int:
        return self._read

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class MemoryTransport(asyncio.Transport):
    """One end of a connection. What one end writes at once the other gets in a turn of its own."""

    peer: MemoryTransport

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any, sock: _Quiet | None) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._socket = sock
        self._incoming: deque[bytes] = deque()
        self._held = 0
        self._is_paused = False
        self._is_closing = False
        self._is_lost = False
        self._has_put_off_peer = False
        self._end: tuple[Exception | None] | None = None  # how it ends after what is incoming
        self._delivery: asyncio.Handle | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket if name == "socket" else default

    def is_closing(self) -> bool:
        return self._is_closing

    def write(self, data: Any) -> None:
        if not (self._is_closing or self.peer.is_closing()):
            self.peer.arrive(bytes(data))

    def close(self) -> None:
        self._leave(None)

    def abort(self) -> None:
        self._leave(ConnectionResetError())

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._deliver_soon()

    def _leave(self, told: Exception | None) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._incoming.clear()
        self.peer.end_after_all(told)
        self._loop.call_soon(self._lose, None)

    # Called by the other end

    def arrive(self, data: bytes) -> None:
        self._incoming.append(data)
        self._held += len(data)
        if self._held > HIGH_WATER_BYTES and not self._has_put_off_peer:
            self._has_put_off_peer = True
            self.peer.put_off()
        self._deliver_soon()

    def end_after_all(self, error: Exception | None) -> None:
        if self._end is None:
            self._end = (error,)
        self._deliver_soon()

    def put_off(self) -> None:
        self._protocol.pause_writing()

    def go_on(self) -> None:
        if not self._is_closing:
            self._protocol.resume_writing()

    # Delivery

    def _deliver_soon(self) -> None:
        if self._delivery is None and not self._is_paused:
            self._delivery = self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._delivery = None
        if self._is_closing or self._is_paused:
            return
        if self._incoming:
            self._take(self._incoming.popleft())
            self._deliver_soon()
        elif self._end is not None:
            (error,) = self._end
            self._is_closing = True
            if error is None:
                self._protocol.eof_received()
            self._lose(error)

    def _take(self, data: bytes) -> None:
        self._held -= len(data)
        if isinstance(self._protocol, asyncio.BufferedProtocol):
            self._fill(self._protocol, data)
        else:
            self._protocol.data_received(data)
        if self._has_put_off_peer and self._held < HIGH_WATER_BYTES // 2:
            self._has_put_off_peer = False
            self.peer.go_on()

    def _fill(self, protocol: asyncio.BufferedProtocol, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._is_closing:
            room = memoryview(protocol.get_buffer(len(view)))
            size = min(len(room), len(view))
            room[:size] = view[:size]
            protocol.buffer_updated(size)
            view = view[size:]

    def _lose(self, error: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._protocol.connection_lost(error)
