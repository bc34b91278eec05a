"""Print at the end of a run how many tests each folder has, and what processor time they took.

`--costs=40` also lists the forty dearest test functions, the cases of each summed. Processor time counts
every thread of the test process and the processes it has waited for, with the set-up and tear-down of each
test: on a busy machine it says more than wall time. Collection is not in it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass

import pytest
from _pytest.terminal import TerminalReporter

PROPERTY = "processor_seconds"
# Folders with less are summed into one line.
SHOWN_SECONDS = 0.5


@dataclass
class Cost:
    tests: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.tests += 1
        self.seconds += seconds


costs: dict[str, Cost] = defaultdict(Cost)  # by folder
function_costs: dict[str, Cost] = defaultdict(Cost)
_elsewhere = 0.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--costs",
        type=int,
        default=0,
        metavar="N",
        help="list the N test functions that took the most processor time, all cases of each together",
    )


def add_elsewhere(seconds: float) -> None:
    """Add what a program has used that a test began, but that is no child of this process."""
    global _elsewhere  # noqa: PLW0603 - as the kernel's count of our children is one of the whole process
    _elsewhere += seconds


def processor_seconds() -> float:
    """Return what this process and its finished children have used so far."""
    used = os.times()
    children = used.children_user + used.children_system + _elsewhere
    return used.user + used.system + children


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[_begun] = processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "teardown":
        report.user_properties.append((PROPERTY, processor_seconds() - item.stash[_begun]))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up in the process that reports: with `-n`, the reports of all processes arrive there."""
    for name, seconds in report.user_properties:
        if name == PROPERTY and isinstance(seconds, float):
            costs[folder_of(report.nodeid)].add(seconds)
            function_costs[report.nodeid.partition("[")[0]].add(seconds)


def folder_of(nodeid: str) -> str:
    path, _, _ = nodeid.partition("::")
    return "/".join(path.split("/")[:-1])


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    if not costs or hasattr(config, "workerinput"):
        return
    terminalreporter.section("processor seconds per folder")
    by_cost = sorted(costs.items(), key=lambda entry: -entry[1].seconds)
    shown = [entry for entry in by_cost if entry[1].seconds >= SHOWN_SECONDS]
    rest = [cost for _, cost in by_cost if cost.seconds < SHOWN_SECONDS]
    for folder, cost in shown:
        terminalreporter.line(_line(folder, cost))
    if rest:
        terminalreporter.line(_line("the others", _sum(rest)))
    terminalreporter.line(_line("in all", _sum(list(costs.values()))))
    if listed := config.getoption("--costs"):
        terminalreporter.section("processor seconds per test function")
        for name, cost in sorted(function_costs.items(), key=lambda entry: -entry[1].seconds)[
            :listed
        ]:
            terminalreporter.line(f"{cost.seconds:8.2f} s {cost.tests:5} tests  {name}")


def _sum(some: list[Cost]) -> Cost:
    return Cost(sum(cost.tests for cost in some), sum(cost.seconds for cost in some))


def _line(name: str, cost: Cost) -> str:
    return f"{name:32} {cost.tests:6} tests {cost.seconds:8.1f} s"


_begun = pytest.StashKey[float]()
