"""One attempt to hand an event to an endpoint: one POST, under the egress policy and a deadline."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from gateway_project.lib.log import scrub_text
from routing.checked_transport import AsyncCheckedTransport
from routing.egress import ForbiddenAddress

MAX_ERROR_LENGTH = 500
CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is None where there was no answer, `error` empty where the event was accepted."""

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
) -> Answer:
    """What came of it; never raises. The answer's body is not read: nothing in it is for us."""
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
            return _judged(response)
    except TimeoutError:
        return Answer(None, f"No answer within {timeout_seconds:g} seconds.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Answer(None, _in_words(error))


def _judged(response: httpx.Response) -> Answer:
    if response.is_success:
        return Answer(response.status_code)
    if response.is_redirect:
        return Answer(response.status_code, "The endpoint redirects, which is not followed.")
    return Answer(response.status_code, f"The endpoint answered {response.status_code}.")


def _in_words(error: Exception) -> str:
    """For the tenant's eyes: without the address a name of the operator's own network stands for."""
    if isinstance(error.__cause__, ForbiddenAddress):
        return "The endpoint's host has an address that may not be called (private or loopback)."
    return scrub_text(f"{type(error).__name__}: {error}")[:MAX_ERROR_LENGTH]
