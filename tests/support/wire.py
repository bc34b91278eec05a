"""A client that sees every byte: whether a body really ended, or was only cut off."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.client import PATHS, V1, KeyHolder, error_in, question
from tests.support.patience import GIVE_UP_SECONDS


def request(door: str, customer: KeyHolder, payload: object, **headers: str) -> bytes:
    """The request's bytes."""
    content = json.dumps(payload).encode()
    lines = [
        f"POST {V1}{PATHS[door]} HTTP/1.1",
        "host: gateway",
        f"authorization: Bearer {customer.secret}",
        "content-type: application/json",
        f"content-length: {len(content)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass(frozen=True, slots=True)
class Answer:
    """`is_whole`: the body ended as HTTP wants it, and the connection was not merely closed."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_whole: bool

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return error_in(self.body)

    @property
    def data(self) -> list[bytes]:
        """The text behind each `data: `."""
        return [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(data) for data in self.data if data != b"[DONE]"]


_open: list[Wire] = []


def close_all() -> None:
    """Close what a test left open, because it is over or failed."""
    while _open:
        _open.pop().socket.close()


class Wire:
    """One connection to a gateway."""

    def __init__(self, root_url: str, receive_buffer: int = 0) -> None:
        address = urlsplit(root_url)
        self.socket = socket.socket()
        _open.append(self)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(GIVE_UP_SECONDS)
        self.socket.connect((address.hostname, address.port))
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def receive(self) -> bool:
        """Wait for more bytes; False at the end of the connection."""
        try:
            piece = self.socket.recv(65536)
        except ConnectionError:
            return False
        self.received += piece
        return bool(piece)

    def wait_for(self, mark: bytes) -> None:
        """Wait until these bytes have come."""
        while mark not in self.received:
            assert self.receive(), f"closed before {mark!r}: {self.received!r}"

    def until_closed_or(self, mark: bytes) -> None:
        """Wait until these bytes have come, or no more will."""
        while mark not in self.received and self.receive():
            pass

    def answer(self) -> Answer:
        """The next answer on this connection, up to its end or the connection's."""
        self.wait_for(b"\r\n\r\n")
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        status = int(status_line.split()[1])
        if headers.get("transfer-encoding") == "chunked":
            content, is_whole = self._chunked()
        else:
            content, is_whole = self._counted(int(headers.get("content-length", 0)))
        return Answer(status, headers, content, is_whole)

    def until_closed(self) -> float:
        """Wait for the gateway to close, reading what there is; the moment at which it did."""
        while self.receive():
            pass
        return time.monotonic()

    def _line(self) -> bytes | None:
        while b"\r\n" not in self.received:
            if not self.receive():
                return None
        line, _, self.received = self.received.partition(b"\r\n")
        return line

    def _chunked(self) -> tuple[bytes, bool]:
        pieces: list[bytes] = []
        while (line := self._line()) is not None:
            size = int(line, 16)
            piece, is_whole = self._counted(size + 2)
            if not is_whole:
                break
            if not size:
                return b"".join(pieces), True
            pieces.append(piece[:-2])
        return b"".join(pieces), False

    def _counted(self, size: int) -> tuple[bytes, bool]:
        buffer = bytearray(self.received)
        self.received = b""
        while len(buffer) < size:
            if not self.receive():
                return bytes(buffer), False
            buffer += self.received
            self.received = b""
        self.received = bytes(buffer[size:])
        return bytes(buffer[:size]), True


def ask(
    root_url: str,
    door: str,
    customer: KeyHolder,
    model: str,
    text: str = "Hi",
    stream: bool = False,
) -> Answer:
    """Ask on a connection of its own."""
    with started(root_url, door, customer, model, text, stream) as wire:
        return wire.answer()


def deltas(answer: Answer) -> Iterator[str]:
    """The pieces of text in a stream of either door."""
    for event in answer.events:
        if event.get("type") == "response.output_text.delta":
            yield event["delta"]
        for choice in event.get("choices", ()):
            yield choice["delta"].get("content") or ""


def started(
    root_url: str,
    door: str,
    customer: KeyHolder,
    model: str,
    text: str = "Hi",
    stream: bool = True,
    **fields: Any,
) -> Wire:
    """Return a client that has sent its request and read nothing yet."""
    wire = Wire(root_url, fields.pop("receive_buffer", 0))
    headers = fields.pop("headers", {})
    wire.send(request(door, customer, question(door, model, text, stream, **fields), **headers))
    return wire
