"""The one way from the event loop into the ORM: a small pool of threads with connections of their own.

The threads keep their connections. One that the server dropped is noticed when it is used, so work is
tried once more on a fresh one; it must therefore be safe to repeat, as all look-ups are.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections

from gateway_project.lib.cache import StoreUnavailable

T = TypeVar("T")

THREADS = 2
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


def close_pool_connections() -> None:
    """Close the pool's connections, so that a test database can be dropped."""
    every_thread = threading.Barrier(THREADS)

    def close() -> None:
        connections.close_all()
        every_thread.wait()

    for future in [_pool.submit(close) for _ in range(THREADS)]:
        future.result()
