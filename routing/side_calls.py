"""HTTP to upstreams beside the hot path: checks and model lists, under the same egress policy.

The name is resolved and every address checked here, and the connection goes to the checked address itself,
so that a second DNS answer cannot lead elsewhere. No redirects, no proxies from the environment.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx

from gateway_project.lib.log import scrub_text
from gateway_project.lib.secret import MASK, Secret
from routing import auth
from routing.egress import ForbiddenAddress, check_address
from routing.models import WireProtocol

TIMEOUT = httpx.Timeout(60.0, connect=5.0)
MAX_ERROR_LENGTH = 500
# https://platform.claude.com/docs/en/api/versioning
ANTHROPIC_VERSION = "2023-06-01"


class CheckedTransport(httpx.BaseTransport):
    """Connects only to addresses the policy allows; the TLS name stays that of the URL."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpx.HTTPTransport(trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        *others, last = self._checked_addresses(host, request)
        request.extensions = {**request.extensions, "sni_hostname": host}
        for address in others:
            try:
                return self._send(request, address)
            except httpx.ConnectError:
                continue  # a name may have an IPv6 address nobody listens on
        return self._send(request, last)

    def _send(self, request: httpx.Request, address: str) -> httpx.Response:
        request.url = request.url.copy_with(host=address)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()

    def _checked_addresses(self, host: str, request: httpx.Request) -> list[str]:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpx.ConnectError(f"{host!r} cannot be resolved: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            _check(address, request, allow_private=self._allow_private)
        return addresses


def _check(address: str, request: httpx.Request, *, allow_private: bool) -> None:
    try:
        check_address(address, allow_private=allow_private)
    except ForbiddenAddress as error:
        raise httpx.ConnectError(
            f"the egress policy refuses the address {address}; if it is meant, allow private "
            "networks for this provider",
            request=request,
        ) from error


def client(
    protocol: str, auth_kind: str, secret: Secret | None, *, allow_private: bool
) -> httpx.Client:
    """A client that sends this credential the way the protocol and provider want it."""
    headers = auth.headers(auth_kind, secret)
    if protocol == WireProtocol.ANTHROPIC:
        headers.setdefault("anthropic-version", ANTHROPIC_VERSION)
    transport = CheckedTransport(allow_private=allow_private)
    return httpx.Client(headers=headers, transport=transport, timeout=TIMEOUT, trust_env=False)


def error_of(response: httpx.Response, secret: Secret | None) -> str:
    """What the upstream said, in its own words, without anything that looks like a credential."""
    return scrubbed(_message(response), secret)


def scrubbed(text: str, secret: Secret | None) -> str:
    """Without the secret itself and whatever else resembles one, cut to a readable length."""
    if secret:
        text = text.replace(secret.reveal(), MASK)
    return scrub_text(text)[:MAX_ERROR_LENGTH]


def _message(response: httpx.Response) -> str:
    """The message of the usual error envelopes, or the body as it is."""
    try:
        body: Any = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return response.text.strip() or "(empty body)"
    match body:
        case {"error": {"message": str(message)}} | {"error": str(message)}:
            return message
        case {"message": str(message)} | {"detail": str(message)}:
            return message
    return response.text
