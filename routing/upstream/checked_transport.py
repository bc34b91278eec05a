"""Speak HTTP only where the egress policy allows, for everything beside the hot path.

The name is resolved and every address checked here, and the connection goes to the checked address itself,
so that a second DNS answer cannot lead elsewhere. The TLS name stays that of the URL. No redirects, no
proxies from the environment.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import httpx

from routing.upstream.egress import ForbiddenAddress, check_address

UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout)
# Threads of their own: names that tenants chose may take long to resolve, and the loop's own few threads
# resolve those of upstreams.
_resolvers = ThreadPoolExecutor(32, thread_name_prefix="tollgate-dns")


class CheckedTransport(httpx.BaseTransport):
    """Transport for blocking calls. One client of it should talk to one host: connections are kept by
    address."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpx.HTTPTransport(trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        *others, last = _checked(_resolve(host), request, allow_private=self._allow_private)
        request.extensions = {**request.extensions, "sni_hostname": host}
        for address in others:
            try:
                return self._send(request, address)
            except UNREACHABLE:
                continue  # a name may have an IPv6 address nobody listens on
        return self._send(request, last)

    def _send(self, request: httpx.Request, address: str) -> httpx.Response:
        request.url = request.url.copy_with(host=address)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


class AsyncCheckedTransport(httpx.AsyncBaseTransport):
    """The same on an event loop, so that a deadline can end it wherever it is."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpx.AsyncHTTPTransport(verify=_certificates(), trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        found = await asyncio.get_running_loop().run_in_executor(_resolvers, _resolve, host)
        *others, last = _checked(found, request, allow_private=self._allow_private)
        request.extensions = {**request.extensions, "sni_hostname": host}
        for address in others:
            try:
                return await self._send(request, address)
            except UNREACHABLE:
                continue
        return await self._send(request, last)

    async def _send(self, request: httpx.Request, address: str) -> httpx.Response:
        request.url = request.url.copy_with(host=address)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def refuse_encoded(response: httpx.Response) -> None:
    """Raise DecodingError for an answer that is compressed although `identity` alone was asked for: undone
    in layers, a few hundred bytes fill the memory before anything can count them.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        raise httpx.DecodingError(
            f"the answer has the content encoding {encoding[:40]!r}, which was not asked for"
        )


@cache
def _certificates() -> ssl.SSLContext:
    """Read the certificates once: it takes tens of milliseconds, which would hold up an event loop at every
    call."""
    return httpx.create_ssl_context(trust_env=False)


def _resolve(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"{host!r} cannot be resolved: {error}") from error
    return [str(entry[4][0]) for entry in found]


def _checked(found: list[str], request: httpx.Request, *, allow_private: bool) -> list[str]:
    """Return the addresses, each once, if every one of them is allowed."""
    addresses = list(dict.fromkeys(found))
    for address in addresses:
        _check(address, request, allow_private=allow_private)
    return addresses


def _check(address: str, request: httpx.Request, *, allow_private: bool) -> None:
    try:
        check_address(address, allow_private=allow_private)
    except ForbiddenAddress as error:
        raise httpx.ConnectError(
            f"the egress policy refuses the address {address}; if it is meant, allow private "
            "networks for it",
            request=request,
        ) from error
