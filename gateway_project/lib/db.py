"""The one way from the event loop into the ORM: a small pool of threads with connections of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from gateway_project.lib.cache import StoreUnavailable

T = TypeVar("T")

THREADS = 2
_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="tollgate-db")


async def in_database_thread(work: Callable[..., T], *args: object) -> T:
    """Run a function that uses the ORM; raises StoreUnavailable when the database cannot answer."""
    return await asyncio.get_running_loop().run_in_executor(_pool, _run, work, args)


def _run(work: Callable[..., T], args: tuple[object, ...]) -> T:
    close_old_connections()
    try:
        return work(*args)
    except (DatabaseError, InterfaceError) as error:
        connections.close_all()
        raise StoreUnavailable(str(type(error).__name__)) from error


def close_pool_connections() -> None:
    """Close the pool's connections, so that a test database can be dropped."""
    for future in [_pool.submit(connections.close_all) for _ in range(THREADS)]:
        future.result()
