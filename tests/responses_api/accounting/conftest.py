"""Priced sandbox models, and the ledger as the test's own calls make it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.db import transaction
from django.db.models import QuerySet

from gateway_project.lib import clock
from gateway_project.sandbox.faults import PREFIX
from routing.models import Alias, Provider
from tenants import revision
from tenants.models import Budget, PriceLine, PriceVersion, UsageRow
from tests.support import client, ledger, rows
from tests.support.live import LiveGateway
from tests.support.rows import Customer

INPUT_PICO = 1_000_000  # $1 per million tokens
OUTPUT_PICO = 10_000_000
DOLLAR = 1_000_000_000
Rows = Callable[[], list[UsageRow]]


@transaction.atomic
def price(
    provider: str, model: str, *, input_pico: int = INPUT_PICO, output_pico: int = OUTPUT_PICO
) -> None:
    """A published cost of a provider's model, which is also what is charged."""
    book, begins = PriceVersion.Book.COST, clock.now()
    version = PriceVersion(book=book, provider=provider, model=model, effective_from=begins)
    rows.insert([version])
    per_token = {"input_fresh": input_pico, "output_visible": output_pico}
    rows.insert(
        PriceLine(version=version, token_class=name, pico_per_token=pico)
        for name, pico in per_token.items()
    )
    # Past what tells of it, as rows are made.
    QuerySet(PriceVersion).filter(pk=version.pk).update(published_at=clock.now())
    revision.bump()


def budget(customer: Customer, amount_nano: int, **fields: Any) -> Budget:
    return Budget.objects.create(
        tenant=customer.tenant, name="test", amount_nano=amount_nano, period="total", **fields
    )


@transaction.atomic
def offer(name: str) -> None:
    """The priced alias `good-chat`, `cut-responses` and so on: what the sandbox plays, and its protocol."""
    played, _, protocol = name.rpartition("-")
    if protocol not in rows.PROTOCOLS or Alias.objects.filter(name=name).exists():
        return
    provider = Provider.objects.get(name=f"sandbox-{protocol}")
    model = played if played == "good" else PREFIX + played
    rows.alias(name, (provider, model))
    price(provider.name, model)


@pytest.fixture
def buyer(gateway: LiveGateway) -> Customer:
    """A tenant, and a provider of each protocol."""
    with transaction.atomic():
        ledger.begin_here(gateway)
        for protocol in rows.PROTOCOLS:
            rows.provider(protocol, gateway.sandbox.base_url)
        return rows.customer("buyer")


@pytest.fixture
def booked(gateway: LiveGateway) -> Rows:
    """The rows of the calls made so far."""
    return lambda: ledger.rows(gateway)


@pytest.fixture
def post(gateway: LiveGateway, buyer: Customer) -> Callable[..., httpx.Response]:
    """Ask an alias through a door, offering it if need be; the answer, as far as it came."""

    def ask(door: str, model: str, text: str = "Hi", **body: Any) -> httpx.Response:
        offer(model)
        return client.ask(gateway, door, buyer, model, text, **body)

    return ask
