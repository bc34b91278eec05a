"""Choose, of several dear tests of one subject, those that a run takes; the seed chooses which.

`@pytest.mark.some_of("takeovers")` names the subject: of all tests that name it, each parameter one of them,
a run takes one, with `keep=2` two; the proof takes all. Other commits take others. It is for tests that take
seconds and that each show another side of one thing: each run is to keep a test of every thing there is.

What is asked for by name alone (`pytest test_x.py::test_y`) runs.
"""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from _pytest.terminal import TerminalReporter

from tests.plugins.tiers import SEED, TIER, Tier

MARK = "some_of"
LEFT_OUT = "tests_left_to_other_seeds"
left_out: dict[str, int] = {}  # how many by subject, in all processes of the run the same


@pytest.hookimpl(trylast=True)  # of those that `-m` has left
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if TIER is Tier.PROOF:
        return
    by_subject: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        subject = subject_of(item)
        if subject is not None and item.get_closest_marker("skip") is None:
            by_subject[subject].append(item)
    dropped = {item for subject, some in by_subject.items() for item in _dropped(subject, some)}
    if dropped:
        config.hook.pytest_deselected(items=list(dropped))
        items[:] = [item for item in items if item not in dropped]


def subject_of(item: pytest.Item) -> str | None:
    mark = item.get_closest_marker(MARK)
    return None if mark is None else str(mark.args[0])


def _dropped(subject: str, some: list[pytest.Item]) -> list[pytest.Item]:
    """Return those of a subject that this run does not take."""
    keeps = {_keep(item) for item in some}
    if len(keeps) > 1:
        raise pytest.UsageError(f"Tests of {subject!r} do not agree on how many a run takes.")
    kept = chosen(SEED, subject, [item.nodeid for item in some], *keeps)
    dropped = [item for item in some if item.nodeid not in kept]
    if dropped:
        left_out[subject] = len(dropped)
    return dropped


def chosen(seed: int, subject: str, names: list[str], keep: int) -> set[str]:
    """Return which of a subject's tests a run takes, whatever order they stand in."""
    return set(random.Random(f"{seed} {subject}").sample(sorted(names), min(keep, len(names))))


def _keep(item: pytest.Item) -> int:
    mark = item.get_closest_marker(MARK)
    assert mark is not None
    return int(mark.kwargs.get("keep", 1))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that reports: with `-n`, it collects nothing itself."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[LEFT_OUT] = left_out


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    left_out.update(getattr(node, "workeroutput", {}).get(LEFT_OUT, {}))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    if left_out:
        told = ", ".join(f"{count} of {subject}" for subject, count in sorted(left_out.items()))
        terminalreporter.line(f"left to other seeds: {sum(left_out.values())} tests ({told})")
