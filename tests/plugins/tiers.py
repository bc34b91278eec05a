"""Choose how much of each proof a run takes: the default, CI's part, or everything.

`TOLLGATE_TIER` is `default` (`make test`), `ci` (`make test-all`, `.ci/run`) or `proof` (`make proof`). What
a run leaves out of a proof it chooses by `TOLLGATE_SEED`: the same seed runs the same cases, and the seed
follows the commit, so that the samples of different commits differ. The header of each run says both.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

T = TypeVar("T")


class Tier(IntEnum):
    DEFAULT = 0
    CI = 1
    PROOF = 2


def _seed() -> int:
    """Return the chosen seed, or one that follows the commit."""
    if given := os.environ.get("TOLLGATE_SEED"):
        return int(given)
    command = ["git", "rev-parse", "--short=7", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return int(found, 16) if found else 0


TIER = Tier[os.environ.get("TOLLGATE_TIER", "default").upper()]
# Whether this run has on PostgreSQL a part of what runs on SQLite: of each proof the default tier's.
IS_BESIDE_SQLITE = os.environ.get("TOLLGATE_TEST_DATABASE") == "postgres" and TIER is not Tier.PROOF
SAMPLE_TIER = Tier.DEFAULT if IS_BESIDE_SQLITE else TIER
SEED = _seed()
# The processes of `-n` get the same.
os.environ["TOLLGATE_SEED"] = str(SEED)


def by_tier(default: T, ci: T, proof: T) -> T:
    """Return the value for this run's tier."""
    return (default, ci, proof)[SAMPLE_TIER]


def examples(wanted: int) -> int:
    """Return how many random examples this run tries of a property: the proof ten times as many as wanted,
    the others a part, since each commit tries others."""
    return by_tier(max(5, wanted // 25), max(8, wanted // 8), wanted * 10)


# How long an example takes says more about the machine than about the code, and how many are thrown away more
# about the seed, which is another one for each commit.
settings.register_profile(
    "tollgate",
    deadline=None,
    max_examples=examples(100),
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
settings.load_profile("tollgate")


def sampled(cases: Sequence[T], *, default: int, ci: int) -> list[T]:
    """Return so many of the cases, chosen by the seed, in their order; all of them in the proof."""
    size = by_tier(default, ci, len(cases))
    if size >= len(cases):
        return list(cases)
    chosen = random.Random(SEED).sample(range(len(cases)), size)
    return [cases[number] for number in sorted(chosen)]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give Hypothesis the seed, before its own plugin reads the option."""
    if config.getoption("--hypothesis-seed", None) is None:
        config.option.hypothesis_seed = str(SEED)


def pytest_report_header(config: pytest.Config) -> str:
    return f"tier: {TIER.name.lower()}; seed of samples: TOLLGATE_SEED={SEED}"
