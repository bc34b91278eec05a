"""One keep-alive HTTP/1.1 connection of the load generator, on callbacks alone, to keep it cheap.

httptools checks the framing; the answer is complete when its status is 200, its body has the announced
length or its last chunk, its terminal event stands in it exactly once, and it holds enough events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import cast

import httptools

from bench.calls import Call

EVENT = b"data: "


class Connection(asyncio.Protocol):
    """Sends a request when told to; says through `done` how it went: events, or what is wrong."""

    def __init__(self, done: Callable[[Connection, int, str], None]) -> None:
        self._done = done
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._call: Call | None = None
        self.sent_at = 0.0

    def send(self, call: Call, request: bytes) -> None:
        """Begin an exchange; the one before it must have ended."""
        assert self._transport is not None
        self._call = call
        self._events = self._ends = 0
        self._tail = b""
        self._length: int | None = None
        self._received = 0
        self.sent_at = perf_counter()
        if self._transport.is_closing():
            self._end("the connection was closed while it was idle")
        else:
            self._transport.write(request)

    def close(self) -> None:
        self._call = None
        if self._transport is not None:
            self._transport.close()

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, so this cannot be checked.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"broken HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection was closed before the answer was complete")

    # The parser calls these.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-length":
            self._length = int(value)

    def on_body(self, body: bytes) -> None:
        assert self._call is not None
        self._received += len(body)
        end = self._call.end
        joined = self._tail + body
        if self._call.is_stream:
            # A pattern may straddle two pieces, but none may be counted twice.
            self._events += joined.count(EVENT) - self._tail.count(EVENT)
        self._ends += joined.count(end) - self._tail.count(end)
        self._tail = joined[1 - len(end) :]

    def on_message_complete(self) -> None:
        self._end(self._fault())

    def _fault(self) -> str:
        call = self._call
        assert call is not None
        status = self._parser.get_status_code()
        if status != 200:
            return f"status {status}: {self._tail!r}"
        if self._length not in {None, self._received}:
            return f"{self._received} bytes instead of {self._length}"
        if self._ends != 1:
            return f"{self._ends} terminal events instead of one"
        if self._events < call.events:
            return f"{self._events} events instead of at least {call.events}"
        return ""

    def _end(self, fault: str) -> None:
        if self._call is not None:
            self._call = None
            self._done(self, self._events, fault)
