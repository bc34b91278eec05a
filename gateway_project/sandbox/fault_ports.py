"""Ports that go wrong before there is a request: refused, deaf, or without the promised TLS."""

import asyncio
import socket
from typing import cast

PLAIN_ANSWER = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _Silent(asyncio.Protocol):
    """Accepts, reads and never answers."""

    def __init__(self, open_transports: set[asyncio.Transport]) -> None:
        self._open = open_transports
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, so this cannot be checked.
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self._transport)


class _Plain(_Silent):
    """Answers a TLS greeting in plain HTTP."""

    def data_received(self, data: bytes) -> None:
        self._transport.write(PLAIN_ANSWER)
        self._transport.close()


class FaultPorts:
    """The listeners behind `SandboxServer.fault_urls`."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._refusing: socket.socket | None = None
        self._servers: list[asyncio.Server] = []
        self._transports: set[asyncio.Transport] = set()

    async def open(self) -> dict[str, str]:
        return {
            "connect-refused": f"http://{self._host}:{self._refuse()}/v1",
            "tls-fail": f"https://{self._host}:{await self._listen(_Plain)}/v1",
            "accept-silence": f"http://{self._host}:{await self._listen(_Silent)}/v1",
        }

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        for transport in list(self._transports):
            transport.abort()
        if self._refusing is not None:
            self._refusing.close()
            self._refusing = None

    def _refuse(self) -> int:
        """Reserve a port on which nobody listens."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._refusing = socket.socket(family)
        self._refusing.bind((self._host, 0))
        port: int = self._refusing.getsockname()[1]
        return port

    async def _listen(self, protocol: type[_Silent]) -> int:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: protocol(self._transports), self._host, 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port
