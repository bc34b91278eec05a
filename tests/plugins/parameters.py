"""Choose how many parameters of a test a run takes; the seed chooses which.

* On PostgreSQL one, in all but the proof: what parameters change is seldom the database.
* Of those of a test with a gateway a third in the default tier and a half in CI, at least two: each is a call
  or more, with a database of its own. The proof takes all.

What is asked for by name alone (`pytest 'test_x.py::test_y[z]'`) runs.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

import pytest

from tests.plugins.services import ON_POSTGRES
from tests.plugins.tiers import SEED, TIER, Tier, by_tier

LEAST = 2
PART = by_tier(3, 2, 1)  # one of so many
NEEDS = {"gateway", "client"}  # fixtures that make a parameter dear


@pytest.hookimpl(trylast=True)  # of those that `-m` has left
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if ON_POSTGRES and TIER is not Tier.PROOF:
        _keep(config, items, lambda some: 1)
    elif TIER is not Tier.PROOF:
        _keep(config, items, _a_part)


def _a_part(some: list[pytest.Item]) -> int:
    is_dear = NEEDS.intersection(getattr(some[0], "fixturenames", ()))
    return max(LEAST, -(-len(some) // PART)) if is_dear else len(some)


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
