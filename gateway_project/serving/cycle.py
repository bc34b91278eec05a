"""Carry one HTTP request and its answer: head and body of the answer go out in one write.

ASGI wants the head of an answer sent for itself. uvicorn writes it at once, and each write to a socket wakes
the reader, so it waits here for the first piece of the body. It is checked as a whole, which costs a fraction
of checking each name and value.
"""

from __future__ import annotations

import re
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

# A head is copied in front of a piece of up to this size; larger pieces are written beside it.
JOINED_BYTES = 64 * 1024
# What no head may contain, besides the line ends that are counted.
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\r\n")) + b"\x7f"
_NO_NAME = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9a-z]")
_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})
# uvicorn's words, of which server.py drops the first: a stream that failed is cut on purpose.
_NOT_COMPLETED = "ASGI callable returned without completing response."
_NOT_STARTED = "ASGI callable returned without starting response."
_MOST_NAMES = 1_000
_names: set[bytes] = set()


class HttpCycle(RequestResponseCycle):
    """One request and its answer. `whole_body` is what the application may ask for instead of `receive`."""

    _held: bytes | None = None  # the head, until the first piece of the body
    _tells_close = False

    def whole_body(self, less_than: int) -> bytes | None:
        """Return the request's body, if all of it is here and it is smaller; it counts as received then."""
        if self.more_body or self.disconnected or len(self.body) >= less_than:
            return None
        self.message_event.clear()
        if self.flow.read_paused:
            self.flow.resume_reading()
        body, self.body = bytes(self.body), bytearray()
        return body

    async def run_asgi(self, app: ASGI3Application) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            self.logger.error("Exception in ASGI application\n", exc_info=error)
            await self._end_early()
        else:
            if not (self.response_complete or self.disconnected):
                self.logger.error(_NOT_COMPLETED if self.response_started else _NOT_STARTED)
                await self._end_early()
        finally:
            self.on_response = _do_nothing
            self.scope.pop("extensions", None)  # they hold this object, which holds the scope

    async def _end_early(self) -> None:
        """Say that something failed or, where an answer was begun, cut it: it must not look complete."""
        if not self.response_started:
            await self.send_500_response()
            return
        if self._held is not None:
            self._write(b"")
        self.transport.close()

    async def send(self, message: Any) -> None:
        """Send a message of ASGI. Raise RuntimeError for one that does not fit."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"Expected 'http.response.start', but got {kind!r}.")
            self._start(message["status"], message.get("headers", ()))
        elif self.response_complete or kind != "http.response.body":
            raise RuntimeError(f"Unexpected message {kind!r}.")
        else:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))

    def _start(self, status: int, headers: Any) -> None:
        """Build the head and hold it. Raise RuntimeError for a header that no head may hold."""
        self.response_started = True
        self.waiting_for_100_continue = False
        self._tells_close = False
        lines = [STATUS_LINE[status]]
        for given, value in (*self.default_headers, *headers):
            name = given.lower()
            if name in _FRAMING:
                self._note(name, value)
            elif name not in _names:
                _check_name(name)
            lines += (name, b": ", value, b"\r\n")
        if not (self.keep_alive or self._tells_close):
            lines += (b"connection", b": ", b"close", b"\r\n")
        if self.chunked_encoding is None and self._has_body(status):
            self.chunked_encoding = True
            lines += (b"transfer-encoding", b": ", b"chunked", b"\r\n")
        head = b"".join(lines)
        _check_head(head, len(lines) // 4 + 1)
        self._held = head + b"\r\n"

    def _note(self, name: bytes, value: bytes) -> None:
        """Note a header that says where the answer ends, or that the connection does."""
        if name == b"connection":
            if b"close" in [token.lower().strip() for token in value.split(b",")]:
                self.keep_alive = False
                self._tells_close = True
        elif name == b"content-length":
            if self.chunked_encoding is None:
                self.expected_content_length, self.chunked_encoding = int(value), False
        elif value.lower() == b"chunked":
            self.expected_content_length, self.chunked_encoding = 0, True

    def _has_body(self, status: int) -> bool:
        return self.scope["method"] != "HEAD" and status not in (204, 304)

    def _go_on(self, body: bytes, *, more: bool) -> None:
        """Send a piece of the body. Raise RuntimeError if it does not come to what was announced."""
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                body += b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("The body is longer than its Content-Length.")
        self._write(body)
        if not more:
            self._complete()

    def _write(self, piece: bytes) -> None:
        head, self._held = self._held, None
        if head is None:
            self.transport.write(piece)
        elif len(piece) <= JOINED_BYTES:
            self.transport.write(head + piece)
        else:
            self.transport.writelines((head, piece))

    def _complete(self) -> None:
        if self.expected_content_length:
            raise RuntimeError("The body is shorter than its Content-Length.")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _do_nothing() -> None:
    """Stand in for what an answer that is over no longer tells."""


def _check_name(name: bytes) -> None:
    """Raise RuntimeError unless this may name a header; remember those that may, of which there are few."""
    if not name or _NO_NAME.search(name):
        raise RuntimeError("A header has a name that no header may have.")
    if len(_names) < _MOST_NAMES:
        _names.add(name)


def _check_head(head: bytes, lines: int) -> None:
    """Raise RuntimeError unless the head has that many lines and no character that none may have."""
    is_plain = len(head.translate(None, _CONTROLS)) == len(head)
    if not is_plain or head.count(b"\n") != lines or head.count(b"\r") != lines:
        raise RuntimeError("A header holds a character that no header may hold.")
