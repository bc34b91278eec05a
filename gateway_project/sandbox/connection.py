"""One client connection: requests in, replies out, until the client leaves."""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, cast

from gateway_project.sandbox import http
from gateway_project.sandbox.frames import Frames, Mark
from gateway_project.sandbox.http import MalformedRequest, ReceivedRequest, RequestParser
from gateway_project.sandbox.log import LoggedCall
from gateway_project.sandbox.reply import SandboxReply

BATCH_BYTES = 64 * 1024
PEEK_BYTES = 16 * 1024
LINGER_SECONDS = 5.0


class Desk(Protocol):
    """The parts of its server that a connection needs."""

    def answer(self, request: ReceivedRequest) -> tuple[LoggedCall, SandboxReply]: ...
    def answer_early(
        self, request: ReceivedRequest, start: bytes
    ) -> tuple[LoggedCall, SandboxReply] | None: ...
    def opened(self, connection: "SandboxConnection") -> None: ...
    def closed(self, connection: "SandboxConnection") -> None: ...
    def finished(self, call: LoggedCall) -> None: ...


class SandboxConnection(asyncio.Protocol):
    """Answers requests in turn, paced and under back-pressure, on callbacks alone: it owns no task."""

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
        self._desk = desk
        self._loop = loop
        self._parser = RequestParser()
        self._transport: asyncio.Transport
        self._call: LoggedCall | None = None
        self._reply: SandboxReply
        self._frames: Frames
        self._timer: asyncio.Handle | None = None
        self._paused_before: Callable[[], None] | None = None
        self._is_blocked = False
        self._is_chunked = False
        self._is_deaf = False
        self._is_doomed = False
        self._keep_alive = True
        self._next_at: float | None = None

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, so this cannot be checked.
        self._transport = cast("asyncio.Transport", transport)
        self._desk.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if self._is_doomed:
            self._reset()
            return
        self._parser.feed(data)
        if self._call is None:
            self._take()

    def eof_received(self) -> None:
        if self._call is not None:
            self._end("client_closed")
            self._transport.abort()

    def pause_writing(self) -> None:
        self._is_blocked = True

    def resume_writing(self) -> None:
        self._is_blocked = False
        if self._call is not None and self._timer is None and self._call.first_byte_at is not None:
            self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._call is not None:
            self._end("client_closed")
        self._cancel_timer()
        self._desk.closed(self)

    # The server calls these.

    def stop(self) -> None:
        """Close at once; a call that is being answered ends as `server_stopped`."""
        if self._call is not None:
            self._end("server_stopped")
        self._transport.abort()

    def hurry(self, said: str) -> None:
        """Go on without a pause, if the question that is being answered has this text."""
        if self._call is None or said not in str(self._call.body):
            return
        self._reply = replace(self._reply, wait_ms=0, pace_ms=0)
        if self._paused_before is not None:
            self._cancel_timer()
            self._paused_before()

    # Receiving.

    def _take(self) -> None:
        self._timer = None
        if self._transport.is_closing():
            return
        try:
            request = self._parser.take()
        except MalformedRequest:
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            self._transport.close()
            return
        if request is not None:
            self._keep_alive = request.keep_alive
            self._start(*self._desk.answer(request))
        else:
            self._await_body()

    def _await_body(self) -> None:
        begun = self._parser.start_of_body(PEEK_BYTES)
        early = begun and self._desk.answer_early(*begun)
        if early:
            self._is_deaf = True
            self._keep_alive = False
            self._start(*early)
        elif self._parser.awaits_continue():
            self._transport.write(http.CONTINUE)

    # Sending.

    def _start(self, call: LoggedCall, reply: SandboxReply) -> None:
        self._call = call
        self._reply = reply
        self._frames = reply.frames
        self._is_chunked = http.is_chunked(reply)
        self._keep_alive = self._keep_alive and reply.keep_alive
        self._next_at = None
        if reply.wait_ms:
            self._paused_before = self._begin
            self._timer = self._loop.call_later(reply.wait_ms / 1000, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        assert self._call is not None
        self._paused_before = None
        head = http.head(self._reply, self._keep_alive)
        if head:
            self._call.mark_first_byte(self._reply.status)
        self._pump(head)

    def _pump(self, head: bytes = b"") -> None:
        """Write a batch; go on when the pace, the socket and the other connections allow."""
        self._timer = None
        parts = [head] if head else []
        stopped_at = self._gather(parts)
        if stopped_at is None and self._is_chunked and self._reply.end == "clean":
            parts.append(http.LAST_CHUNK)
        if parts:
            self._transport.write(b"".join(parts))
        if stopped_at is None:
            self._finish()
        elif stopped_at is Mark.DELTA:
            self._wait_for_pace()
        elif not self._is_blocked:
            self._timer = self._loop.call_soon(self._pump)

    def _gather(self, parts: list[bytes]) -> Mark | None:
        """Add frames up to a batch, a pause or the end. Returns the mark to pause at, None at the end."""
        size = events = 0
        chunked = self._is_chunked
        stopped_at: Mark | None = None
        for frame in self._frames:
            if isinstance(frame, bytes):
                length = len(frame)
                if chunked:
                    parts += (http.chunk_head(length), frame, http.CRLF)
                else:
                    parts.append(frame)
                events += 1
                size += length
                if size < BATCH_BYTES:
                    continue
                stopped_at = Mark.FLUSH
                break
            if frame is Mark.FLUSH or (frame is Mark.DELTA and self._is_due_later()):
                stopped_at = frame
                break
        assert self._call is not None
        if self._call.stream and chunked:
            self._call.sent.events += events
        return stopped_at

    def _is_due_later(self) -> bool:
        """Tell whether the pace makes the next delta wait. The first delta never waits."""
        if not self._reply.pace_ms:
            return False
        if self._next_at is None:
            self._next_at = self._loop.time() + self._reply.pace_ms / 1000
            return False
        return True

    def _wait_for_pace(self) -> None:
        assert self._next_at is not None
        self._paused_before = self._pace
        self._timer = self._loop.call_at(self._next_at, self._pace)
        self._next_at += self._reply.pace_ms / 1000

    def _pace(self) -> None:
        self._timer = self._paused_before = None
        if not self._is_blocked:
            self._pump()

    def _finish(self) -> None:
        assert self._call is not None
        end = self._reply.end
        if end == "hang":
            return
        fault = self._call.fault
        self._end(f"fault:{fault}" if fault else "completed")
        self._is_doomed = self._reply.doomed
        if end == "reset":
            self._reset()
        elif self._is_deaf:
            # Closing with unread bytes would reset the connection and take the answer with it.
            self._timer = self._loop.call_later(LINGER_SECONDS, self._transport.close)
        elif end == "cut" or not self._keep_alive:
            self._transport.close()
        else:
            self._timer = self._loop.call_soon(self._take)

    def _end(self, how: str) -> None:
        assert self._call is not None
        call, self._call = self._call, None
        self._cancel_timer()
        self._paused_before = None
        self._frames = iter(())
        call.end(how)
        self._desk.finished(call)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _reset(self) -> None:
        """Close so that the client sees a reset rather than an end."""
        raw: socket.socket | None = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
