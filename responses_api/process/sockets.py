"""Track the WebSockets open in this worker: tell them of a drain, and check them when keys change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Protocol

from gateway_project.lib import aio

RETRY_SECONDS = 0.5


class Socket(Protocol):
    def drain(self) -> None:
        """Take no more turns, and close once the running ones have ended."""

    async def is_allowed(self) -> bool | None:
        """Return whether the connection's key is still allowed; if not, the connection closes itself.
        None: this cannot be known now."""


class Sockets:
    """The open WebSockets of one worker."""

    def __init__(self) -> None:
        self._open: set[Socket] = set()
        self._looking: asyncio.Task[None] | None = None
        self._again = False

    def add(self, socket: Socket) -> None:
        self._open.add(socket)

    def remove(self, socket: Socket) -> None:
        self._open.discard(socket)

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Socket]:
        return iter(tuple(self._open))

    @property
    def is_checking_keys(self) -> bool:
        return self._looking is not None

    def drain(self) -> None:
        for socket in self:
            socket.drain()

    def keys_changed(self) -> None:
        """Check the keys of all connections. Those of one key cost one query together, because the first
        answer is remembered for the others."""
        self._again = True
        if self._open and self._looking is None:
            self._looking = aio.hold(self._look(), "socket-keys")

    async def stop(self) -> None:
        await aio.end(self._looking)

    async def _look(self) -> None:
        try:
            while self._again:
                self._again = False
                answers = await asyncio.gather(*(socket.is_allowed() for socket in self._open))
                if None in answers:
                    self._again = True
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._looking = None
