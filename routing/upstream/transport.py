"""Send one POST to one target on the hot path, and read the response's bytes.

Timeouts on reading are the caller's business (responses_api/calls/watchdog.py); connecting and waiting for a
connection are limited here. Redirects are not followed, cookies not kept, proxies not used. The client is our
own (http1.py, connections.py): a general one took a quarter of what a relayed call costs (docs/adr/0017).
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway_project.lib import structure
from gateway_project.lib.errors import (
    UpstreamCut,
    UpstreamError,
    UpstreamForbiddenAddress,
    UpstreamMalformed,
    UpstreamUnreachable,
)
from gateway_project.lib.structure import Caps, TooMuchStructure
from routing.route import ResolvedTarget
from routing.upstream import auth
from routing.upstream.connections import Connections, NoConnectionFree, PoolSlot
from routing.upstream.http1 import ResponseReader
from routing.upstream.inflating import BrokenHTTP, ConnectionCut

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_VALUES = 1_000_000
MAX_ERROR_BYTES = 64 * 1024
USER_AGENT = "tollgate/0.1"

# What the client raises and what it means; order matters, the first match counts.
_TRANSLATIONS: tuple[tuple[type[BaseException], type[UpstreamError], str], ...] = (
    (BrokenHTTP, UpstreamMalformed, "answered with broken HTTP"),
    (ConnectionCut, UpstreamCut, "closed the connection before its answer was complete"),
    (
        NoConnectionFree,
        UpstreamUnreachable,
        "could not be reached in time: all connections are in use",
    ),
    (ssl.SSLError, UpstreamUnreachable, "could not be reached securely"),
    (TimeoutError, UpstreamUnreachable, "could not be reached in time"),
    (OSError, UpstreamUnreachable, "could not be reached"),
    (UnicodeError, UpstreamUnreachable, "has an unusable address"),
)
FOREIGN = (BrokenHTTP, ConnectionCut, NoConnectionFree, OSError, UnicodeError)


def translate(error: BaseException, target: ResolvedTarget) -> UpstreamError:
    """Turn the HTTP client's exceptions into ours; the one place that does."""
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return UpstreamForbiddenAddress(
            f"The provider {target.provider!r} lies at an address the egress policy refuses."
        )
    for foreign, ours, what in _TRANSLATIONS:
        if isinstance(error, foreign):
            translated = ours(f"The provider {target.provider!r} {what}.")
            translated.is_ours = foreign is NoConnectionFree
            return translated
    raise error


