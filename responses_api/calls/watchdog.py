"""Watch the clock of one running exchange: limits on waiting, and signs of life for the client.

One coarse timer per worker looks at what its exchanges are doing; nothing is armed or disarmed per call or
chunk. Limits are therefore exact to about one tick.
"""

from __future__ import annotations

from typing import Protocol

from gateway_project.lib.rounds import Rounds
from responses_api.calls.progress import Phase, Progress
from responses_api.process.interruption import Interruption
from responses_api.process.timeouts import Timeouts

# While a call waits for any of these, its client is shown that it goes on.
SILENT = frozenset({Phase.LANE, Phase.WAITING, Phase.STREAMING})
_OF_UPSTREAM = frozenset({Interruption.FIRST_BYTE, Interruption.IDLE})


class Watched(Protocol):
    """The part of an exchange that a watchdog reads and acts on."""

    @property
    def progress(self) -> Progress: ...

    @property
    def streams(self) -> bool: ...

    @property
    def has_started(self) -> bool: ...

    @property
    def survives_client(self) -> bool: ...

    def life_sign_stuck_for(self, now: float) -> float:
        """Return for how long the client has not taken the sign of life being sent; 0 if none is."""

    def show_life(self) -> None: ...

    def give_up_attempt(self, why: Interruption) -> bool:
        """End the attempt whose answer has not begun; return whether there is one."""

    def interrupt(self, why: Interruption) -> None: ...


class Watchdog:
    """The watchdog of one exchange; started and stopped with it."""

    __slots__ = ("_exchange", "_rounds", "_started_at", "_timeouts", "tick")

    def __init__(self, exchange: Watched, timeouts: Timeouts, rounds: Rounds) -> None:
        self._exchange = exchange
        self._timeouts = timeouts
        self._rounds = rounds
        self._started_at = exchange.progress.time()
        self.tick = timeouts.tick
        rounds.join(self)

    def stop(self) -> None:
        self._rounds.leave(self)

    def look(self, now: float) -> None:
        """End the exchange if it is overdue, or else show its client a sign of life if that is due."""
        overdue = self._overdue(now)
        if overdue is not None:
            if overdue in _OF_UPSTREAM and self._exchange.give_up_attempt(overdue):
                return  # the call goes on with another lane, or ends by itself
            self.stop()
            self._exchange.interrupt(overdue)
        elif self._is_silent(now):
            self._exchange.show_life()

    def _overdue(self, now: float) -> Interruption | None:
        exchange, timeouts = self._exchange, self._timeouts
        phase, waited = exchange.progress.phase, now - exchange.progress.since
        total = timeouts.total_stream if exchange.streams else timeouts.total
        if now - self._started_at > total:
            return Interruption.TOTAL
        if phase is Phase.SENDING:
            return self._stalled(waited)
        if stalled := self._stalled(exchange.life_sign_stuck_for(now)):
            return stalled
        if not exchange.streams:
            return None  # a whole answer may arrive all at once; only the total counts
        if phase is Phase.WAITING and waited > timeouts.first_byte:
            return Interruption.FIRST_BYTE
        if phase is Phase.STREAMING and waited > timeouts.idle:
            return Interruption.IDLE
        return None

    def _stalled(self, seconds: float) -> Interruption | None:
        if seconds <= self._timeouts.send_stall or self._exchange.survives_client:
            return None
        return Interruption.CLIENT_STALLED

    def _is_silent(self, now: float) -> bool:
        exchange = self._exchange
        if not exchange.streams or exchange.progress.phase not in SILENT:
            return False
        patience = self._timeouts.keepalive if exchange.has_started else self._timeouts.commit
        return now - exchange.progress.last_sent >= patience
