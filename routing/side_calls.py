"""HTTP to upstreams beside the hot path: checks and model lists, under the same egress policy."""

from __future__ import annotations

from typing import Any

import httpx

from gateway_project.lib.log import scrub_text
from gateway_project.lib.secret import MASK, Secret
from routing import auth
from routing.checked_transport import CheckedTransport
from routing.models import WireProtocol

TIMEOUT = httpx.Timeout(60.0, connect=5.0)
MAX_ERROR_LENGTH = 500
# https://platform.claude.com/docs/en/api/versioning
ANTHROPIC_VERSION = "2023-06-01"


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
    except (ValueError, RecursionError):
        return response.text.strip() or "(empty body)"
    match body:
        case {"error": {"message": str(message)}} | {"error": str(message)}:
            return message
        case {"message": str(message)} | {"detail": str(message)}:
            return message
    return response.text
