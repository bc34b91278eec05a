"""ASGI's types, and reading a request body within limits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol

from gateway_project.lib.errors import BadRequest, PayloadTooLarge
from gateway_project.lib.rounds import Rounds

Scope = MutableMapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

# What is written into a scope: the client's address, once it was worked out, and fields for the log.
CLIENT = "tollgate.client"
LOG_FIELDS = "tollgate.log_fields"
# What a server of ours puts into a scope's extensions: the request, which may have its whole body already.
BODY = "tollgate.body"
# How often at least it is looked whether somebody waits for too long.
MAX_TICK_SECONDS = 1.0


def note(scope: Scope, **fields: object) -> None:
    """Attach facts about a request to its scope, for the line that the log gets about it."""
    scope.setdefault(LOG_FIELDS, {}).update(fields)


class ClientGone(Exception):
    """The client closed its connection."""


def header(headers: Headers, name: bytes) -> bytes:
    """Return the first value of a header (name in lower case), or an empty string."""
    for key, value in headers:
        if key == name:
            return value
    return b""


class SizeWatcher(Protocol):
    """Called with the size of a body as soon as it is known; awaited before reading goes on."""

    async def take(self, size: int) -> None: ...


class BodyAtHand(Protocol):
    """A request whose body may be here as a whole."""

    def whole_body(self, less_than: int) -> bytes | None:
        """Return the body, if all of it is here and it is smaller than that; it counts as received then."""


def body_at_hand(scope: Scope, less_than: int) -> bytes | None:
    """Return the whole body if it came with the head and is smaller than that, as most are; None if it is to
    be awaited."""
    extensions = scope.get("extensions")
    request: BodyAtHand | None = extensions.get(BODY) if extensions else None
    return None if request is None else request.whole_body(less_than)


async def read_body(
    receive: Receive,
    headers: Headers,
    max_bytes: int,
    stall_seconds: float,
    rounds: Rounds,
    watcher: SizeWatcher | None = None,
) -> bytes:
    """Read the request's body, checking its size while it arrives so that an endless one is never stored.

    Raise PayloadTooLarge, BadRequest when no bytes came for `stall_seconds`, ClientGone, and whatever
    `watcher` raises.
    """
    declared = declared_length(headers)
    check_size(declared, max_bytes)
    if watcher is not None:
        await watcher.take(declared)
    pieces: list[bytes] = []
    size = 0
    with StallTimer(stall_seconds, rounds) as stall:
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
    """Ends a wait in this task that takes too long, to about a tick, and without a timer of its own."""

    __slots__ = ("_expired", "_rounds", "_seconds", "_since", "_task", "tick")

    def __init__(self, seconds: float, rounds: Rounds) -> None:
        self._seconds = seconds
        self._rounds = rounds
        self._task = asyncio.current_task(rounds.loop)
        self._expired = False
        self.tick = min(MAX_TICK_SECONDS, max(seconds / 4, 0.01))

    def __enter__(self) -> StallTimer:
        self.restart()
        self._rounds.join(self)
        return self

    def pause(self) -> None:
        """Stop counting until it is started again."""
        self._since = math.inf

    def restart(self) -> None:
        self._since = self._rounds.loop.time()

    def look(self, now: float) -> None:
        """End the wait if it has taken too long."""
        if now - self._since < self._seconds:
            return
        self._rounds.leave(self)
        self._expired = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Replace the cancellation that this timer caused by BadRequest."""
        self._rounds.leave(self)
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
