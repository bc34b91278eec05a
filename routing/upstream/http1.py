"""HTTP/1.1 towards upstreams: one connection that carries one request after the other.

A response is pulled. What the upstream sends waits in the reader, and the socket is not read while more than
`READ_BUFFER_BYTES` wait there. A connection goes back to its pool at the moment its response is complete, and
is cut when a response is given up before that, which is how an upstream learns that nobody wants its answer.

The parser is httptools, which the server uses too. RFC 9112 is cited where a rule is not obvious.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Callable

import httptools

from routing.upstream.inflating import BrokenHTTP, ConnectionCut, Inflater

READ_BUFFER_BYTES = 32 * 1024
# The most that one read of a socket gives; the loop's own reads are four times as large. A stream whose
# client takes nothing holds four: one waits in the reader, one is being sent, two are in the server's buffer.
READ_BYTES = 64 * 1024
# Of a response's status line and headers, and of what may come between two pieces of its body.
MAX_HEAD_BYTES = 64 * 1024
# Larger request bodies are written in pieces, as the socket takes them.
PIECE_BYTES = 64 * 1024
LARGE_BODY_BYTES = 256 * 1024
Header = tuple[bytes, bytes]


class ResponseReader:
    """One response, from its head to its end. `status` is 0 until the head is there."""

    __slots__ = (
        "_connection", "_held", "_inflate", "_loop", "_pieces", "_waiter", "failure", "headers",
        "is_complete", "status",
    )  # fmt: skip

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self._pieces: list[bytes] = []
        self._held = 0
        self._inflate: Inflater | None = None
        self.status = 0
        self.headers: list[Header] = []
        self.is_complete = False
        self.failure: Exception | None = None

    def header(self, name: bytes) -> str:
        """Return the first header of this lower-case name, or an empty text."""
        return next((v.decode("latin-1") for n, v in self.headers if n == name), "")

    async def head(self) -> None:
        """Wait for status and headers. Raises ConnectionCut, BrokenHTTP."""
        while not self.status:
            if self.failure is not None:
                raise self.failure
            await self._wait()

    async def chunk(self) -> bytes:
        """Return all bytes that are there, waiting for some; empty at the end. Raises as `head`."""
        while True:
            if self._inflate is not None and (inflated := self._inflate.next()):
                # A few bytes may stand for hundreds of megabytes, which need no waiting for any of them.
                await asyncio.sleep(0)
                return inflated
            if self._pieces:
                raw = self._take()
                if self._inflate is None:
                    return raw
                self._inflate.feed(raw)
            elif self.is_complete:
                return b""
            elif self.failure is not None:
                raise self.failure
            else:
                await self._wait()

    def rest_at_hand(self) -> bytes | None:
        """Return what is left of a response that is here to its end; None if it is to be awaited."""
        if not self.is_complete or self._inflate is not None:
            return None
        return self._take() if self._pieces else b""

    def close(self) -> None:
        """Cut the connection, unless the response is complete: then it serves others already."""
        if not self.is_complete:
            self._connection.cut()

    # Called by the connection

    def begin_body(self, encoding: str) -> None:
        encoding = encoding.strip().lower()
        if encoding and encoding != "identity":
            self._inflate = Inflater(encoding)
        if self._waiter is not None:
            self._wake(self._waiter)

    def add(self, piece: bytes) -> bool:
        """Keep a piece of the body; whether the reader has enough for now."""
        self._pieces.append(piece)
        self._held += len(piece)
        if self._waiter is not None:
            self._wake(self._waiter)
        return self._held > READ_BUFFER_BYTES

    def end(self, failure: Exception | None) -> None:
        if failure is None:
            self.is_complete = True
        else:
            self.failure = failure
        if self._waiter is not None:
            self._wake(self._waiter)

    def _take(self) -> bytes:
        pieces = self._pieces
        raw = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces, self._held = [], 0
        self._connection.resume(self)
        return raw

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self, waiter: asyncio.Future[None]) -> None:
        self._waiter = None
        if not waiter.done():
            waiter.set_result(None)


def _size_of(headers: list[Header]) -> int:
    return sum(len(name) + len(value) for name, value in headers)


def keep_alive_seconds(header: str) -> float | None:
    """Return how long an upstream keeps an idle connection, where it says so (`timeout=5, max=100`)."""
    found = _TIMEOUT.search(header)
    return float(found[1]) if found else None


_TIMEOUT = re.compile(r"\btimeout\s*=\s*(\d{1,6})\b", re.IGNORECASE)


class Connection(asyncio.BufferedProtocol):
    """One connection to an upstream. `on_free` is called when it may carry another request, or is of no use
    any more. All connections of a loop read into one `buffer`: what is in it is parsed at once."""

    __slots__ = (
        "_bodiless_bytes", "_buffer", "_can_write", "_ends_with_connection", "_is_paused", "_is_written",
        "_loop", "_on_free", "_parser", "_poll", "_reader", "_transport", "_unsent_at_end",
        "idle_seconds", "idle_since", "served",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_free: Callable[[Connection, bool], None],
        buffer: memoryview,
    ) -> None:
        self._loop = loop
        self._on_free = on_free
        self._buffer = buffer
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._reader: ResponseReader | None = None
        self._can_write: asyncio.Future[None] | None = None
        self._is_paused = False
        self._is_written = True
        self._ends_with_connection = False
        self._bodiless_bytes = 0
        self._poll: select.poll | None = None
        self._unsent_at_end = False
        self.served = 0  # requests that were begun
        self.idle_since = 0.0
        self.idle_seconds: float | None = None  # after which the upstream said it would close

    @property
    def is_usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_quiet(self) -> bool:
        """Return whether the upstream has sent nothing, not even its end, that the loop has not read yet.
        Asks the kernel: a busy loop may be late to learn that an idle connection was closed."""
        if self._poll is None:
            assert self._transport is not None
            self._poll = select.poll()
            self._poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    @property
    def may_repeat(self) -> bool:
        """Return whether the failed request was surely not carried out: a used connection ended before all
        of it was written, and without a byte of a response. A request that was sent as a whole may have
        been carried out, and paid for, whatever came back (docs/wire.md 2.6)."""
        return self.served > 1 and self._unsent_at_end

    async def request(self, head: bytes, body: bytes) -> ResponseReader:
        """Send a request; returns when the head of its response is there. Raises ConnectionCut, BrokenHTTP. A
        cancelled call cuts the connection."""
        reader = self._reader = ResponseReader(self, self._loop)
        self.served += 1
        self._bodiless_bytes = 0
        try:
            assert self._transport is not None
            if len(body) <= LARGE_BODY_BYTES:
                self._transport.write(head + body)
            else:
                await self._write_in_pieces(head, body, reader)
            await reader.head()
        except BaseException:
            # A call may be cancelled after its whole response has come: the connection serves another then.
            reader.close()
            raise
        return reader

    async def _write_in_pieces(self, head: bytes, body: bytes, reader: ResponseReader) -> None:
        assert self._transport is not None
        self._is_written = False
        self._transport.write(head)
        view = memoryview(body)
        for start in range(0, len(body), PIECE_BYTES):
            # An upstream may answer before it has read all (RFC 9112, 9.3): then it wants no more.
            if reader.status or reader.failure is not None:
                return
            self._transport.write(view[start : start + PIECE_BYTES])
            if self._can_write is not None:
                await self._can_write
        self._is_written = True

    def cut(self) -> None:
        """Close at once, without a word."""
        if self._transport is not None:
            self._transport.abort()

    def resume(self, reader: ResponseReader) -> None:
        """Read on, if this is the response that is being read."""
        if self._is_paused and reader is self._reader:
            self._is_paused = False
            assert self._transport is not None
            self._transport.resume_reading()

    # Called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # of a stream
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        reader = self._reader
        if (
            reader is None
        ):  # nobody asked: whatever comes next would be taken for the answer to that
            self.cut()
            return
        self._bodiless_bytes += nbytes
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # A body that breaks off is no other failure than one that is cut off.
            self._fail(ConnectionCut() if reader.status else BrokenHTTP(str(error)))
            return
        # Trailers and the extensions of chunks are no body either, and nobody would stop them.
        if self._bodiless_bytes > MAX_HEAD_BYTES and reader is self._reader:
            self._fail(ConnectionCut() if reader.status else BrokenHTTP("the head is too large"))

    def eof_received(self) -> None:
        """Close: nothing more will come."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._unsent_at_end = not (self._is_written or self._bodiless_bytes)
        self.resume_writing()
        reader = self._reader
        if reader is None:
            self._on_free(self, False)
        elif self._ends_with_connection and exc is None:
            self._complete(reader, keep=False)
        else:
            self._fail(ConnectionCut())

    def pause_writing(self) -> None:
        self._can_write = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._can_write is not None and not self._can_write.done():
            self._can_write.set_result(None)
        self._can_write = None

    # Called by the parser

    def on_message_begin(self) -> None:
        if self._reader is None:
            raise BrokenHTTP("a response that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._reader is not None
        if not self._reader.status:  # a trailer says nothing that anybody here asks for
            self._reader.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        reader = self._reader
        assert reader is not None
        status = self._parser.get_status_code()
        if status < 200:
            return
        # Nothing of a body has come before it, so that a head within all these bytes need not be counted.
        if self._bodiless_bytes > MAX_HEAD_BYTES and _size_of(reader.headers) > MAX_HEAD_BYTES:
            raise BrokenHTTP("the head is too large")
        names = {name for name, _ in reader.headers}
        self._ends_with_connection = not names & {b"content-length", b"transfer-encoding"}
        if b"keep-alive" in names:
            self.idle_seconds = keep_alive_seconds(reader.header(b"keep-alive"))
        reader.status = status
        reader.begin_body(
            reader.header(b"content-encoding") if b"content-encoding" in names else ""
        )
        if self._can_write is not None:
            self.resume_writing()

    def on_body(self, piece: bytes) -> None:
        assert self._reader is not None
        self._bodiless_bytes = 0
        if self._reader.add(piece) and not self._is_paused:
            self._is_paused = True
            assert self._transport is not None
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        reader = self._reader
        assert reader is not None
        if (
            not reader.status
        ):  # 100 Continue and the like: the response is still to come (RFC 9110, 15.2)
            reader.headers = []
            return
        self._complete(reader, keep=self._parser.should_keep_alive())

    # Its end

    def _complete(self, reader: ResponseReader, *, keep: bool) -> None:
        if self._is_paused:
            self.resume(reader)
        self._reader = None
        reader.end(None)
        if not (keep and self._is_written and self.is_usable):
            self.cut()
            keep = False
        self._on_free(self, keep)

    def _fail(self, failure: Exception) -> None:
        reader, self._reader = self._reader, None
        self.cut()
        if reader is not None:
            reader.end(failure)
        self._on_free(self, False)
