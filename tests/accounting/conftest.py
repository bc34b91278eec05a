"""Priced sandbox models, and the ledger as the test's own calls make it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gateway_project.lib import clock
from routing.sandbox.faults import PREFIX
from tenants.models import Budget, PriceLine, PriceVersion, UsageRow
from tests.support import ledger, rows
from tests.support.live import LiveGateway
from tests.support.rows import Customer

INPUT_PICO = 1_000_000  # $1 per million tokens
OUTPUT_PICO = 10_000_000
DOLLAR = 1_000_000_000
FAULTS = (
    "no-usage", "cut", "error-first", "error-mid", "500", "401", "429", "never-ending", "silence",
    "headers-then-silence", "clean-eof", "bad-json-body",
)  # fmt: skip

Rows = Callable[[], list[UsageRow]]


def price(
    provider: str, model: str, *, input_pico: int = INPUT_PICO, output_pico: int = OUTPUT_PICO
) -> None:
    """A published cost of a provider's model, which is also what is charged."""
    version = PriceVersion.objects.create(
        book=PriceVersion.Book.COST, provider=provider, model=model, effective_from=clock.now()
    )
    for name, pico in (("input_fresh", input_pico), ("output_visible", output_pico)):
        PriceLine.objects.create(version=version, token_class=name, pico_per_token=pico)
    PriceVersion.objects.filter(pk=version.pk).update(published_at=clock.now())


def budget(customer: Customer, amount_nano: int, **fields: Any) -> Budget:
    return Budget.objects.create(
        tenant=customer.tenant, name="test", amount_nano=amount_nano, period="total", **fields
    )


@pytest.fixture
def buyer(gateway: LiveGateway) -> Customer:
    """A tenant with aliases `good-chat`, `cut-responses` and so on, all of which have a price."""
    ledger.begin_here(gateway)
    customer = rows.customer("buyer")
    for protocol in rows.PROTOCOLS:
        provider = rows.provider(protocol, gateway.sandbox.base_url)
        for name in ("good", *FAULTS):
            model = name if name == "good" else PREFIX + name
            rows.alias(f"{name}-{protocol}", (provider, model))
            price(provider.name, model)
    return customer


@pytest.fixture
def booked(gateway: LiveGateway) -> Rows:
    """The rows of the calls made so far."""
    return lambda: ledger.rows(gateway)


@pytest.fixture
def post(gateway: LiveGateway, buyer: Customer) -> Callable[..., httpx.Response]:
    """Ask an alias through a door; the whole answer."""

    def asked(door: str, model: str, text: str = "Hi", **body: Any) -> httpx.Response:
        said = (
            {"messages": [{"role": "user", "content": text}]} if door == "chat" else {"input": text}
        )
        path = "chat/completions" if door == "chat" else "responses"
        return httpx.post(
            f"{gateway.base_url}/{path}",
            json={"model": model, **said, **body},
            headers=buyer.headers,
            timeout=30,
        )

    return asked
