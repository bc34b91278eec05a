"""Run first, and beside those that compute, the tests that wait.

Tests of real processes take seconds, most of which they wait. With `-n`, each process of a run begins with
a contiguous part of the tests, and takes some of another's when it has none left (`--dist worksteal`). Here
half of the processes begin with what waits, so that the others have the processor meanwhile, and no run ends
with one process that waits for a long test which came last.
"""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

T = TypeVar("T")

WAITING = frozenset({"contract", "processes", "upgrade"})


def waits(item: pytest.Item) -> bool:
    folder = item.nodeid.partition("/")[2].partition("/")[0]
    return folder in WAITING or item.get_closest_marker("long") is not None


def arranged(waiting: list[T], working: list[T], processes: int) -> list[T]:
    """Return both in such an order that half of the processes get what waits as the first of their part."""
    total = len(waiting) + len(working)
    lanes = max(1, processes // 2)
    found: list[T] = []
    for number in range(processes):
        end = len(waiting) * (number + 1) // lanes if number < lanes else len(waiting)
        begin = len(waiting) * number // lanes if number < lanes else len(waiting)
        # As xdist divides what is pending among the processes that are still without.
        size = (total - len(found)) // (processes - number)
        part = waiting[begin:end]
        rest = max(0, size - len(part))
        found += part + working[:rest]
        working = working[rest:]
    return found + working


@pytest.hookimpl(trylast=True)  # after those that `-m` leaves out are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes > 1:
        waiting = [item for item in items if waits(item)]
        items[:] = arranged(waiting, [item for item in items if not waits(item)], processes)
