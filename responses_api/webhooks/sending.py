"""Make one attempt to hand an event to an endpoint: one POST, under the egress policy and a deadline.

The HTTP client is imported when there is an event to send: a gateway without webhooks needs none of it.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway_project.lib.log import scrub_text
from routing.upstream.egress import ForbiddenAddress

if TYPE_CHECKING:
    import httpx

MAX_ERROR_LENGTH = 500
CONNECT_SECONDS = 5.0
_TRANSPORT = "routing.upstream.checked_transport"


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of one attempt. `status` is None if there was no answer, `error` empty if the event was
    accepted."""

    status: int | None
    error: str = ""

    @property
    def is_gone(self) -> bool:
        return self.status == HTTPStatus.GONE


async def post(
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    allow_private: bool,
    timeout_seconds: float,
) -> DeliveryResult:
    """Send the event and return the result; never raises. The answer's body is not read: nothing in it is
    for us."""
    if _TRANSPORT not in sys.modules:  # in a thread, because it takes too long for an event loop
        await asyncio.to_thread(importlib.import_module, _TRANSPORT)
    import httpx  # noqa: PLC0415

    from routing.upstream.checked_transport import AsyncCheckedTransport  # noqa: PLC0415

    # A client of its own, because kept connections go by address, and two hosts may share one.
    transport = AsyncCheckedTransport(allow_private=allow_private)
    timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
    headers = {**headers, "content-type": "application/json", "user-agent": "Tollgate-Webhooks"}
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as client,
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            return _judge(response)
    except TimeoutError:
        return DeliveryResult(None, f"No answer within {timeout_seconds:g} seconds.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return DeliveryResult(None, _in_words(error))


def _judge(response: httpx.Response) -> DeliveryResult:
    if response.is_success:
        return DeliveryResult(response.status_code)
    if response.is_redirect:
        return DeliveryResult(
            response.status_code, "The endpoint answered with a redirect, which is not followed."
        )
    return DeliveryResult(response.status_code, f"The endpoint answered {response.status_code}.")


def _in_words(error: Exception) -> str:
    """Describe an error for the tenant, without the address behind a name in the operator's own network."""
    if isinstance(error.__cause__, ForbiddenAddress):
        return "The endpoint's host has a private or loopback address, which is not allowed."
    return scrub_text(f"{type(error).__name__}: {error}")[:MAX_ERROR_LENGTH]
