"""Represent what is measured: one figure a line of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the gateway, beside the same of the floor and of the direct call.

    `None` means that there is no such figure: nothing stands between in a direct call, and not every
    machine counts instructions. `at_most` is the target, if there is one, and `floor_then` the floor of
    the machine it was set on, if slower ones may be judged by it. `best` is the gateway's least disturbed
    round: other load on a machine only ever adds to processor time.
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
    floor_then: float | None = None

    @property
    def verdict(self) -> str:
        """Return `ok`, `over`, or `ratio ok` for a figure over its target but no more floors than the
        target was.

        It is empty without a target or without a figure.
        """
        if self.at_most is None or self.gateway is None:
            return ""
        if self.gateway <= self.at_most:
            return "ok"
        most, times = self.most_floors, self.times_floor
        return "ratio ok" if most is not None and times is not None and times <= most else "over"

    @property
    def most_floors(self) -> float | None:
        """Return the target in floors."""
        if self.at_most is None or self.floor_then is None:
            return None
        return self.at_most / self.floor_then

    @property
    def times_floor(self) -> float | None:
        if self.gateway is None or self.floor is None or self.floor <= 0:
            return None
        return self.gateway / self.floor


def quantile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` of the values do not exceed."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]
