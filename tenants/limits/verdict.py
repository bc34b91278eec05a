"""What a store of buckets answers, in process or in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tenants.limits.policy import Limits

# A bucket that a request fills to the brim is not over it, whatever became of the last digit.
SLACK_UNITS = 0.001
# Nobody knows when a running call ends.
CONCURRENCY_WAIT_SECONDS = 1.0


class Verdict(NamedTuple):
    """`refused` is the index of the limit that refuses, -1 if none does: then all of them were charged, else
    none was. `wait` is after how many seconds the same request would be let in.

    `levels` says of each limit how full it is now: for a rate in seconds until it is empty again, for calls
    at the same time in calls.
    """

    refused: int
    wait: float
    levels: Sequence[float]


class Store(Protocol):
    """Where a request was charged, and what is to be said there when it is over."""

    def correct(self, limits: Limits, tokens: int) -> None:
        """Charge limits of tokens more, or less if negative, whatever they allow."""
        ...

    def release(self, limits: Limits, holder: str) -> None:
        """The call no longer runs."""
        ...
