"""Prove how the tests of a run are divided among its processes."""

from __future__ import annotations

from tests.plugins.order import arranged


def test_half_of_the_processes_begin_with_what_waits_and_nothing_is_lost() -> None:
    for processes in (2, 3, 4, 8):
        for waiting_count, working_count in ((130, 3000), (13, 100), (30, 5), (0, 9)):
            waiting = [f"waiting {number}" for number in range(waiting_count)]
            working = [f"working {number}" for number in range(working_count)]
            order = arranged(waiting, working, processes)
            assert sorted(order) == sorted(waiting + working)
            begins = [order[start] for start in starts(len(order), processes)]
            if 0 < waiting_count < working_count:
                are_waiting = [begin.startswith("waiting") for begin in begins]
                assert are_waiting == [number < processes // 2 for number in range(processes)]


def starts(total: int, processes: int) -> list[int]:
    """Return where the parts begin into which xdist divides so many tests."""
    found, used = [], 0
    for number in range(processes):
        found.append(used)
        used += (total - used) // (processes - number)
    return found
