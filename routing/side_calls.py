"""Call upstreams beside the hot path: checks and model lists, under the same egress policy.

Whoever may add a provider chooses what answers here, so a deadline ends each call wherever it is, and an
answer is read up to a size.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from gateway_project.lib import clock, structure
from gateway_project.lib.log import scrub_text
from gateway_project.lib.secret import MASK, Secret
from gateway_project.lib.structure import Caps, TooMuchStructure
from routing.protocols import PROTOCOLS
from routing.upstream import auth
from routing.upstream.checked_transport import AsyncCheckedTransport, refuse_encoded
from routing.upstream.egress import ForbiddenAddress

CONNECT_SECONDS = 5.0
DEADLINE_SECONDS = 30.0
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_ERROR_LENGTH = 500
# Decoded, 8 MB of `{},{},…` would be 180 MB.
CAPS = Caps(values=500_000, keys=500_000)


@dataclass(frozen=True, slots=True)
class Reach:
    """Holds what it takes to call an upstream."""

    protocol: str
    base_url: str
    auth_kind: str
    secret: Secret | None
    allow_private: bool


@dataclass(frozen=True, slots=True)
class SideAnswer:
    """The whole answer to one call, and how long it took."""

    status: int
    body: bytes
    latency_ms: float

    @property
    def is_ok(self) -> bool:
        return self.status == HTTPStatus.OK

    def json(self) -> Any:
        """Return the decoded body; None for what is not JSON, or has more in it than anybody lists."""
        try:
            structure.check(CAPS, self.body)
            return json.loads(self.body)
        except (ValueError, RecursionError, TooMuchStructure):
            return None


class NoAnswer(Exception):
    """There was no HTTP answer; the message says why, without a secret.

    `is_forbidden`: the egress policy refused the address, which the message names.
    """

    def __init__(self, reason: str, latency_ms: float, *, is_forbidden: bool = False) -> None:
        super().__init__(reason)
        self.latency_ms = latency_ms
        self.is_forbidden = is_forbidden


def ask(
    reach: Reach,
    method: str,
    path: str,
    *,
    body: Any = None,
    query: Mapping[str, str | int] | None = None,
) -> SideAnswer:
    """Call the route `path` below the base URL, and wait for the whole answer. Raise NoAnswer."""
    started = clock.monotonic()
    try:
        status, content = asyncio.run(_exchange(reach, method, path, body, query))
    except TimeoutError:
        reason = f"It did not answer within {DEADLINE_SECONDS:g} seconds."
        raise NoAnswer(reason, _since(started)) from None
    except UnicodeError:
        reason = "The credential or the address has characters that no request can carry."
        raise NoAnswer(reason, _since(started)) from None
    except _TooLarge:
        reason = f"Its answer is larger than {MAX_BODY_BYTES // 1024 // 1024} MB."
        raise NoAnswer(reason, _since(started)) from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        reason = scrub(f"{type(error).__name__}: {error}", reach.secret)
        is_forbidden = isinstance(error.__cause__, ForbiddenAddress)
        raise NoAnswer(reason, _since(started), is_forbidden=is_forbidden) from error
    return SideAnswer(status, content, _since(started))


class _TooLarge(Exception):
    pass


async def _exchange(
    reach: Reach, method: str, path: str, body: Any, query: Mapping[str, str | int] | None
) -> tuple[int, bytes]:
    headers = {
        **PROTOCOLS[reach.protocol].headers,
        **auth.headers(reach.auth_kind, reach.secret),
        "accept-encoding": "identity",
    }
    transport = AsyncCheckedTransport(allow_private=reach.allow_private)
    timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
    url = reach.base_url.rstrip("/") + path
    async with (
        asyncio.timeout(DEADLINE_SECONDS),
        httpx.AsyncClient(
            headers=headers, transport=transport, timeout=timeout, trust_env=False
        ) as client,
        client.stream(method, url, json=body, params=query) as response,
    ):
        refuse_encoded(response)
        found = bytearray()
        async for chunk in response.aiter_bytes():
            found += chunk
            if len(found) > MAX_BODY_BYTES:
                raise _TooLarge
        return response.status_code, bytes(found)


def error_of(answer: SideAnswer, secret: Secret | None) -> str:
    """Return the upstream's error message without anything that looks like a credential."""
    return scrub(_message(answer), secret)


def scrub(text: str, secret: Secret | None) -> str:
    """Remove the secret itself and anything that resembles one, and cut to a readable length."""
    if secret:
        text = text.replace(secret.reveal(), MASK)
    return scrub_text(text).replace("\0", "")[:MAX_ERROR_LENGTH]


def _message(answer: SideAnswer) -> str:
    """Return the message of the usual error envelopes, or the body as it is."""
    text = answer.body[: 4 * MAX_ERROR_LENGTH].decode(errors="replace").strip()
    match answer.json():
        case {"error": {"message": str(message)}} | {"error": str(message)}:
            return message
        case {"message": str(message)} | {"detail": str(message)}:
            return message
    return text or "(empty body)"


def _since(started: float) -> float:
    return round((clock.monotonic() - started) * 1000, 1)
