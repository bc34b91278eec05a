"""Choose how many parameters of a test a run takes; the seed chooses which.

* On PostgreSQL one, in all but the proof: what parameters change is seldom the database.
* In the default tier a third of those of a test with a gateway, at least two: each is a call or more, with
  a database of its own. CI and the proof take all.

What is asked for by name alone (`pytest 'test_x.py::test_y[z]'`) runs.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

import pytest

from tests.plugins.services import ON_POSTGRES
from tests.plugins.tiers import SEED, TIER, Tier

LEAST = 2
NEEDS = {"gateway", "client"}  # fixtures that make a parameter dear


@pytest.hookimpl(trylast=True)  # of those that `-m` has left
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if ON_POSTGRES and TIER is not Tier.PROOF:
        _keep(config, items, lambda some: 1)
    elif TIER is Tier.DEFAULT:
        _keep(config, items, _a_third)


def _a_third(some: list[pytest.Item]) -> int:
    is_dear = NEEDS.intersection(getattr(some[0], "fixturenames", ()))
    return max(LEAST, -(-len(some) // 3)) if is_dear else len(some)


def _keep(
    config: pytest.Config, items: list[pytest.Item], how_many: Callable[[list[pytest.Item]], int]
) -> None:
    by_function: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        by_function[item.nodeid.partition("[")[0]].append(item)
    kept: set[pytest.Item] = set()
    for name, some in by_function.items():
        size = how_many(some)
        kept.update(
            some if size >= len(some) else random.Random(f"{SEED} {name}").sample(some, size)
        )
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]
