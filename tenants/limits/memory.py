"""Buckets in the memory of one process.

GCRA, the generic cell rate algorithm: of each bucket one number is kept, the instant at which it would be
empty if nothing came any more. A request moves it on by its share of the window, and is let in while it is
at most a window ahead. Exact, smooth, and it says to the millisecond when to come again.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway_project.lib import clock
from tenants.limits.policy import Limit
from tenants.limits.verdict import CONCURRENCY_WAIT_SECONDS, SLACK_UNITS, Verdict

SWEEP_AT_LEAST = 10_000


class Buckets:
    """`share` is the part of each limit that this process may use: 1 if it is the only one."""

    def __init__(self, share: float = 1.0) -> None:
        self._share = share
        self._empty_at: dict[str, float] = {}
        self._running: dict[str, int] = {}
        self._sweep_at = SWEEP_AT_LEAST

    async def take(
        self, limits: Sequence[Limit], tokens: int, holder: str, *, commit: bool = True
    ) -> Verdict:
        return self.take_now(limits, tokens, commit=commit)

    def take_now(self, limits: Sequence[Limit], tokens: int, *, commit: bool = True) -> Verdict:
        """Without awaiting."""
        now = clock.monotonic()
        refused, wait = -1, 0.0
        after: list[float] = []
        for index, limit in enumerate(limits):
            level, over = self._asked(limit, limit.units(tokens), now)
            after.append(level)
            if over > wait:
                refused, wait = index, over
        if refused >= 0 or not commit:
            return Verdict(refused, wait, [self._level(limit, now) for limit in limits])
        for limit, level in zip(limits, after, strict=True):
            if limit.seconds:
                self._empty_at[limit.bucket] = now + level
            else:
                self._running[limit.bucket] = int(level)
        if len(self._empty_at) > self._sweep_at:
            self._sweep(now)
        return Verdict(-1, 0.0, after)

    def correct(self, limits: Sequence[Limit], units: int) -> None:
        now = clock.monotonic()
        for limit in limits:
            level = self._level(limit, now) + units * limit.interval / self._share
            self._empty_at[limit.bucket] = now + max(level, 0.0)

    def release(self, limits: Sequence[Limit], holder: str) -> None:
        for limit in limits:
            running = self._running.get(limit.bucket, 0) - 1
            if running > 0:
                self._running[limit.bucket] = running
            else:
                self._running.pop(limit.bucket, None)

    def clear(self) -> None:
        """As if nothing had been asked for yet."""
        self._empty_at.clear()
        self._running.clear()

    def __len__(self) -> int:
        return len(self._empty_at) + len(self._running)

    def _level(self, limit: Limit, now: float) -> float:
        if not limit.seconds:
            return self._running.get(limit.bucket, 0)
        return max(self._empty_at.get(limit.bucket, now) - now, 0.0)

    def _asked(self, limit: Limit, units: int, now: float) -> tuple[float, float]:
        """The level if this is let in, and the seconds that is too early. Where nothing was asked for, a
        part of a limit lets in what the whole of it would."""
        before = self._level(limit, now)
        if not limit.seconds:
            is_full = before >= max(int(limit.amount * self._share), 1)
            return before + 1, CONCURRENCY_WAIT_SECONDS if is_full else 0.0
        interval = limit.interval / self._share
        level = before + units * interval
        over = level - limit.seconds
        return level, over if before and over > interval * SLACK_UNITS else 0.0

    def _sweep(self, now: float) -> None:
        """Forget what is empty, which is as if it had never been asked for."""
        self._empty_at = {name: at for name, at in self._empty_at.items() if at > now}
        self._sweep_at = max(2 * len(self._empty_at), SWEEP_AT_LEAST)
