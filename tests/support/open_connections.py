"""Find connections to the database that a thread left open when it ended.

Nobody closes them until garbage is collected, and PostgreSQL's adapter complains in whichever test that
happens. Here it is told in the test in which the thread has ended, on SQLite as well, with the place that
opened it.
"""

from __future__ import annotations

import threading
import traceback
from dataclasses import dataclass
from typing import Any

from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import client

MOST_FRAMES = 30


@dataclass(frozen=True, slots=True)
class Opened:
    """One connection, the thread that opened it, and from where."""

    connection: BaseDatabaseWrapper
    thread: threading.Thread
    stack: traceback.StackSummary

    @property
    def is_open(self) -> bool:
        return self.connection.connection is not None

    @property
    def is_left(self) -> bool:
        # In this order: between the two, the thread may close it and end.
        return not self.thread.is_alive() and self.is_open


_opened: list[Opened] = []


def watch() -> None:
    """Remember from now on what each thread opens, and let the test client close nothing for others."""
    wrapper: Any = BaseDatabaseWrapper
    connect = wrapper.connect

    def remembered(self: BaseDatabaseWrapper) -> None:
        connect(self)
        thread = threading.current_thread()
        if thread is not threading.main_thread():
            stack = traceback.StackSummary.extract(
                traceback.walk_stack(None), limit=MOST_FRAMES, lookup_lines=False
            )
            _opened.append(Opened(self, thread, stack))

    wrapper.connect = remembered
    _keep_from_test_clients()


def take_left() -> list[str]:
    """Close what threads left open that have ended since the last time; return where each was opened."""
    remembered = _opened[:]
    del _opened[: len(remembered)]
    left = [each for each in remembered if each.is_left]
    _opened.extend(each for each in remembered if each.is_open and each not in left)
    for each in left:
        each.connection.inc_thread_sharing()
        each.connection.close()
    return ["".join(reversed(each.stack.format())) for each in left]


def _keep_from_test_clients() -> None:
    """Close as Django does at both ends of a request, but not for the test client in a test's own thread.

    The client takes Django's receiver away from all threads while it begins and ends a request: a gateway
    beside it, which ended a request at that moment, would leave its connection open.
    """
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
        signal.connect(_close_old_connections)
    client.close_old_connections = _close_nothing  # type: ignore[attr-defined]


def _close_old_connections(**_: Any) -> None:
    """Close what the thread has, without asking it how it is: the test whose request this was may be over,
    and nobody may ask the database then."""
    if threading.current_thread() is not threading.main_thread():
        for each in connections.all(initialized_only=True):
            if not each.in_atomic_block:
                each.close()


def _close_nothing(**_: Any) -> None:
    """Stand for Django's receiver where the test client takes it away and puts it back."""
