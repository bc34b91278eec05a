"""Fixtures every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import transaction

from gateway_project.lib import db
from tests.support import flushing, rows, tls
from tests.support.live import LiveGateway
from tests.support.rows import Customer


def pytest_configure() -> None:
    flushing.flush_quickly()
    tls.share_default_context()


@pytest.fixture(scope="session")
def database_threads(django_db_setup: None) -> Iterator[None]:
    """For tests of code that uses the pool of database threads without a gateway."""
    yield
    db.close_pool_connections()


@pytest.fixture(scope="session")
def running_gateway(django_db_setup: None) -> Iterator[LiveGateway]:
    """One gateway for the whole run; use `gateway`, which hands it out clean."""
    live = LiveGateway()
    live.start()
    yield live
    live.stop()


@pytest.fixture
def gateway(transactional_db: None, running_gateway: LiveGateway) -> Iterator[LiveGateway]:
    """A real gateway on a real socket with an empty database; rows made now are seen by it."""
    running_gateway.reset()
    yield running_gateway
    running_gateway.reset()


@pytest.fixture
def acme(gateway: LiveGateway) -> Customer:
    """A tenant with a key, and the sandbox's three aliases."""
    with transaction.atomic():
        rows.sandbox_aliases(gateway.sandbox.base_url)
        return rows.customer("acme")