class UpstreamResponse:
    """The response of a target, whose body has not been read. Close it, whatever happens."""

    __slots__ = ("_caps", "_reader", "status", "target")

    def __init__(self, reader: ResponseReader, target: ResolvedTarget, caps: Caps) -> None:
        self._reader = reader
        self._caps = caps
        self.status = reader.status
        self.target = target

    def header(self, name: str) -> str:
        return self._reader.header(name.lower().encode())

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return all headers, their names in lower case."""
        return self._reader.headers

    @property
    def content_type(self) -> str:
        """Return the media type in lower case, without parameters."""
        return self.header("content-type").partition(";")[0].strip().lower()

    async def chunk(self) -> bytes:
        """Return all bytes that are there, waiting for some; empty at the end. Raises UpstreamError."""
        try:
            return await self._reader.chunk()
        except FOREIGN as error:
            raise translate(error, self.target) from error

    async def body(self, limit: int = MAX_ANSWER_BYTES) -> bytes:
        """Return the whole body. Raises UpstreamError, also when it is larger than `limit` or has more values
        than objects are made of."""
        whole = self._reader.rest_at_hand()  # of a short answer with its head
        if whole is None:
            whole = await self._read_to_end(limit)
        elif len(whole) > limit:
            raise self._too_large()
        if len(whole) > self._caps.values:  # a shorter one cannot hold more of them
            await self._check_structure(whole)
        return whole

    async def _read_to_end(self, limit: int) -> bytes:
        pieces, size = [], 0
        while piece := await self.chunk():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise self._too_large()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _too_large(self) -> UpstreamMalformed:
        return UpstreamMalformed(f"The provider {self.target.provider!r} answered too much.")

    async def _check_structure(self, whole: bytes) -> None:
        try:
            await structure.check_between(self._caps, whole)
        except TooMuchStructure as error:
            raise UpstreamMalformed(
                f"The provider {self.target.provider!r} sent {error}."
            ) from None

    async def drain(self, seconds: float) -> None:
        """Read what is left after the terminal event, so that the connection can be used again."""
        if self._reader.is_complete:
            return
        try:
            async with asyncio.timeout(seconds):
                while await self.chunk():
                    pass
        except (TimeoutError, UpstreamError):
            self.close()

    def close(self) -> None:
        """Close the connection at once, unless the body was read to its end."""
        self._reader.close()


class Transport:
    """Connections of one worker process, kept apart by what the egress policy allows them."""

    def __init__(
        self,
        *,
        connect_seconds: float,
        pool_wait_seconds: float,
        max_connections: int,
        max_values: int = MAX_VALUES,
    ) -> None:
        """`max_values`: of one JSON answer or event of a stream."""
        self.caps = Caps(values=max_values, keys=max_values)
        self._connections = Connections(
            connect_seconds=connect_seconds,
            wait_seconds=pool_wait_seconds,
            at_most=max_connections,
        )

    async def post(
        self,
        target: ResolvedTarget,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        begin: Callable[[], object] | None = None,
    ) -> UpstreamResponse:
        """Send `body` to the target; returns when the response's headers are there. `begin` is called once
        there is a connection, before anything is sent.

        The credential is added here and nowhere else, for this target's address only. Raises
        UpstreamError; a cancelled call closes its connection.
        """
        try:
            keepalive = target.quirks.keepalive_seconds
            address = _address(target.base_url + path, target.allow_private_network, keepalive)
            head = _head(address, _all_headers(target, headers), len(body))
            connection = await self._connections.take(address.place)
            if begin is not None:
                begin()
            try:
                reader = await connection.request(head, body)
            except ConnectionCut:
                if not connection.may_repeat:
                    raise
                connection = await self._connections.take(address.place, fresh=True)
                reader = await connection.request(head, body)
            return UpstreamResponse(reader, target, self.caps)
        except FOREIGN as error:
            raise translate(error, target) from error

    @property
    def open_connections(self) -> int:
        """Count the connections in use, without idle ones kept for reuse."""
        return self._connections.in_use

    @property
    def waiting_calls(self) -> int:
        """Count the calls that wait for a connection."""
        return self._connections.waiting

    async def close(self) -> None:
        self._connections.close()


def _all_headers(target: ResolvedTarget, headers: Mapping[str, str]) -> dict[str, str]:
    return {
        "user-agent": USER_AGENT,
        "content-type": "application/json",
        # Compressed streams cost time and delay tokens; vendors that compress anyway are understood.
        "accept-encoding": "identity",
        **headers,
        **auth.headers(target.auth_kind, target.secret),
    }


class _Address(NamedTuple):
    """A URL taken apart: where to connect, and what the request's first two lines say."""

    place: PoolSlot
    beginning: str


@lru_cache(maxsize=4096)
def _address(url: str, allow_private: bool, keepalive_seconds: int | None) -> _Address:
    """Take a URL apart. Raises UnicodeError for one that nothing can be connected to."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise UnicodeError(str(error)) from None
    if parts.hostname is None or parts.scheme not in {"http", "https"}:
        raise UnicodeError("no host")
    is_tls = parts.scheme == "https"
    name = (
        parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
    )
    host = f"[{name}]" if ":" in name else name
    usual = 443 if is_tls else 80
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not target.isprintable() or " " in target:
        raise UnicodeError("a path of unprintable characters")
    authority = host if port in {None, usual} else f"{host}:{port}"
    return _Address(
        PoolSlot(name, port or usual, is_tls, allow_private, keepalive_seconds),
        f"POST {target} HTTP/1.1\r\nhost: {authority}\r\n",
    )


def _head(address: _Address, headers: Mapping[str, str], length: int) -> bytes:
    """Write the request line and headers. Raises ValueError for a header with a line break in it."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise ValueError("A header holds a character that no header may hold.")
    return f"{address.beginning}{lines}content-length: {length}\r\n\r\n".encode()
