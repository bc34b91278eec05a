"""Define what a store of buckets answers, in process or in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tenants.limits.policy import NOTHING, RateLimits, UnitCounts

# A bucket that a request fills to the brim is not over it, whatever became of the last digit.
SLACK_UNITS = 0.001
# Nobody knows when a running call ends.
CONCURRENCY_WAIT_SECONDS = 1.0


class Verdict(NamedTuple):
    """The answer of a store.

    `refused` is the index of the limit that refuses, -1 if none does: then all were charged, otherwise
    none was. `wait` is the number of seconds after which the same request would be let in.

    `levels` says how full each limit is: for a rate the seconds until it is empty again, for concurrent
    calls their number.
    """

    refused: int
    wait: float
    levels: Sequence[float]


class Store(Protocol):
    """A store that charged a request, and is told when it is over."""

    def correct(self, limits: RateLimits, tokens: int, units: UnitCounts = NOTHING) -> None:
        """Charge limits of tokens and of units more, or less if negative, whatever they allow."""
        ...

    def release(self, limits: RateLimits, holder: str) -> None:
        """End a concurrent call."""
        ...
