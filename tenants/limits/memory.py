"""Keep rate-limit buckets in the memory of one process.

GCRA, the generic cell rate algorithm: one number is kept per bucket, the instant at which it would be
empty if nothing came any more. A request moves it on by its share of the window, and is let in while it
is at most a window ahead. Exact, smooth, and it says to the millisecond when to come again.
"""

from __future__ import annotations

from gateway_project.lib import clock
from tenants.limits.policy import NOTHING, RateLimits, UnitCounts, corrections
from tenants.limits.verdict import CONCURRENCY_WAIT_SECONDS, SLACK_UNITS, Verdict

SWEEP_AT_LEAST = 10_000


class Buckets:
    """Buckets of one process. `share` is the part of each limit it may use: 1 if it is the only one."""

    def __init__(self, share: float = 1.0) -> None:
        self._stretch = 1 / share
        self._empty_at: dict[str, float] = {}
        self._running: dict[str, int] = {}
        self._sweep_at = SWEEP_AT_LEAST

    def take_now(
        self,
        limits: RateLimits,
        tokens: int,
        *,
        units: UnitCounts = NOTHING,
        commit: bool = True,
    ) -> Verdict:
        """Charge a request, or only check."""
        now, stretch = clock.monotonic(), self._stretch
        empty_at, running = self._empty_at, self._running
        refused, wait = -1, 0.0
        before: list[float] = []
        after: list[float] = []
        for index, limit in enumerate(limits.all):
            if limit.seconds:
                level = max(empty_at.get(limit.bucket, 0.0) - now, 0.0)
                interval = limit.interval * stretch
                counted = tokens if limit.counts_tokens else 1
                if limit.counts_unit:
                    counted = units.get(limit.metric, 0)
                filled = level + counted * interval
                over = filled - limit.seconds
                # Where nothing was asked for, a part of a limit lets in what the whole of it would.
                is_over = level and over > interval * SLACK_UNITS
                if limit.counts_unit and not counted:
                    is_over = False  # the request takes none of it
            else:
                level = running.get(limit.bucket, 0)
                filled, over = level + 1, CONCURRENCY_WAIT_SECONDS
                is_over = filled > max(int(limit.amount / stretch), 1)
            before.append(level)
            after.append(filled)
            if is_over and over > wait:
                refused, wait = index, over
        if refused >= 0 or not commit:
            return Verdict(refused, wait, before)
        self._commit(limits, after, now)
        return Verdict(-1, 0.0, after)

    def _commit(self, limits: RateLimits, levels: list[float], now: float) -> None:
        for limit, level in zip(limits.all, levels, strict=True):
            if limit.seconds:
                self._empty_at[limit.bucket] = now + level
            else:
                self._running[limit.bucket] = int(level)
        if len(self._empty_at) > self._sweep_at:
            self._sweep(now)

    def correct(self, limits: RateLimits, tokens: int, units: UnitCounts = NOTHING) -> None:
        now = clock.monotonic()
        for limit, more in corrections(limits, tokens, units):
            level = max(self._empty_at.get(limit.bucket, 0.0) - now, 0.0)
            level += more * limit.interval * self._stretch
            self._empty_at[limit.bucket] = now + max(level, 0.0)

    def release(self, limits: RateLimits, holder: str) -> None:
        for limit in limits.at_once:
            running = self._running.get(limit.bucket, 0) - 1
            if running > 0:
                self._running[limit.bucket] = running
            else:
                self._running.pop(limit.bucket, None)

    def clear(self) -> None:
        """Empty all buckets."""
        self._empty_at.clear()
        self._running.clear()

    def __len__(self) -> int:
        return len(self._empty_at) + len(self._running)

    def _sweep(self, now: float) -> None:
        """Forget empty buckets, which are the same as unused ones."""
        self._empty_at = {name: at for name, at in self._empty_at.items() if at > now}
        self._sweep_at = max(2 * len(self._empty_at), SWEEP_AT_LEAST)
