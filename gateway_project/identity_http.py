"""Speak HTTP with identity providers, under the gateway's egress policy and nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from routing.upstream.checked_transport import CheckedTransport, refuse_encoded

TIMEOUT_SECONDS = 10.0
MAX_BYTES = 1024 * 1024


def fetch(
    method: str,
    url: str,
    *,
    allow_private: bool,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Return the body of a 200 answer. Raise OSError, whose message names the host and what went wrong.

    Redirects are not followed: the issuer's document names every address itself.
    """
    host = _host_of(url)
    transport = CheckedTransport(allow_private=allow_private)
    headers = {**(headers or {}), "accept-encoding": "identity"}
    try:
        with (
            httpx.Client(transport=transport, timeout=TIMEOUT_SECONDS, trust_env=False) as client,
            client.stream(method, url, data=form, headers=headers) as response,
        ):
            if response.status_code != 200:
                raise OSError(f"{host} answered with status {response.status_code}")
            refuse_encoded(response)
            return _read(response, host)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OSError(f"{host} cannot be asked: {error}") from error


def _host_of(url: str) -> str:
    """Return the host; an issuer's document may name anything as an address of its own."""
    try:
        return httpx.URL(url).host
    except (httpx.InvalidURL, ValueError) as error:
        raise OSError(f"Invalid address: {error}") from error


def _read(response: httpx.Response, host: str) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > MAX_BYTES:
            raise OSError(f"{host} sent more than {MAX_BYTES} bytes")
    return bytes(body)
