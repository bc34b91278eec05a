"""Let a connection to SQLite heed no trigger for a while.

SQLite has a switch for it (SQLITE_DBCONFIG_ENABLE_TRIGGER), for which Python has a method from 3.12 on;
before, its C function is called, from the library that Python itself uses, where that is a library.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

ENABLE_TRIGGER = 1003


@cache
def is_possible() -> bool:
    """Tell whether this Python can reach the switch: one that has SQLite built in cannot."""
    if sys.version_info >= (3, 12):
        return True
    try:
        _db_config()
    except (AttributeError, OSError):
        return False
    return True


@contextmanager
def heeding_no_trigger(connection: Any) -> Iterator[None]:
    _heed(connection, False)
    try:
        yield
    finally:
        _heed(connection, True)


def _heed(connection: Any, heed: bool) -> None:
    if sys.version_info >= (3, 12):
        connection.setconfig(ENABLE_TRIGGER, heed)
        return
    # Behind what every object begins with, a connection of Python holds SQLite's.
    handle = ctypes.c_void_p.from_address(id(connection) + object.__basicsize__)
    now = ctypes.c_int(-1)
    failed = _db_config()(handle, ENABLE_TRIGGER, int(heed), ctypes.byref(now))
    assert not failed
    assert now.value == int(heed)


@cache
def _db_config() -> Any:
    function = ctypes.CDLL(_sqlite3.__file__).sqlite3_db_config
    function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
    return function
