"""Fixtures every test may use."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import httpx
import pytest
from django.db import transaction
from django.test.utils import setup_databases, teardown_databases
from pytest_django import DjangoDbBlocker

from gateway_project.lib import db
from gateway_project.lib.log import RequestLog
from tests.support import (
    databases,
    flushing,
    open_connections,
    passwords,
    patience,
    rendering,
    rows,
    tls,
)
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.outcomes import Outcomes
from tests.support.rows import Customer


def pytest_configure() -> None:
    flushing.flush_quickly()
    passwords.hash_quickly()
    rendering.keep_contexts_of_pages()
    tls.share_default_context()
    patience.make_clients_patient()
    open_connections.watch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    yield
    if left := open_connections.take_left():
        pytest.fail("a thread has ended without closing its connection:\n" + "\n".join(left))


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: DjangoDbBlocker,
    django_db_modify_db_settings: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """The database for tests, copied from one that was migrated once for all processes of the run."""
    with django_db_blocker.unblock():
        databases.make_test_database(tmp_path_factory)
        # What is left of migrating is to do nothing, and to put triggers and walls in place as ever.
        made = setup_databases(0, interactive=False, keepdb=True, serialized_aliases=set())
        databases.spread_ids()
    yield
    flushing.close()
    with django_db_blocker.unblock():
        teardown_databases(made, 0)


@pytest.fixture(scope="session")
def database_threads(django_db_setup: None) -> Iterator[None]:
    """The pool of database threads, for tests that use it without a gateway."""
    yield
    db.close_pool_connections()


@pytest.fixture(scope="session")
def running_gateway(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[LiveGateway]:
    """One gateway for the whole run; use `gateway`, which hands it out clean."""
    live = LiveGateway()
    with django_db_blocker.unblock():
        live.start()
    yield live
    with django_db_blocker.unblock():
        live.stop()


@pytest.fixture
def gateway(transactional_db: None, running_gateway: LiveGateway) -> Iterator[LiveGateway]:
    """A real gateway on a real socket with an empty database; rows made now are seen by it."""
    running_gateway.open_database()
    running_gateway.reset()
    yield running_gateway
    running_gateway.reset()
    running_gateway.come_to_rest()
    running_gateway.close_database()


@pytest.fixture
def acme(gateway: LiveGateway) -> Customer:
    """A tenant with a key, and the sandbox's three aliases."""
    with transaction.atomic():
        rows.sandbox_aliases(gateway.sandbox.base_url)
        return rows.customer("acme")


@pytest.fixture
def outcomes(gateway: LiveGateway) -> Iterator[Outcomes]:
    """The call log's lines, as they were written to the process's stderr."""
    stderr = gateway.worker.services.call_log
    with tempfile.TemporaryFile() as file:
        yield Outcomes(gateway, file)
        gateway.change(call_log=stderr, request_log=RequestLog(stderr))


@pytest.fixture
def bob(acme: Customer) -> Customer:
    """Another tenant with a key."""
    return rows.customer("bob")


@pytest.fixture
def http(gateway: LiveGateway, acme: Customer) -> Iterator[httpx.Client]:
    """A client with acme's key, whose paths begin behind /v1."""
    with client_of(gateway, acme) as client:
        yield client


@pytest.fixture
def http_from_root(gateway: LiveGateway, acme: Customer) -> Iterator[httpx.Client]:
    """A client with acme's key, for tests that name the prefix of a path as well."""
    with client_of(gateway, acme, "") as client:
        yield client


@pytest.fixture
def as_bob(gateway: LiveGateway, bob: Customer) -> Iterator[httpx.Client]:
    """The other tenant's client; its paths name their prefix."""
    with client_of(gateway, bob, "") as client:
        yield client


@pytest.fixture
def as_stranger(gateway: LiveGateway) -> Iterator[httpx.Client]:
    """A client without any credential; its paths name their prefix."""
    with client_of(gateway, None, "") as client:
        yield client
