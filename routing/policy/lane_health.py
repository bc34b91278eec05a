"""Define the health of a lane as planning sees it, whoever keeps it."""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from routing.route import ResolvedTarget


class LaneHealth(Struct, frozen=True):
    """A lane at one instant; times in seconds of `clock.timestamp()`.

    open_until    when the last of its circuits may be tried again; None while all are closed
    rests_until   when a call is worth finding out with that another lane would answer
    opened_by     failures: it did not work; hold: it asked to be left alone (429, quota, a bad credential)
    reason        the event that opened it, an error code
    is_probing    a call of somebody is finding out whether it works again
    is_tight      its provider says, or our own limit, that little is left until a reset
    in_flight     calls that run on it in this process
    ttft_seconds  moving average of the time to first output; None without a sample
    """

    open_until: float | None = None
    rests_until: float = 0.0
    opened_by: Literal["", "failures", "hold"] = ""
    reason: str = ""
    is_probing: bool = False
    is_tight: bool = False
    in_flight: int = 0
    ttft_seconds: float | None = None

    @property
    def is_open(self) -> bool:
        return self.open_until is not None


HEALTHY = LaneHealth()


class Health(Protocol):
    """Something that knows how lanes are."""

    def of(self, lane: ResolvedTarget, now: float) -> LaneHealth: ...


class AllHealthy:
    """Knows nothing bad of any lane."""

    def of(self, lane: ResolvedTarget, now: float) -> LaneHealth:
        return HEALTHY
