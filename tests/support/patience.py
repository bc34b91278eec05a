"""Limits on how long a test waits on a busy machine before it calls something late or lost.

What is promised in seconds is held to them in the proof, which has the machine for itself; elsewhere a test
tells soon from never.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator

import httpx

from tests.plugins.tiers import by_tier

# How much longer than promised something may take before it is late. Less than the gateway's own patience,
# which is what a test would see of a promise that is not kept: a drain takes 30 s, a lost lease 20.
NOISE_SECONDS = by_tier(default=18.0, ci=18.0, proof=2.0)

# What has not come after so long never will: a machine that has ten times as much to do is still in time.
GIVE_UP_SECONDS = 120.0


def promised(seconds: float) -> float:
    """Return within how many seconds this run wants to see what is promised within so many."""
    return by_tier(default=GIVE_UP_SECONDS, ci=GIVE_UP_SECONDS, proof=seconds)


def until(holds: Callable[[], bool], seconds: float = GIVE_UP_SECONDS) -> None:
    """Wait for a condition that announces itself to nobody.

    What takes long is looked at less often: each look takes processor time that others wait for.
    """
    begun = time.monotonic()
    while not holds():
        waited = time.monotonic() - begun
        assert waited < seconds, "waited in vain"
        time.sleep(min(max(waited / 20, 0.002), 0.02))


def growing(seconds: float) -> Iterator[float]:
    """Yield this time and then ever longer ones, for what has to be done within it: where it is over before a
    busy machine came to it, a test tries again with the next.
    """
    while seconds < GIVE_UP_SECONDS:
        yield seconds
        seconds *= 2
    raise AssertionError("it was never in time")


def make_clients_patient() -> None:
    """Let httpx wait as long as everybody else, where nothing is said: five seconds by itself."""
    default: httpx.Timeout = inspect.signature(httpx.get).parameters["timeout"].default
    default.connect = default.read = default.write = default.pool = GIVE_UP_SECONDS
