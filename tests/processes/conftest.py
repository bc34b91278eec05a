"""A prepared data directory, copied for each test, and a provider outside the served gateway.

Real processes are dear: `make test` runs those in SMOKES, one for each thing that only a process shows, and
CI all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from gateway_project.sandbox import SandboxServer
from tests.plugins.services import URLS
from tests.plugins.tiers import SEED, TIER, Tier
from tests.processes.served import REDIS_AWAY, Served, environment, shell
from tests.support.databases import copy_migrated, create_database, migrated_template, url_of
from tests.support.wire import close_all

# Parameters of tests that need a database: on Celery it is PostgreSQL.
DATABASES = frozenset({"sqlite", "postgres", "celery"})
SMOKES = frozenset(
    {
        "test_a_background_worker_that_is_stuck_ends_and_says_where",
        "test_a_drain_lets_short_streams_finish_and_a_second_signal_ends_each_long_one_once",
        "test_a_failure_is_told_in_both_processes_and_frees_the_key",
        "test_a_port_in_use_is_told_in_words",
        "test_a_stream_whose_worker_is_killed_is_booked_at_what_was_noted",
        "test_a_worker_that_died_is_replaced",
        "test_an_idle_server_stops_at_once",
        "test_cancelling_what_has_not_said_anything_stops_it_as_well",
        "test_ctrl_c_drains_too",
        "test_several_workers_without_redis_are_refused_in_words",
        "test_streams_are_ended_properly_when_the_supervisor_was_killed",
        "test_what_outlasts_the_drain_is_ended_once",
        "test_the_sandbox_is_started_where_a_provider_points_and_restarted_when_it_dies",
    }
)

ROWS = """
import json
from tests.support import rows
rows.sandbox_aliases({url!r})
customer = rows.customer("acme")
chat = rows.provider("chat", {url!r}, "endless")
rows.alias("endless", (chat, "sandbox-fault-never-ending"))
print(json.dumps([customer.key.public_id, customer.secret]))
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A migrated data directory with the sandbox's aliases and one key."""

    data_dir: Path
    key_id: str
    secret: str


@pytest.hookimpl(tryfirst=True)  # before those that `-m` leaves out are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    ours = [item for item in items if item.path.parent == here]
    for item in ours:
        if item.name.partition("[")[0] not in SMOKES:
            item.add_marker(pytest.mark.long)
    if TIER is Tier.CI and URLS["postgres"]:
        for item in left_to_the_proof(ours):
            item.add_marker(pytest.mark.proof)


def left_to_the_proof(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return, of tests that are made on SQLite and on PostgreSQL, one of the two, as the seed says: the other
    half of the commits have the other."""
    pairs: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if not DATABASES.isdisjoint(_parameters(item)):
            others = sorted(str(value) for value in _parameters(item) - DATABASES)
            pairs[f"{item.nodeid.partition('[')[0]} {others}"].append(item)
    return [
        random.Random(f"{SEED} {name}").choice(pair)
        for name, pair in pairs.items()
        if len(pair) == 2
    ]


def _parameters(item: pytest.Item) -> set[str]:
    callspec = getattr(item, "callspec", None)
    return {str(value) for value in callspec.params.values()} if callspec is not None else set()


@pytest.fixture(scope="session")
def provider() -> Iterator[SandboxServer]:
    """A sandbox in a thread, so that it outlives the gateways of all tests."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="provider")
    thread.start()
    # A fast machine makes more calls in a test than a sandbox remembers by itself.
    server = SandboxServer(remembered_calls=1_000_000)
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    yield server
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def template(provider: SandboxServer, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A data directory that is made once: starting Django takes longer than many a test."""
    data_dir = tmp_path_factory.mktemp("template")
    variables = copy_migrated(tmp_path_factory, data_dir)
    key_id, secret = shell(variables, ROWS.format(url=provider.base_url))
    return Prepared(data_dir, key_id, secret)


@pytest.fixture
def prepared(template: Prepared, provider: SandboxServer, tmp_path: Path) -> Prepared:
    """A copy of the template, and a provider that remembers nothing."""
    provider.calls.clear()
    data_dir = tmp_path / "data"
    shutil.copytree(template.data_dir, data_dir)
    return Prepared(data_dir, template.key_id, template.secret)


@pytest.fixture(autouse=True)
def no_connection_is_left() -> Iterator[None]:
    yield
    close_all()


Serve = Callable[..., Served]


@pytest.fixture
def serve(prepared: Prepared) -> Iterator[Serve]:
    """Start a gateway on the prepared data: `serve("--workers", "2", TOLLGATE_DRAIN_SECONDS="1")`."""
    with ExitStack() as running:

        def start(*arguments: str, **variables: str) -> Served:
            if "--workers" in arguments:
                variables.setdefault("REDIS_URL", REDIS_AWAY)
            served = Served(environment(prepared.data_dir, **variables), *arguments)
            return running.enter_context(served)

        yield start


@contextlib.contextmanager
def new_database(like: str = "template1") -> Iterator[str]:
    """The name of a new database on the PostgreSQL of this run, a copy of that one."""
    name = f"serve_{secrets.token_hex(6)}"
    with psycopg.connect(URLS["postgres"], autocommit=True) as connection:
        create_database(connection, name, like)
        yield name
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgres_template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Migrated once, and copied for each test."""
    return migrated_template(tmp_path_factory)


@pytest.fixture
def migrated_postgres(postgres_template: str) -> Iterator[str]:
    """The URL of a migrated, empty database on the PostgreSQL of this run."""
    with new_database(like=postgres_template) as name:
        yield url_of(name)
