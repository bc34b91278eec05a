"""Bring the database's tables up to date, cheaply when they already are, and beside those who use them."""

from __future__ import annotations

import fcntl
import importlib.util
import logging
import pkgutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from tenants import triggers

T = TypeVar("T")
logger = logging.getLogger("tollgate.migrate")

# An advisory lock's number is chosen by whoever uses the database; this is "tollgate" in ASCII.
LOCK_NUMBER = int.from_bytes(b"tollgate", "big")
RETRY_SECONDS = 0.5
# Who waits for a table keeps everybody waiting who comes later; so nobody waits long, and comes again.
LOCK_TIMEOUT = "2s"
ATTEMPTS = 30
PAUSE_SECONDS = 1.0


def pending() -> list[str]:
    """Return the unapplied migrations as `app.name`."""
    if _are_all_noted():
        return []
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def _are_all_noted() -> bool:
    """Tell by one question whether the database has every migration; a plan needs two, and a graph."""
    try:
        noted = set(MigrationRecorder(connection).migration_qs.values_list("app", "name"))
    except DatabaseError:  # there is no table of migrations yet
        return False
    return noted.issuperset(known())


def known() -> Iterator[tuple[str, str]]:
    """Name all migrations, as `app, name`, by their files: importing them takes longer than asking."""
    for app in apps.get_app_configs():
        package, _ = MigrationLoader.migrations_module(app.label)
        spec = None if package is None else importlib.util.find_spec(package)
        places = (spec and spec.submodule_search_locations) or ()
        for module in pkgutil.iter_modules(places):
            if not module.ispkg and module.name[0] not in "_~":
                yield app.label, module.name


def migrate() -> list[str]:
    """Apply pending migrations and say which; with nothing to do, only the plan is computed."""
    names = pending()
    if names:
        call_command("migrate", interactive=False, verbosity=0)
    else:
        triggers.install()
    return names


@contextmanager
def one_at_a_time(say_waiting: Callable[[], object]) -> Iterator[None]:
    """Hold this database's migrations for ourselves; whoever comes second waits, and says so once.

    Two that migrate at once, as the first containers of an installation would, make each other fail on tables
    that exist already. The lock ends with the process that holds it, however that ends.
    """
    is_postgres = connection.vendor == "postgresql"
    with _advisory_lock(say_waiting) if is_postgres else _file_lock(say_waiting):
        yield


@contextmanager
def _advisory_lock(say_waiting: Callable[[], object]) -> Iterator[None]:
    """Hold a lock of the database's session.

    It is asked for again and again: a session that waits inside one statement holds a snapshot, for which an
    index that is built concurrently waits in turn, and `lock_timeout` would end it.
    """
    has_waited = False
    while not _ask("SELECT pg_try_advisory_lock(%s)"):
        if not has_waited:
            say_waiting()
        has_waited = True
        time.sleep(RETRY_SECONDS)
    try:
        yield
    finally:
        if connection.is_usable():  # a session that is gone has let go of it
            _ask("SELECT pg_advisory_unlock(%s)")


def _ask(question: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(question, [LOCK_NUMBER])
        return bool(cursor.fetchone()[0])


@contextmanager
def _file_lock(say_waiting: Callable[[], object]) -> Iterator[None]:
    # Beside the database, whose it is: two data directories may use one file.
    with Path(f"{connection.settings_dict['NAME']}.migrate.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say_waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def patiently(work: Callable[[], T], pause: Callable[[float], object] = time.sleep) -> T:
    """Migrate, giving up each time a table stays busy, and going on from there a second later.

    What a migration did is rolled back with it; one that is no transaction goes on where it was. Raise
    OperationalError if a table is never free.
    """
    with _short_waits():
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return work()
            except OperationalError as error:
                if attempt == ATTEMPTS or not _is_lock_timeout(error):
                    raise
                logger.warning(
                    "a table is busy; the migration is tried again in %s s (%s of %s)",
                    PAUSE_SECONDS, attempt, ATTEMPTS,
                )  # fmt: skip
                pause(PAUSE_SECONDS)
    raise AssertionError("unreachable")


@contextmanager
def _short_waits() -> Iterator[None]:
    """Wait only shortly for locks of PostgreSQL, in this session."""
    if connection.vendor != "postgresql":
        yield
        return
    _set_lock_timeout(LOCK_TIMEOUT)
    try:
        yield
    finally:
        with suppress(DatabaseError):  # the connection is gone, and its settings with it
            _set_lock_timeout("DEFAULT")


def _set_lock_timeout(value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {value if value == 'DEFAULT' else repr(value)}")


def _is_lock_timeout(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", "") == "55P03"
