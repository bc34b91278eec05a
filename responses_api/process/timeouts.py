"""Time limits of calls."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits in seconds, one for each kind of waiting, because one deadline for all would kill live
    streams. `tick` is the period of the watchdog's timer: short enough for the shortest limit, no shorter
    than necessary."""

    first_byte: float
    idle: float
    total: float
    total_stream: float
    commit: float
    keepalive: float
    send_stall: float
    tick: float = field(init=False)

    def __post_init__(self) -> None:
        shortest = min(self.first_byte, self.idle, self.commit, self.keepalive, self.send_stall)
        object.__setattr__(self, "tick", min(MAX_TICK_SECONDS, max(shortest / 4, 0.01)))
