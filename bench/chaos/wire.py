"""One HTTP/1.1 connection of a client that takes a broken connection for an event, not for an error."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

_LAST_CHUNK = b"0\r\n\r\n"
SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The part of an answer that arrived before the end or the cut. `status` is 0 where not even that
    arrived.
    """

    status: int
    body: bytes
    is_whole: bool


class Wire:
    """Connects when it has to; one exchange at a time."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes, *headers: str) -> Answer:
        return await self._ask("POST", path, body, headers)

    async def get(self, path: str) -> Answer:
        return await self._ask("GET", path, b"", ())

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _ask(self, method: str, path: str, body: bytes, headers: tuple[str, ...]) -> Answer:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"host: 127.0.0.1:{self._port}",
            f"authorization: Bearer {self._key}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *headers,
        ]
        request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        received = bytearray()
        whole = False
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(SECONDS):
                whole = await self._exchange(request, received)
        if not whole:
            self.close()
        return _answer(bytes(received), whole)

    async def _exchange(self, request: bytes, received: bytearray) -> bool:
        """Tell whether the answer reached its end; what arrived of it is in `received`."""
        if self._writer is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader is not None
        self._writer.write(request)
        while piece := await self._reader.read(65536):
            received += piece
            if _is_whole(received):
                return True
        return False


def _is_whole(received: bytearray) -> bool:
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(received[:end]).lower()
    if b"transfer-encoding: chunked" in head:
        return received.endswith(_LAST_CHUNK)
    return len(received) - end - 4 >= _length(head)


def _length(head: bytes) -> int:
    _, found, after = head.partition(b"\r\ncontent-length:")
    return int(after.partition(b"\r\n")[0]) if found else 0


def _answer(received: bytes, whole: bool) -> Answer:
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return Answer(0, b"", False)
    status = int(head.split(maxsplit=2)[1])
    if b"transfer-encoding: chunked" in head.lower():
        body = _joined(body)
    return Answer(status, body, whole)


def _joined(body: bytes) -> bytes:
    """Join the pieces of a chunked body, as far as they arrived."""
    pieces, place = [], 0
    while (end := body.find(b"\r\n", place)) > 0:
        size = int(body[place:end], 16)
        if size == 0:
            break
        pieces.append(body[end + 2 : end + 2 + size])
        place = end + 2 + size + 2
    return b"".join(pieces)
