"""Check all limits of a request at once, and report how full they are.

One worker counts in its memory. Several share their counts through Redis; while that is away, each counts
for itself with its share of every limit, or refuses (TOLLGATE_LIMITS_WITHOUT_REDIS).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from django.conf import settings

from gateway_project.lib import ids
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import RateLimited, Unavailable
from tenants.limits import headers
from tenants.limits.memory import Buckets
from tenants.limits.policy import (
    CONCURRENCY,
    NO_LIMITS,
    NOTHING,
    TOKENS,
    Limit,
    RateLimits,
    UnitCounts,
)
from tenants.limits.verdict import Store, Verdict

if TYPE_CHECKING:
    from tenants.limits.shared import SharedBuckets

WITHOUT_REDIS_RETRY_SECONDS = 1


class Ticket:
    """An admitted request. `tokens` and `units` are those it was charged; `settle` corrects them."""

    __slots__ = ("_levels", "_limits", "_store", "holder", "is_settled", "tokens", "units")

    def __init__(
        self,
        store: Store | None,
        limits: RateLimits = NO_LIMITS,
        tokens: int = 0,
        holder: str = "",
        levels: Sequence[float] = (),
        units: UnitCounts = NOTHING,
    ) -> None:
        self._store = store
        self._limits = limits
        self._levels = levels
        self.tokens = tokens
        self.units = units
        self.holder = holder
        self.is_settled = store is None

    @property
    def headers(self) -> dict[str, str]:
        return headers.of(self._limits, self._levels) if self._levels else {}

    def settle(self, tokens: int | None, units: UnitCounts = NOTHING) -> None:
        """End the call, which took so many tokens and units; None keeps what was charged. Only the first
        call counts.
        """
        store = self._store
        if self.is_settled or store is None:
            return
        self.is_settled = True
        if tokens is not None:
            more = self._more(units) if self._limits.of_units else NOTHING
            if more or (tokens != self.tokens and self._limits.of_tokens):
                store.correct(self._limits, tokens - self.tokens, more)
        if self._limits.at_once and self._levels:
            store.release(self._limits, self.holder)

    def _more(self, units: UnitCounts) -> UnitCounts:
        """Return by how much these units are more, or less, than those charged; nothing of equal ones."""
        names = self.units.keys() | units.keys()
        more = {name: units.get(name, 0) - self.units.get(name, 0) for name in names}
        return {name: count for name, count in more.items() if count}


FREE = Ticket(None)
# Owners of limits beside keys and tenants: a network address, and one from which wrong keys came.
ADDRESS, FAILED = "address", "failed"
TOKEN = "token"  # of the management API


class RateLimiter:
    """The rate limiter of one worker. `local` counts if nothing is shared, or Redis is away and `alone`
    allows it.
    """

    def __init__(
        self, shared: SharedBuckets | None, local: Buckets, alone: Literal["share", "refuse"]
    ) -> None:
        self._shared = shared
        self._local = local
        self._alone = alone

    def lenient(self) -> RateLimiter:
        """Return a limiter on the same counts that refuses nobody because Redis is away: for limits of
        addresses.

        It is started and stopped with this one.
        """
        return RateLimiter(self._shared, self._local, "share")

    def start(self) -> None:
        if self._shared is not None:
            self._shared.start()

    async def stop(self) -> None:
        if self._shared is not None:
            await self._shared.stop()

    async def admit(self, limits: RateLimits, tokens: int, units: UnitCounts = NOTHING) -> Ticket:
        """Charge a request that may take so much. Raise RateLimited or Unavailable."""
        if not limits:
            return FREE
        for limit in limits.of_tokens:
            if tokens > limit.amount:
                raise _too_large(limit, tokens)
        for limit in limits.of_units:
            if units.get(limit.metric, 0) > limit.amount:
                raise _too_large(limit, units[limit.metric])
        holder = ids.request_id() if self._shared is not None and limits.at_once else ""
        store, verdict = await self._take(limits, tokens, holder, units)
        if verdict.refused >= 0:
            raise _refusal(limits, verdict, tokens, units)
        return Ticket(store, limits, tokens, holder, verdict.levels, units)

    def resume(self, limits: RateLimits, tokens: int, units: UnitCounts = NOTHING) -> Ticket:
        """Return the ticket of a request charged before, perhaps by another process.

        It does not count as a concurrent call.
        """
        if not limits:
            return FREE
        return Ticket(self._shared or self._local, limits, tokens, units=units)

    async def look(self, limits: RateLimits) -> None:
        """Raise RateLimited if another request would be refused, without charging one."""
        if not limits:
            return
        verdict = (await self._take(limits, 0, "", commit=False))[1]
        if verdict.refused >= 0:
            raise _refusal(limits, verdict, 0, NOTHING)

    def clear(self) -> None:
        """Forget what this process counted."""
        self._local.clear()

    async def _take(
        self,
        limits: RateLimits,
        tokens: int,
        holder: str,
        units: UnitCounts = NOTHING,
        *,
        commit: bool = True,
    ) -> tuple[Store, Verdict]:
        shared = self._shared
        if shared is not None:
            try:
                return shared, await shared.take(limits, tokens, holder, units=units, commit=commit)
            except StoreUnavailable as error:
                if self._alone == "refuse":
                    message = "The rate limits cannot be checked now; try again."
                    raise Unavailable(
                        message, retry_after_seconds=WITHOUT_REDIS_RETRY_SECONDS
                    ) from error
        return self._local, self._local.take_now(limits, tokens, units=units, commit=commit)


def from_settings() -> RateLimiter:
    """Create the limiter from the settings, on the running loop."""
    shared = None
    if settings.REDIS_URL is not None:
        from tenants.limits.shared import SharedBuckets  # noqa: PLC0415  # redis only where it is used

        shared = SharedBuckets(settings.REDIS_URL)
    share = 1 / settings.WORKERS if shared is not None else 1.0
    return RateLimiter(shared, Buckets(share), settings.LIMITS_WITHOUT_REDIS)


_WHOSE = {
    "key": "of this API key",
    "tenant": "of your organization",
    ADDRESS: "of your network address",
    TOKEN: "of this API token",
}


def _refusal(limits: RateLimits, verdict: Verdict, tokens: int, units: UnitCounts) -> RateLimited:
    limit = limits.all[verdict.refused]
    whose = _WHOSE.get(limit.owner, "")
    if limit.owner == FAILED:
        what = "Too many wrong API keys or passwords came from your network address."
    elif limit.metric == CONCURRENCY:
        running = f"1 call {whose} is" if limit.amount == 1 else f"{limit.amount} calls {whose} are"
        what = f"Concurrency limit reached: {running} running."
    else:
        requested = tokens if limit.metric == TOKENS else units.get(limit.metric, 0)
        asked = f", requested {requested}" if limit.metric == TOKENS or limit.counts_unit else ""
        left = headers.remaining(limit, verdict.levels[verdict.refused])
        what = (
            f"Rate limit {whose} reached: {limit.amount} {limit.metric} per {limit.window}, "
            f"{left} left{asked}."
        )
    told = headers.of(limits, verdict.levels)
    return RateLimited(what, verdict.wait, told, f"{limit.owner}_{limit.metric}")


def _too_large(limit: Limit, asked: int) -> RateLimited:
    lower = ", or lower 'max_output_tokens'" if limit.counts_tokens else ""
    return RateLimited(
        f"The request may take {asked} {limit.metric}, more than the limit {_WHOSE[limit.owner]} ever "
        f"allows: {limit.amount} per {limit.window}. Send less{lower}.",
        limit=f"{limit.owner}_{limit.metric}",
    )
