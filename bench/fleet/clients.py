"""Clients of several tenants that ask at a steady rate, whatever becomes of their calls."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field

PATIENCE_SECONDS = 30.0
DONE = b"data: [DONE]"


@dataclass(frozen=True, slots=True)
class Asked:
    """A call: when it was sent, for how long it took, and whether its client got its whole answer."""

    at: float
    seconds: float
    is_answered: bool
    error: str = ""


@dataclass(slots=True)
class Clients:
    """Connections to one address, and the calls made over them."""

    host: str
    port: int
    asked: list[Asked] = field(default_factory=list)
    _idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def ask(self, request: bytes) -> None:
        began_at = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                error = await self._exchange(request)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as failure:
            error = type(failure).__name__
        taken = time.monotonic() - began_at
        self.asked.append(Asked(began_at, taken, is_answered=not error, error=error))

    async def _exchange(self, request: bytes) -> str:
        """Send a request and return what is wrong with its answer; empty if nothing is."""
        reader, writer = self._idle.pop() if self._idle else await self._connect()
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            body = await _body(reader, head.lower())
        except BaseException:
            writer.close()
            raise
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self._idle.append((reader, writer))
        if status != 200:
            return f"{status} {body[:120].decode(errors='replace')}"
        return "" if DONE in body else "no end"

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port)

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if b"transfer-encoding: chunked" in head:
        pieces = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            pieces.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        return b"".join(pieces)
    length = head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
    return await reader.readexactly(int(length))


def request(port: int, key: str, text: str, model: str) -> bytes:
    """Return a streamed chat completion as it goes over the wire."""
    body = (
        f'{{"model": "{model}", "stream": true, '
        f'"messages": [{{"role": "user", "content": "[pace=2] {text}"}}]}}'
    ).encode()
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


async def steadily(clients: list[Clients], requests: list[bytes], per_second: float) -> None:
    """Ask in turn at this rate until cancelled; calls that hang hold up no others."""
    running: set[asyncio.Task[None]] = set()
    turn = itertools.count()
    next_at = time.monotonic()
    try:
        while True:
            number = next(turn)
            who, asked = clients[number % len(clients)], requests[number % len(requests)]
            task = asyncio.create_task(who.ask(asked))
            running.add(task)
            task.add_done_callback(running.discard)
            next_at += 1.0 / per_second
            await asyncio.sleep(max(next_at - time.monotonic(), 0.0))
    finally:
        await asyncio.gather(*running)
