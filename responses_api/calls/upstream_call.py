"""Make one HTTP call of an upstream, whatever it is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from responses_api.calls import upstream_errors
from routing.route import ResolvedTarget
from routing.upstream.transport import Transport, UpstreamResponse


class UpstreamCall:
    """One HTTP call, sent once, then read as a whole or piece by piece. Whoever makes one closes it,
    whatever happens. `response` is None before it arrives and after it was closed."""

    __slots__ = ("_headers", "_path", "_payload", "_transport", "is_begun", "response", "target")

    def __init__(
        self,
        transport: Transport,
        target: ResolvedTarget,
        path: str,
        payload: bytes,
        headers: Mapping[str, str],
    ) -> None:
        self._transport = transport
        self._path = path
        self._payload = payload
        self._headers = headers
        self.target = target
        self.response: UpstreamResponse | None = None
        self.is_begun = False  # something of it may have reached the upstream

    @property
    def status(self) -> int:
        """Return the response's status; 0 while there is no response and after it was closed."""
        return 0 if self.response is None else self.response.status

    @property
    def surely_ran_nothing(self) -> bool:
        """Return whether nothing was sent, or whether what answered refused the call or is another server
        than the one asked."""
        response = self.response
        if response is None:
            return not self.is_begun
        return response.status >= 400 or response.content_type == "text/html"

    async def send(self) -> UpstreamResponse:
        """Return the response as soon as its headers arrive. Raise UpstreamError."""
        self.response = response = await self._transport.post(
            self.target, self._path, self._payload, self._headers, self._begin
        )
        return response

    def _begin(self) -> None:
        self.is_begun = True

    async def whole(self) -> bytes:
        """Send the call and return the body of a good response. Raise the error behind any other."""
        response = await self.send()
        if response.status != 200:
            raise await upstream_errors.of_status(response)
        return await response.body()

    async def drain(self, seconds: float) -> None:
        """Read the rest, so that the connection can be used again."""
        if self.response is not None:
            await self.response.drain(seconds)

    def close(self) -> None:
        if self.response is not None:
            self.response.close()
            self.response = None
