"""Fixtures of the tests about what is remembered."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.faults import wire
from tests.faults.conftest import outcomes
from tests.state.calls import client_of
from tests.support.live import LiveGateway
from tests.support.rows import Customer

__all__ = ["http", "no_connection_is_left", "outcomes"]


@pytest.fixture
def http(gateway: LiveGateway, acme: Customer) -> Iterator[httpx.Client]:
    with client_of(gateway, acme) as client:
        yield client


@pytest.fixture(autouse=True)
def no_connection_is_left() -> Iterator[None]:
    yield
    wire.close_all()
