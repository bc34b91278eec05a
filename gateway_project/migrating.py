"""Bring the database's tables up to date, cheaply when they already are, and beside those who use them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from tenants import triggers

T = TypeVar("T")
logger = logging.getLogger("tollgate.migrate")

# Who waits for a table keeps everybody waiting who comes later; so nobody waits long, and comes again.
LOCK_TIMEOUT = "2s"
ATTEMPTS = 30
PAUSE_SECONDS = 1.0


def pending() -> list[str]:
    """Return the unapplied migrations as `app.name`."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def migrate() -> list[str]:
    """Apply pending migrations and say which; with nothing to do, only the plan is computed."""
    names = pending()
    if names:
        call_command("migrate", interactive=False, verbosity=0)
    else:
        triggers.install()
    return names


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
