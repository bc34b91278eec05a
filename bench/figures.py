"""What is measured, as values: one figure a line of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the gateway, beside the same of the floor and of the direct call.

    `None` means that there is no such figure: nothing stands between in a direct call, and not every
    machine counts instructions. `at_most` is the target, where there is one. `best` is the gateway's least
    disturbed round: what else runs on a machine only ever adds to processor time.
    """

    scenario: str
    cell: str
    what: str
    unit: str
    gateway: float | None
    floor: float | None = None
    direct: float | None = None
    at_most: float | None = None
    best: float | None = None

    @property
    def verdict(self) -> str:
        """`ok` or `over`; empty without a target or without a figure."""
        if self.at_most is None or self.gateway is None:
            return ""
        return "ok" if self.gateway <= self.at_most else "over"

    @property
    def times_floor(self) -> float | None:
        if self.gateway is None or self.floor is None or self.floor <= 0:
            return None
        return self.gateway / self.floor


def quantile(values: Sequence[float], percent: int) -> float:
    """The value that `percent` of the values do not exceed."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]
