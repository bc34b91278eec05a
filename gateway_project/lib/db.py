"""Run ORM code from the event loop: a small pool of threads with connections of their own.

The threads keep their connections. A connection the server dropped is noticed only when it is used, so
the work is tried once more on a fresh one; it must therefore be safe to repeat, as all look-ups are.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, connections, transaction

from gateway_project.lib.cache import StoreUnavailable

T = TypeVar("T")

THREADS = 2
# Whether commits of these PostgreSQL connections do not wait for the disk, as their server has it.
_asynchronous: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="tollgate-db")


async def in_database_thread(work: Callable[..., T], *args: object) -> T:
    """Run a function that uses the ORM. Raise StoreUnavailable when the database does not answer."""
    return await asyncio.get_running_loop().run_in_executor(_pool, _run, work, args)


def _run(work: Callable[..., T], args: tuple[object, ...]) -> T:
    try:
        return work(*args)
    except (OperationalError, InterfaceError):
        connections.close_all()
    try:
        return work(*args)
    except (OperationalError, InterfaceError) as error:
        connections.close_all()
        raise StoreUnavailable(str(type(error).__name__)) from error


@contextlib.contextmanager
def durable_transaction() -> Iterator[None]:
    """Open a transaction that is on the server's disk once committed, whatever `synchronous_commit` says.

    It is set for the transaction rather than the connection: a pooler in between (PgBouncer) refuses
    start-up options it does not know, and gives the session to others between transactions.

    SQLite in WAL mode does not wait for the disk; here it does when `TOLLGATE_DURABILITY` is `power`.
    """
    with _sync_sqlite(), transaction.atomic():
        _wait_for_disk()
        yield


@contextlib.contextmanager
def _sync_sqlite() -> Iterator[None]:
    """Make SQLite wait for the disk; the pragma takes effect between transactions only."""
    is_sqlite = connection.vendor == "sqlite"
    if not is_sqlite or settings.DURABILITY != "power" or connection.in_atomic_block:
        yield
        return
    _set_synchronous("FULL")
    try:
        yield
    finally:
        if connection.connection is not None:
            _set_synchronous("NORMAL")


def _set_synchronous(level: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA synchronous = {level}")


def _wait_for_disk() -> None:
    """Make the transaction wait for the disk where the server would not.

    This costs one query per connection, and nothing more where the server waits by itself. `local` and
    `remote_write` wait for the disk too; what they say about standbys is the operator's decision.
    """
    if connection.vendor != "postgresql":
        return
    raw = connection.connection
    with connection.cursor() as cursor:
        if raw not in _asynchronous:
            cursor.execute("SELECT current_setting('synchronous_commit') = 'off'")
            row = cursor.fetchone()
            _asynchronous[raw] = bool(row and row[0])
        if _asynchronous[raw]:
            cursor.execute("SET LOCAL synchronous_commit = on")


def close_pool_connections() -> None:
    """Close the pool's connections, so that a test database can be dropped."""
    every_thread = threading.Barrier(THREADS)

    def close() -> None:
        connections.close_all()
        every_thread.wait()

    for future in [_pool.submit(close) for _ in range(THREADS)]:
        future.result()
