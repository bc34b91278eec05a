"""Parse and write HTTP/1.1 on bytes: requests out of a buffer, and the head of an answer."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from gateway_project.sandbox.reply import SandboxReply

MAX_HEAD_BYTES = 256 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
CRLF = b"\r\n"

_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}
_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in _PHRASES.items()
}
_CHUNK_HEADS = [b"%x\r\n" % size for size in range(4096)]


class MalformedRequest(Exception):
    """The bytes on the connection are not HTTP/1.1."""


@dataclass(slots=True, frozen=True)
class ReceivedRequest:
    """A whole request; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


@dataclass(slots=True)
class _Head:
    method: str
    path: str
    headers: dict[str, str]
    keep_alive: bool
    length: int | None


class RequestParser:
    """Finds requests in what a connection receives: feed it bytes, take requests until None."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._chunks: list[bytes] = []
        self._was_told_to_continue = False

    def feed(self, received: bytes) -> None:
        self._buffer += received

    def take(self) -> ReceivedRequest | None:
        if self._head is None:
            self._head = self._read_head()
        if self._head is None:
            return None
        body = self._read_chunks() if self._head.length is None else self._read(self._head.length)
        if body is None:
            return None
        head, self._head = self._head, None
        self._was_told_to_continue = False
        return ReceivedRequest(head.method, head.path, head.headers, body, head.keep_alive)

    def awaits_continue(self) -> bool:
        """Tell whether the client holds its body back until told to send it. True only once."""
        if self._head is None or self._was_told_to_continue:
            return False
        self._was_told_to_continue = "expect" in self._head.headers
        return self._was_told_to_continue

    def start_of_body(self, size: int) -> tuple[ReceivedRequest, bytes] | None:
        """Return the unfinished request without its body, and the first bytes of the body."""
        head = self._head
        if head is None:
            return None
        start = b"".join(self._chunks)[:size] or bytes(self._buffer[:size])
        return ReceivedRequest(head.method, head.path, head.headers, b"", keep_alive=False), start

    def _read_head(self) -> _Head | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise MalformedRequest("the head is too large")
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        return _head(lines)

    def _read(self, length: int) -> bytes | None:
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _read_chunks(self) -> bytes | None:
        while (end := self._buffer.find(CRLF)) >= 0:
            size = _number(self._buffer[:end].partition(b";")[0].decode("latin-1"), 16)
            if len(self._buffer) < end + 2 + size + 2:
                return None
            chunk = bytes(self._buffer[end + 2 : end + 2 + size])
            del self._buffer[: end + 2 + size + 2]
            if size == 0:
                body, self._chunks = b"".join(self._chunks), []
                return body
            self._chunks.append(chunk)
        return None


def _head(lines: list[str]) -> _Head:
    start = lines[0].split(" ")
    if len(start) != 3 or not start[2].startswith("HTTP/1."):
        raise MalformedRequest(f"no request line: {lines[0]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    chunked = "chunked" in headers.get("transfer-encoding", "")
    length = None if chunked else _number(headers.get("content-length", "0"), 10)
    keep_alive = start[2] != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
    return _Head(start[0], start[1].partition("?")[0], headers, keep_alive, length)


def _number(digits: str, base: Literal[10, 16]) -> int:
    try:
        return int(digits, base)
    except ValueError:
        raise MalformedRequest(f"no number: {digits!r}") from None


def head(reply: SandboxReply, keep_alive: bool) -> bytes:
    """Return the preamble, status line and headers of a reply."""
    if reply.head is not None:
        return reply.preamble + reply.head
    lines = [f"content-type: {reply.content_type}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in reply.headers]
    if not any(name.lower() == "content-length" for name, _ in reply.headers):
        lines.append(_framing(reply))
    if not keep_alive:
        lines.append("connection: close\r\n")
    lines.append("\r\n")
    return reply.preamble + _status_line(reply.status) + "".join(lines).encode("latin-1")


def is_chunked(reply: SandboxReply) -> bool:
    return reply.length is None and not any(
        name.lower() == "content-length" for name, _ in reply.headers
    )


def chunk_head(size: int) -> bytes:
    return _CHUNK_HEADS[size] if size < 4096 else b"%x\r\n" % size


def _framing(reply: SandboxReply) -> str:
    if reply.length is None:
        return "transfer-encoding: chunked\r\n"
    return f"content-length: {reply.length}\r\n"


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()
