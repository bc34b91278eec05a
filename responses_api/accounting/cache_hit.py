"""Write into the ledger what an answer from the response cache is charged, and what it saved.

No upstream is asked, so it costs nothing; its row names no provider. What it is charged is a share of its
price, which budgets pay like any other charge.
"""

from __future__ import annotations

from msgspec import Struct

from gateway_project.lib import clock
from gateway_project.lib.errors import Unavailable
from responses_api.accounting import attribution
from responses_api.accounting.spool_writer import SpoolWriter
from responses_api.doors.shapes import ModelCall
from responses_api.storage.ownership import Ownership
from responses_api.stream.answer_charge import CHARGE_HEADER, VERSION_HEADER, AnswerCharge
from routing.route import ResolvedTarget, Route
from tenants.budgets import waiting
from tenants.budgets.accounts import BudgetLeases
from tenants.budgets.holds import Hold
from tenants.budgets.shares import Need
from tenants.budgets.terms import BudgetTerms
from tenants.keys.caller import Caller
from tenants.ledger.records import Opened, Settled
from tenants.ledger.row_ids import row_id
from tenants.ledger.spool import SpoolFailed
from tenants.prices.rating import NOTHING, Rated, Terms, rate
from tenants.token_classes import Usage

HIT = "hit"


class KeptUsage(Struct):
    """The usage of the call behind a kept answer, its source, and the target that had answered it."""

    usage: Usage
    source: str
    target: str
    _rated: Rated = NOTHING
    _rated_by: tuple[str, Terms] | None = None

    def rated(self, tier: str, terms: Terms) -> Rated:
        """Return its price; the last one is remembered."""
        by = self._rated_by
        if by is None or by[1] is not terms or by[0] != tier:
            self._rated, self._rated_by = rate(self.usage, tier, terms), (tier, terms)
        return self._rated


class HitAsked(Struct, frozen=True):
    """A request that is answered from the cache."""

    request_id: str
    door: str
    caller: Caller
    route: Route
    call: ModelCall
    charge_percent: int
    ownership: Ownership | None
    guardrail_outcome: str


class CacheHit:
    """The charge of one answer from the cache; held where budgets pay for it. Settle or release it."""

    __slots__ = (
        "_asked",
        "_at",
        "_began",
        "_charge",
        "_hold",
        "_id",
        "_kept",
        "_tier",
        "_version",
        "_whole",
        "charge_nano",
    )

    def __init__(
        self,
        asked: HitAsked,
        kept: KeptUsage,
        at: float,
        tier: str,
        version: int | None,
        whole: Rated,
    ) -> None:
        self._asked = asked
        self._id = row_id(asked.request_id, 0)
        self._kept = kept
        self._at = at
        self._tier = tier
        self._version = version
        self._whole = whole
        percent = asked.charge_percent
        self._charge = whole.capped(whole.total * percent // 100) if percent else NOTHING
        self.charge_nano = self._charge.total
        self._hold: Hold | None = None
        self._began = clock.monotonic()

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that tell the charge; none where there is no price."""
        if self._version is None:
            return {}
        return {CHARGE_HEADER: str(self.charge_nano), VERSION_HEADER: str(self._version)}

    def answer_charge(self) -> AnswerCharge | None:
        """Return what the answer's `usage` tells of the charge; None if nobody wants to know."""
        if not self._asked.call.tells_cost:
            return None
        nano = None if self._version is None else self.charge_nano
        return AnswerCharge(self._kept.usage, is_sum=False, tells_cost=True, nano=nano)

    async def hold(self, budgets: tuple[BudgetTerms, ...], leases: BudgetLeases) -> bool:
        """Hold the charge, and return whether it is still the right one once it is held. Raise
        BudgetExhausted, RateLimited or Unavailable."""
        if not self.charge_nano or not budgets:
            return True
        self._hold, _ = await waiting.hold(leases, budgets, Need(self.charge_nano), self._at)
        return self._hold.is_for(clock.timestamp())

    def release(self) -> None:
        """Give back what is held."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None

    def settle(self, spool_writer: SpoolWriter, ttft_ms: int | None) -> None:
        """Write the row, without awaiting. A request that lost its Idempotency-Key is charged nothing. Raise
        Unavailable."""
        ownership = self._asked.ownership
        if ownership is not None and not ownership.holds:
            self._charge, self.charge_nano = NOTHING, 0
        try:
            spool_writer.book(self._opened(), self._settled(ttft_ms))
        except SpoolFailed as error:
            message = "The gateway cannot write its ledger; try again."
            raise Unavailable(message, retry_after_seconds=2) from error
        if self._hold is not None:
            self._hold.charge(self.charge_nano)
            self.release()

    def _opened(self) -> Opened:
        asked, hold = self._asked, self._hold
        caller, call = asked.caller, asked.call
        return Opened(
            id=self._id,
            leg=0,
            at_ms=int(self._at * 1000),
            tenant_id=caller.tenant_id,
            tenant=caller.tenant_slug,
            key_id=caller.key_id,
            key=caller.key_public_id,
            route=asked.door,
            alias=asked.route.alias,
            provider="",
            upstream_model="",
            input_estimate=0,
            service_tier=self._tier,
            charge_version=self._version,
            held_nano=None if hold is None else hold.held,
            budgets=() if hold is None else hold.shares,
            end_user=caller.end_user or attribution.end_user(call.body),
            tags=attribution.tags(call.body),
            streamed=call.stream,
            requested_model=asked.route.requested_model,
        )

    def _settled(self, ttft_ms: int | None) -> Settled:
        kept, lasted = self._kept, clock.monotonic() - self._began
        return Settled(
            id=self._id,
            status="completed",
            usage_source=kept.source,
            tokens=kept.usage.counts,
            cost_nano=0,
            charges_nano=self._charge.by_class,
            duration_ms=int(lasted * 1000),
            http_status=200,
            service_tier=self._tier,
            ttft_ms=ttft_ms,
            overhead_us=max(int(lasted * 1_000_000), 0),
            guardrail_outcome=self._asked.guardrail_outcome,
            cache_outcome=HIT,
            saved_nano=self._whole.total - self.charge_nano,
        )


async def open_hit(leases: BudgetLeases, asked: HitAsked, kept: KeptUsage) -> CacheHit:
    """Price a hit and hold its charge. Raise BudgetExhausted, RateLimited or Unavailable; then nothing is
    held."""
    target = _target(asked.route, kept.target)
    caller = asked.caller
    counts_list = target is not None and target.list_price is not None and caller.list_budgets
    budgets = caller.fee_budgets if counts_list else caller.budgets
    tier = attribution.tier(asked.call.body.get("service_tier"))
    while True:
        at = clock.timestamp()
        terms = None if target is None else target.charge.at(at)
        whole = NOTHING if terms is None else kept.rated(tier, terms)
        version = None if terms is None else terms.version
        hit = CacheHit(asked, kept, at, tier, version, whole)
        if await hit.hold(budgets, leases):
            return hit
        hit.release()


def _target(route: Route, name: str) -> ResolvedTarget | None:
    """Return the target that had answered, whose price applies; the first one if it is gone."""
    for target in route.targets:
        if target.name == name:
            return target
    return route.targets[0] if route.targets else None
