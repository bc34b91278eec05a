"""The one way from the event loop into the ORM: a small pool of threads with connections of their own.

The threads keep their connections. One that the server dropped is noticed when it is used, so work is
tried once more on a fresh one; it must therefore be safe to repeat, as all look-ups are.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.db import InterfaceError, OperationalError, connection, connections, transaction

from gateway_project.lib.cache import StoreUnavailable

T = TypeVar("T")

THREADS = 2
# Whether commits of these PostgreSQL connections do not wait for the disk, as their server has it.
_asynchronous: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="tollgate-db")


async def in_database_thread(work: Callable[..., T], *args: object) -> T:
    """Run a function that uses the ORM; raises StoreUnavailable when the database cannot answer."""
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
    """A transaction that is on the server's disk once it has committed, whatever `synchronous_commit` says.

    Set for the transaction and not for the connection: a pooler between us and the server (PgBouncer)
    refuses start-up options it does not know, and hands the session to others between transactions."""
    with transaction.atomic():
        _wait_for_disk()
        yield


def _wait_for_disk() -> None:
    """Costs one question per connection, and nothing more where the server waits by itself. `local` and
    `remote_write` wait for the disk too; what they say about standbys is the operator's decision."""
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
