"""The clock of one running exchange: limits on waiting, and signs of life for the client.

One coarse timer per exchange looks at what the exchange is doing; nothing is armed or disarmed per
chunk. Limits are therefore met to about a tick.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from responses_api.interruption import Interruption

if TYPE_CHECKING:
    from responses_api.exchange import Exchange

MAX_TICK_SECONDS = 1.0


class Phase(Enum):
    """What an exchange is waiting for."""

    SHORTENING = "shortening"  # a summary of what is too long
    WAITING = "waiting"  # the upstream's headers
    STREAMING = "streaming"  # the upstream's next bytes
    SENDING = "sending"  # the client to take bytes
    STORING = "storing"  # the database to keep the answer
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds; each is its own, because one deadline for all would kill live streams."""

    first_byte: float
    idle: float
    total: float
    total_stream: float
    commit: float
    keepalive: float
    send_stall: float
    tick: float = field(init=False)

    def __post_init__(self) -> None:
        """The timer's period: short enough for the shortest limit, not shorter than needed."""
        shortest = min(self.first_byte, self.idle, self.commit, self.keepalive, self.send_stall)
        object.__setattr__(self, "tick", min(MAX_TICK_SECONDS, max(shortest / 4, 0.01)))


class Watchdog:
    """Started with the exchange; stopped when the exchange ends."""

    __slots__ = ("_exchange", "_limits", "_loop", "_started_at", "_timer")

    def __init__(self, exchange: Exchange, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self._exchange = exchange
        self._limits = limits
        self._loop = loop
        self._started_at = self._loop.time()
        self._timer = self._loop.call_later(limits.tick, self._look)

    def stop(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        overdue = self._overdue(now)
        if overdue is not None:
            self._exchange.interrupt(overdue)
            return
        if self._is_silent(now):
            self._exchange.show_life()
        self._timer = self._loop.call_later(self._limits.tick, self._look)

    def _overdue(self, now: float) -> Interruption | None:
        exchange, limits = self._exchange, self._limits
        waited = now - exchange.since
        total = limits.total_stream if exchange.streams else limits.total
        if now - self._started_at > total:
            return Interruption.TOTAL
        if exchange.phase is Phase.SENDING:
            return self._stalled(waited)
        if stalled := self._stalled(exchange.life_sign_stuck_for(now)):
            return stalled
        if not exchange.streams:
            return None  # a whole answer may arrive all at once; only the total counts
        if exchange.phase is Phase.WAITING and waited > limits.first_byte:
            return Interruption.FIRST_BYTE
        if exchange.phase is Phase.STREAMING and waited > limits.idle:
            return Interruption.IDLE
        return None

    def _stalled(self, seconds: float) -> Interruption | None:
        if seconds <= self._limits.send_stall or self._exchange.survives_client:
            return None
        return Interruption.CLIENT_STALLED

    def _is_silent(self, now: float) -> bool:
        exchange = self._exchange
        if not exchange.streams or exchange.phase not in {Phase.WAITING, Phase.STREAMING}:
            return False
        patience = self._limits.keepalive if exchange.has_started else self._limits.commit
        return now - exchange.last_sent >= patience
