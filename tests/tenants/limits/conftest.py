"""Limits for a customer, an address or any key, and a clock that stands still unless it is moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway_project.lib import rates
from tenants.models import ApiKey, RateLimit
from tests.support.client import PATHS, client_of, said
from tests.support.live import LiveGateway
from tests.support.rows import Customer

Clock = Callable[[float], None]
Ask = Callable[..., httpx.Response]


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The gateway sees no time but what is passed here."""
    now = [1_000_000.0]
    monkeypatch.setattr("tenants.limits.memory.clock.monotonic", lambda: now[0])

    def move(seconds: float) -> None:
        now[0] += seconds

    return move


@pytest.fixture
def limit(gateway: LiveGateway, acme: Customer) -> Callable[..., None]:
    """Give acme, or one of its keys, limits such as `60 requests/minute`."""

    def give(text: str, key: ApiKey | None = None) -> None:
        for rate in rates.parse(text):
            RateLimit.objects.create(
                tenant=acme.tenant,
                api_key=key,
                metric=rate.metric,
                amount=rate.amount,
                window=rate.window,
            )
        gateway.call(gateway.worker.forget)

    return give


@pytest.fixture
def ask(gateway: LiveGateway, acme: Customer) -> Iterator[Ask]:
    """Ask the sandbox through a door."""
    with client_of(gateway, acme) as client:

        def post(door: str = "chat", text: str = "Hi", **fields: Any) -> httpx.Response:
            protocol = fields.pop("protocol", "chat")
            headers = fields.pop("headers", None)
            body = {"model": f"sandbox-{protocol}", **said(door, text), **fields}
            return client.post(PATHS.get(door, f"/responses/{door}"), json=body, headers=headers)

        yield post
