"""Somebody to ask for answers of a provider of each protocol."""

from __future__ import annotations

import pytest

from routing.models import Provider
from routing.protocols import PROTOCOLS
from tests.support import ledger, rows
from tests.support.live import LiveGateway
from tests.support.rows import Customer


@pytest.fixture
def customer(gateway: LiveGateway) -> Customer:
    """A tenant, and an alias of a provider of each protocol."""
    ledger.begin_here(gateway)
    for protocol in PROTOCOLS:
        rows.provider(protocol, gateway.sandbox.base_url)
        rows.alias(f"m-{protocol}", (Provider.objects.get(name=f"sandbox-{protocol}"), "sandbox-1"))
    return rows.customer("acme")
