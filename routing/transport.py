"""The hot path's HTTP client: the only module that knows aiohttp.

It sends one POST to one target and hands out the answer's bytes. Timeouts on reading are the caller's
business (responses_api/watchdog.py); connecting and waiting for a connection are limited here. Redirects
are not followed, cookies not kept, proxies of the environment not used.
"""

from __future__ import annotations

import asyncio
import errno
import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import aiohttp
from yarl import URL

from gateway_project.lib import structure
from gateway_project.lib.errors import (
    UpstreamCut,
    UpstreamError,
    UpstreamForbiddenAddress,
    UpstreamMalformed,
    UpstreamUnreachable,
)
from gateway_project.lib.structure import Caps, TooMuchStructure
from routing import auth, egress
from routing.route import Target

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_VALUES = 1_000_000
MAX_ERROR_BYTES = 64 * 1024
# Above this a body is handed over as a file, so that it is written piece by piece, as the socket takes it.
LARGE_BODY_BYTES = 256 * 1024
# What may wait here, doubled, before reading stops. A reader that takes nothing costs several such buffers;
# the client library's default of 64 KB made them 2 MB a stream, this 0.4 MB, at the same CPU.
READ_BUFFER_BYTES = 16 * 1024
IDLE_CONNECTION_SECONDS = 15.0
USER_AGENT = "tollgate/0.1"

# What aiohttp raises and what it means; order matters, the first match counts.
_TRANSLATIONS: tuple[tuple[type[BaseException], type[UpstreamError], str], ...] = (
    (aiohttp.ClientConnectorError, UpstreamUnreachable, "could not be reached"),
    (aiohttp.ClientSSLError, UpstreamUnreachable, "could not be reached securely"),
    (aiohttp.ConnectionTimeoutError, UpstreamUnreachable, "could not be reached in time"),
    (aiohttp.InvalidURL, UpstreamUnreachable, "has an unusable address"),
    (aiohttp.ClientResponseError, UpstreamMalformed, "answered with broken HTTP"),
    (aiohttp.ClientError, UpstreamCut, "closed the connection before its answer was complete"),
    (OSError, UpstreamCut, "closed the connection before its answer was complete"),
)


def translate(error: BaseException, target: Target) -> UpstreamError:
    """The one place where the client library's exceptions become ours."""
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return UpstreamForbiddenAddress(
            f"The provider {target.provider!r} lies at an address the egress policy refuses."
        )
    for foreign, ours, what in _TRANSLATIONS:
        if isinstance(error, foreign):
            return ours(f"The provider {target.provider!r} {what}.")
    raise error


FOREIGN = (aiohttp.ClientError, OSError, ValueError, asyncio.TimeoutError)


class Answer:
    """A target's answer whose body has not been read. Close it, whatever happens."""

    __slots__ = ("_caps", "_response", "status", "target")

    def __init__(self, response: aiohttp.ClientResponse, target: Target, caps: Caps) -> None:
        self._response = response
        self._caps = caps
        self.status = response.status
        self.target = target

    def header(self, name: str) -> str:
        return self._response.headers.get(name, "")

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters."""
        return self.header("content-type").partition(";")[0].strip().lower()

    async def chunk(self) -> bytes:
        """All bytes that are there, waiting for some; empty at the end. Raises UpstreamError."""
        try:
            return await self._response.content.readany()
        except FOREIGN as error:
            raise translate(error, self.target) from error

    async def body(self, limit: int = MAX_ANSWER_BYTES) -> bytes:
        """The whole body. Raises UpstreamError, also when it is larger than `limit` or has more values
        than objects are made of."""
        pieces, size = [], 0
        while piece := await self.chunk():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise UpstreamMalformed(f"The provider {self.target.provider!r} answered too much.")
        whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        try:
            await structure.check_between(self._caps, whole)
        except TooMuchStructure as error:
            raise UpstreamMalformed(
                f"The provider {self.target.provider!r} sent {error}."
            ) from None
        return whole

    async def drain(self, seconds: float) -> None:
        """Read what is left after the terminal event, so that the connection can be used again."""
        try:
            async with asyncio.timeout(seconds):
                while await self.chunk():
                    pass
        except (TimeoutError, UpstreamError):
            self.close()

    def close(self) -> None:
        """Close the connection at once, unless the body was read to its end."""
        if not self._response.closed:  # then its connection serves others already
            self._response.close()


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
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=pool_wait_seconds + connect_seconds, sock_connect=connect_seconds
        )
        self._max_connections = max_connections
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def _session(self, *, allow_private: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(allow_private)
        if session is None:
            session = self._sessions[allow_private] = self._new_session(allow_private)
        return session

    def _new_session(self, allow_private: bool) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self._max_connections,
            keepalive_timeout=IDLE_CONNECTION_SECONDS,
            socket_factory=egress.socket_factory(allow_private=allow_private),
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            read_bufsize=READ_BUFFER_BYTES,
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def post(
        self, target: Target, path: str, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        """Send `body` to the target; returns when the answer's headers are there.

        The credential is added here and nowhere else, for this target's address only. Raises
        UpstreamError; a cancelled call closes its connection.
        """
        session = self._session(allow_private=target.allow_private_network)
        try:
            response = await session.post(
                _url(target.base_url + path),
                data=body if len(body) <= LARGE_BODY_BYTES else io.BytesIO(body),
                headers=_all_headers(target, headers),
                allow_redirects=False,
            )
        except FOREIGN as error:
            raise translate(error, target) from error
        return Answer(response, target, self.caps)

    @property
    def open_connections(self) -> int:
        """Connections in use, not counting idle ones kept for reuse."""
        connectors: list[Any] = [session.connector for session in self._sessions.values()]
        return sum(len(connector._acquired) for connector in connectors)

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()


def _all_headers(target: Target, headers: Mapping[str, str]) -> dict[str, str]:
    return {
        "user-agent": USER_AGENT,
        "content-type": "application/json",
        # Compressed streams cost time and delay tokens; vendors that compress anyway are understood.
        "accept-encoding": "identity",
        **headers,
        **auth.headers(target.auth_kind, target.secret),
    }


@lru_cache(maxsize=4096)
def _url(text: str) -> URL:
    return URL(text, encoded=True)
