"""Account for the upstream calls of one request: hold and write down each before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from msgspec import structs

from gateway_project.lib import clock
from gateway_project.lib.errors import Unavailable
from gateway_project.lib.json import Json
from responses_api.accounting import attribution
from responses_api.accounting.asked_call import AskedCall, HeldCall, at_most
from responses_api.accounting.estimates import estimate
from responses_api.accounting.list_price_call import ListPriceCall, ListPriceHold
from responses_api.accounting.metered_call import HasOutcome, MeteredCall
from responses_api.accounting.spool_writer import SpoolWriter
from responses_api.doors.shapes import ModelCall
from responses_api.storage.ownership import Ownership
from responses_api.stream.answer_charge import CHARGE_HEADER, VERSION_HEADER, AnswerCharge
from routing.protocols import PROTOCOLS
from routing.protocols.shared.usage import total
from routing.route import ResolvedTarget, Route
from tenants import units as unit_classes
from tenants.budgets import waiting
from tenants.budgets.accounts import BudgetLeases
from tenants.budgets.holds import Hold
from tenants.budgets.shares import Need
from tenants.keys.caller import Caller
from tenants.ledger.records import Opened, Settled
from tenants.ledger.row_ids import row_id
from tenants.ledger.spool import SpoolFailed
from tenants.prices.rating import Terms
from tenants.token_classes import Quantities, Usage

# Of a call that no budget counts.
NO_NEED = Need(0)


class RequestCosts:
    """The costs of one request. Its methods raise GatewayError if a call may not be made."""

    __slots__ = (
        "_budgets",
        "_cache_outcome",
        "_caller",
        "_calls",
        "_failed",
        "_guardrails",
        "_next_leg",
        "_ownership",
        "_request_id",
        "_route",
        "_spool_writer",
        "_websocket",
    )  # fmt: skip

    def __init__(
        self,
        spool_writer: SpoolWriter,
        budgets: BudgetLeases,
        *,
        request_id: str,
        caller: Caller,
        route: Route,
        websocket: bool = False,
        ownership: Ownership | None = None,
        guardrails: HasOutcome | None = None,
        cache_outcome: str = "",
    ) -> None:
        """`websocket`: the request came over a WebSocket. `ownership`: for a request with an
        Idempotency-Key, tells whether it may be charged. `guardrails`: those that look at it.
        `cache_outcome`: what the response cache said."""
        self._spool_writer = spool_writer
        self._budgets = budgets
        self._request_id = request_id
        self._caller = caller
        self._route = route
        self._websocket = websocket
        self._ownership = ownership
        self._guardrails = guardrails
        self._cache_outcome = cache_outcome
        self._next_leg = 0
        self._calls: list[MeteredCall] = []
        # Attempts that failed, until it is known whether another followed.
        self._failed: list[Settled] = []

    @property
    def has_calls(self) -> bool:
        """Return whether the ledger has a call of the request."""
        return bool(self._calls)

    @property
    def calls(self) -> Sequence[MeteredCall]:
        """Return the calls of the request, in the order in which they were made."""
        return self._calls

    @property
    def used_tokens(self) -> int:
        """Return the tokens of all calls that have ended, including those whose answer nobody saw."""
        calls = self._calls
        if len(calls) == 1:  # as almost always
            return calls[0].used_tokens
        return sum(call.used_tokens for call in calls)

    @property
    def used_units(self) -> dict[str, int]:
        """Return the units other than tokens that these calls took."""
        used = [call.used_units for call in self._calls if call.used_units]
        return dict(unit_classes.added(used)) if used else {}

    @property
    def charge_nano(self) -> int:
        """Return the charge for all calls that have ended."""
        return sum(call.charge_nano for call in self._calls)

    @property
    def held_nano(self) -> int | None:
        """Return what is held for calls that run; None if no budget limits them."""
        running = (call.held for call in self._calls if not call.settled)
        held = [nano for nano in running if nano is not None]
        return sum(held) if held else None

    @property
    def billed(self) -> Usage | None:
        """Return the usage the client pays for among the calls that have ended; None if there is none."""
        if len(self._calls) == 1:  # as almost always
            return self._calls[0].billed
        found = [call.billed for call in self._calls if call.billed is not None]
        return reduce(total, found) if found else None

    def charge_headers(self) -> dict[str, str]:
        """Return the headers that tell the charge for all calls once they have ended, and the price
        version of the last call that has one. Empty if no call has a price."""
        calls = self._calls
        if len(calls) == 1:  # as almost always
            nano, version = calls[0].charge_nano, calls[0].price_version
        else:
            nano, version = 0, None
            for call in calls:
                nano += call.charge_nano
                version = call.price_version or version
        if version is None:
            return {}
        return {CHARGE_HEADER: str(nano), VERSION_HEADER: str(version)}

    def answer_charge(self, *, tells_cost: bool) -> AnswerCharge | None:
        """Return what the answer tells beyond its upstream's report; None if there is nothing."""
        if not tells_cost and len(self._calls) == 1:
            return None
        is_sum = any(call.billed is not None for call in self._calls[:-1])
        if not (tells_cost or is_sum):
            return None
        has_price = any(call.price_version is not None for call in self._calls)
        nano = sum(call.charge_nano for call in self._calls) if has_price else None
        return AnswerCharge(self.billed or Usage(), is_sum, tells_cost, nano)

    def end(self) -> None:
        """Write down the attempts that failed last, as no other target will be tried. Does not await."""
        if self._failed:
            self._write_failed(absorbed=False)

    def _write_failed(self, *, absorbed: bool) -> None:
        """Write down the attempts that waited. If the process dies before this, they are booked like any
        call that was running."""
        for record in self._failed:
            self._spool_writer.settle(structs.replace(record, absorbed=absorbed))
        self._failed.clear()

    async def open(
        self,
        target: ResolvedTarget,
        route: str,
        call: ModelCall,
        body: Json,
        payload: bytes,
        *,
        can_limit: bool = True,
        units: Quantities = (),
    ) -> tuple[MeteredCall, int | None]:
        """Return the metered call about to be sent as `body`, and the output limit to send with it; None
        if the body is right as it is. `can_limit`: the route accepts a limit at all. `units`: the most it
        uses of units other than tokens (tenants/units.py). Raise BudgetExhausted, RateLimited,
        UnpricedModel or Unavailable."""
        caller = self._caller
        asked = AskedCall(
            target,
            route,
            call,
            body,
            tokens=estimate(body, len(payload), target.context_window),
            tier=attribution.tier(PROTOCOLS[target.protocol].service_tier(body)),
            can_limit=can_limit,
            units=units,
            # Only calls with the tenant's own credential have one, and most callers no budget that counts it.
            list_prices=target.list_price if caller.list_budgets else None,
        )
        if not caller.budgets and asked.list_prices is None:
            at = clock.timestamp()
            held = HeldCall(asked.charge(at, ()), NO_NEED, self._budgets.unlimited, NO_NEED.most)
            return self._begin(asked, held, at), None
        held, at = await self._hold_for_now(asked)
        metered = self._begin(asked, held, at)
        is_sent = held.is_bound and can_limit and held.limit != asked.known_limit
        return metered, held.limit if is_sent else None

    async def _hold_for_now(self, asked: AskedCall) -> tuple[HeldCall, float]:
        """Set aside what the call may cost; return that, and the instant at which it is right."""
        while True:
            held = await self._hold(asked)
            # The ledger takes a period as complete two seconds after its end: a record's instant is that
            # at which it is written, however long the budget was waited for.
            at = clock.timestamp()
            if held.is_right(asked, at):
                return held, at
            held.release()

    async def _hold(self, asked: AskedCall) -> HeldCall:
        """Set aside what the call may cost by the prices of now. On error nothing is held."""
        caller, at = self._caller, clock.timestamp()
        charge = asked.charge(at, caller.budgets)
        listing = asked.list_price(at, caller.list_budgets)
        need = asked.need(charge)
        if listing is None:
            hold, limit = await waiting.hold(self._budgets, caller.budgets, need, at)
            return HeldCall(charge, need, hold, limit)
        hold, limit = await waiting.hold(self._budgets, caller.fee_budgets, need, at)
        list_need = at_most(asked.need(listing), limit)
        listed, limit = await self._hold_listed(hold, list_need, listing, at)
        return HeldCall(charge, need, hold, limit, listed)

    async def _hold_listed(
        self, hold: Hold, need: Need, listing: Terms, at: float
    ) -> tuple[ListPriceHold, int]:
        """Set aside the call's list price in the budgets that count it; return that hold and the output
        limit it pays for. A caller that takes both holds takes this one last, so that no two calls wait
        for each other. On error give `hold` back and raise as `waiting.hold` does."""
        budgets = self._caller.list_budgets
        try:
            taken, limit = await waiting.hold(self._budgets, budgets, need, at)
        except BaseException:  # also if the client left
            hold.release()
            raise
        return ListPriceHold(taken, need, listing), limit

    def _begin(self, asked: AskedCall, held: HeldCall, at: float) -> MeteredCall:
        """Write the call down. On failure give back the hold and raise Unavailable."""
        spool_writer, hold, charge = self._spool_writer, held.hold, held.charge
        cost = asked.target.cost.at(at)
        opened = self._record(asked, held, at, cost)
        try:
            spool_writer.open(opened)
        except SpoolFailed as error:
            held.release()
            raise Unavailable(
                "The gateway cannot write its ledger; try again.", retry_after_seconds=2
            ) from error
        if self._failed:
            self._write_failed(absorbed=True)
        if held.listed is None:
            metered = MeteredCall(spool_writer, opened, hold, charge, cost, held.need.fixed)
        else:
            metered = ListPriceCall(
                spool_writer, opened, hold, charge, cost, held.need.fixed, held.listed
            )
        metered.failed = self._failed
        metered.ownership = self._ownership
        metered.guardrails = self._guardrails
        metered.cache_outcome = self._cache_outcome
        metered.is_at_tenants = asked.target.is_tenants
        metered.runs_on = asked.target.quirks.runs_on
        self._calls.append(metered)
        return metered

    def _record(self, asked: AskedCall, held: HeldCall, at: float, cost: Terms | None) -> Opened:
        caller, target, call = self._caller, asked.target, asked.call
        charge, hold = held.charge, held.hold
        leg, self._next_leg = self._next_leg, self._next_leg + 1
        opened = Opened(
            id=row_id(self._request_id, leg),
            leg=leg,
            at_ms=int(at * 1000),
            tenant_id=caller.tenant_id,
            tenant=caller.tenant_slug,
            key_id=caller.key_id,
            key=caller.key_public_id,
            route=asked.route,
            alias=self._route.alias,
            provider=target.provider,
            upstream_model=target.model,
            input_estimate=asked.tokens.fair,
            service_tier=asked.tier,
            cost_version=None if cost is None else cost.version,
            charge_version=None if charge is None else charge.version,
            is_own=target.cost.is_free,
            held_nano=hold.held,
            budgets=hold.shares,
            end_user=caller.end_user or attribution.end_user(call.body),
            tags=attribution.tags(call.body),
            streamed=call.stream,
            background=bool(call.body.get("background")),
            websocket=self._websocket,
            requested_model=self._route.requested_model,
            units=asked.units,
        )
        return opened if held.listed is None else held.listed.add_to_record(opened)
