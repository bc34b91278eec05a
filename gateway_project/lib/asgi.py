"""ASGI's types, and reading a request body within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from gateway_project.lib.errors import BadRequest, PayloadTooLarge

Scope = MutableMapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

# What is written into a scope: the client's address, once it was worked out, and fields for the log.
CLIENT = "tollgate.client"
LOG_FIELDS = "tollgate.log_fields"


def note(scope: Scope, **fields: object) -> None:
    """Keep what is found out about a request until its line is written into the log."""
    scope.setdefault(LOG_FIELDS, {}).update(fields)


class ClientGone(Exception):
    """The client closed its connection."""


def header(headers: Headers, name: bytes) -> bytes:
    """The first value of a header (lower-case name), empty if it is not there."""
    for key, value in headers:
        if key == name:
            return value
    return b""


class SizeWatcher(Protocol):
    """Told how large a body is, as soon as that is known; what it takes is waited for."""

    async def take(self, size: int) -> None: ...


async def read_body(
    receive: Receive,
    headers: Headers,
    max_bytes: int,
    stall_seconds: float,
    watcher: SizeWatcher | None = None,
) -> bytes:
    """The request's body, checked while it arrives, so that an endless one is never stored.

    Raises PayloadTooLarge, BadRequest when no bytes came for `stall_seconds`, ClientGone, and what
    `watcher` raises.
    """
    declared = declared_length(headers)
    check_size(declared, max_bytes)
    if watcher is not None:
        await watcher.take(declared)
    pieces: list[bytes] = []
    size = 0
    with StallTimer(stall_seconds) as stall:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece = message.get("body", b"")
            size += len(piece)
            check_size(size, max_bytes)
            pieces.append(piece)
            if watcher is not None and size > declared:  # it had not said how much would come
                stall.pause()
                await watcher.take(size)
            if not message.get("more_body", False):
                return piece if len(pieces) == 1 else b"".join(pieces)
            stall.restart()


class StallTimer:
    """Ends a wait in this task that takes too long; a third of the cost of `asyncio.timeout`."""

    __slots__ = ("_expired", "_handle", "_loop", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        self._expired = False

    def __enter__(self) -> StallTimer:
        self._handle = self._loop.call_later(self._seconds, self._expire)
        return self

    def pause(self) -> None:
        """Until it is started again."""
        self._handle.cancel()

    def restart(self) -> None:
        self._handle.cancel()
        self._handle = self._loop.call_later(self._seconds, self._expire)

    def _expire(self) -> None:
        self._expired = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Raises BadRequest in place of the cancellation this timer caused."""
        self._handle.cancel()
        if self._expired and isinstance(error, asyncio.CancelledError) and self._task is not None:
            self._task.uncancel()
            raise BadRequest(
                f"The request body stopped arriving for {self._seconds:g} s."
            ) from None


def declared_length(headers: Headers) -> int:
    declared = header(headers, b"content-length")
    return int(declared) if declared.isdigit() and len(declared) < 20 else 0


def check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise PayloadTooLarge(f"The request body is larger than {max_bytes} bytes.")
