"""A server of one ASGI application, and a connection to it that sees every write."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway_project.serving.http import HttpProtocol
from tests.support.patience import GIVE_UP_SECONDS

App = Callable[[Any, Any, Any], Awaitable[None]]


def counted(protocol: type[HttpToolsProtocol], writes: list[bytes]) -> type[HttpToolsProtocol]:
    """One that knows what was written, write by write."""

    class Counted(protocol):  # type: ignore[valid-type, misc]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(Recorder(transport, writes))

    return Counted


class Recorder:
    def __init__(self, transport: asyncio.Transport, writes: list[bytes]) -> None:
        self._transport = transport
        self._writes = writes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        self._transport.write(data)

    def writelines(self, pieces: tuple[bytes, ...]) -> None:
        self.write(b"".join(pieces))


class Asked:
    """A server of `app`, and a connection to it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, writes: list[bytes]
    ) -> None:
        self._reader, self._writer, self.writes = reader, writer, writes
        self._address = writer.get_extra_info("peername")
        self._others: list[Asked] = []

    async def another(self) -> Asked:
        """A further connection to the same server, closed with this one at the latest."""
        other = Asked(*await asyncio.open_connection(*self._address), self.writes)
        self._others.append(other)
        return other

    def close(self) -> None:
        for connection in (self, *self._others):
            connection._writer.close()

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    def ask(self, method: str = "GET", head: str = "") -> None:
        self.say(f"{method} / HTTP/1.1\r\nhost: x\r\n{head}\r\n".encode())

    def leave(self) -> None:
        self._writer.transport.abort()

    async def until(self, end: bytes) -> bytes:
        return await asyncio.wait_for(self._reader.readuntil(end), GIVE_UP_SECONDS)

    async def rest(self) -> bytes:
        """Read until the server closes."""
        return await asyncio.wait_for(self._reader.read(), GIVE_UP_SECONDS)


@contextlib.asynccontextmanager
async def served(
    app: App, protocol: type[HttpToolsProtocol] = HttpProtocol
) -> AsyncIterator[Asked]:
    writes: list[bytes] = []
    config = uvicorn.Config(
        app,
        http=counted(protocol, writes),
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server.serve([listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    asked = Asked(reader, writer, writes)
    yield asked
    asked.close()
    server.should_exit = True
    await running
