"""Account for the upstream calls of one request: hold and write down each before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from msgspec import structs

from gateway_project.lib import clock
from gateway_project.lib.errors import Unavailable, UnpricedModel
from gateway_project.lib.json import Json
from responses_api.accounting import attribution
from responses_api.accounting.call_hold import nano
from responses_api.accounting.estimates import Estimate, estimate
from responses_api.accounting.list_price_call import ListPriceCall, ListPriceHold
from responses_api.accounting.metered_call import HasOutcome, MeteredCall
from responses_api.accounting.spool_writer import SpoolWriter
from responses_api.doors.shapes import ModelCall
from responses_api.storage.ownership import Ownership
from responses_api.stream.answer_charge import CHARGE_HEADER, VERSION_HEADER, AnswerCharge
from routing.protocols import PROTOCOLS
from routing.protocols.shared.protocol import UpstreamProtocol
from routing.protocols.shared.usage import total
from routing.route import ResolvedTarget, Route
from tenants.budgets import waiting
from tenants.budgets.accounts import BudgetLeases, Hold
from tenants.budgets.shares import USUAL_ANSWER, Need
from tenants.budgets.terms import BudgetTerms
from tenants.keys.caller import Caller
from tenants.ledger.records import Opened, Settled
from tenants.ledger.row_ids import row_id
from tenants.ledger.spool import SpoolFailed
from tenants.prices.history import History
from tenants.prices.rating import Terms
from tenants.token_classes import Quantities, Usage

# Less output than this is not an answer, and some providers refuse such a limit.
LEAST_TOKENS = 16
# The longest answer if neither the client nor the model's row has a limit.
LONGEST_ANSWER = 128_000


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
        return sum(call.used_tokens for call in self._calls)

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
        protocol = PROTOCOLS[target.protocol]
        tier = attribution.tier(protocol.service_tier(body))
        tokens = estimate(body, len(payload), target.context_window)
        caller = self._caller
        # Only calls with the tenant's own credential have one, and most callers no budget that counts it.
        list_price = target.list_price if caller.list_budgets else None
        while True:
            asked_at = clock.timestamp()
            charge = self._charge(call, target, asked_at, units)
            listing = (
                None if list_price is None else self._listing(call, list_price, asked_at, units)
            )
            budgets = caller.budgets if listing is None else caller.fee_budgets
            need = _need(protocol, target, body, tokens, charge, tier, units, can_limit=can_limit)
            hold, limit = await waiting.hold(self._budgets, budgets, need, asked_at)
            listed = None
            if listing is not None:
                list_need = _need(
                    protocol, target, body, tokens, listing, tier, units, can_limit=can_limit
                )
                listed, limit = await self._hold_listed(
                    hold, _at_most(list_need, limit), listing, asked_at
                )
            # The ledger takes a period as complete two seconds after its end: a record's instant is that
            # at which it is written, however long the budget was waited for.
            at = clock.timestamp()
            is_priced = target.charge.at(at) is charge
            if list_price is not None:
                is_priced = is_priced and list_price.at(at) is listing
            if is_priced and hold.is_for(at) and (listed is None or listed.hold.is_for(at)):
                break
            _release(hold, listed)
        cost = target.cost.at(at)
        opened = self._record(target, route, call, tokens.fair, tier, at, hold, charge, cost)
        if units:
            opened = structs.replace(opened, units=units)
        if listed is not None:
            opened = listed.add_to_record(opened)
        metered = self._begin(opened, hold, charge, cost, need, listed)
        metered.is_at_tenants = target.is_tenants
        is_bound = hold.held is not None and need.pico > 0
        if listed is not None:
            is_bound = is_bound or listed.is_bound
        is_sent = is_bound and can_limit and limit != _known_limit(target, body)
        return metered, limit if is_sent else None

    def _begin(
        self,
        opened: Opened,
        hold: Hold,
        charge: Terms | None,
        cost: Terms | None,
        need: Need,
        listed: ListPriceHold | None,
    ) -> MeteredCall:
        """Write the call down. On failure give back the hold and raise Unavailable."""
        spool_writer = self._spool_writer
        try:
            spool_writer.open(opened)
        except SpoolFailed as error:
            _release(hold, listed)
            raise Unavailable(
                "The gateway cannot write its ledger; try again.", retry_after_seconds=2
            ) from error
        if self._failed:
            self._write_failed(absorbed=True)
        if listed is None:
            metered = MeteredCall(spool_writer, opened, hold, charge, cost, need.fixed)
        else:
            metered = ListPriceCall(spool_writer, opened, hold, charge, cost, need.fixed, listed)
        metered.failed = self._failed
        metered.ownership = self._ownership
        metered.guardrails = self._guardrails
        metered.cache_outcome = self._cache_outcome
        self._calls.append(metered)
        return metered

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

    def _charge(
        self, call: ModelCall, target: ResolvedTarget, at: float, units: Quantities
    ) -> Terms | None:
        """Return the charge at this instant. Raise UnpricedModel if a budget needs a price."""
        charge = target.charge.at(at)
        if charge is None and target.charge.is_free:
            return None
        if charge is None or units:
            _check_priced(call, charge, units, self._caller.budgets)
        return charge

    def _listing(
        self, call: ModelCall, list_price: History, at: float, units: Quantities
    ) -> Terms | None:
        """Return the list price at this instant; None if it is unknown and no budget needs it, so that all
        budgets count the charge. Raise UnpricedModel otherwise."""
        listing = list_price.at(at)
        _check_priced(call, listing, units, self._caller.list_budgets)
        return listing

    def _record(
        self,
        target: ResolvedTarget,
        route: str,
        call: ModelCall,
        input_estimate: int,
        tier: str,
        at: float,
        hold: Hold,
        charge: Terms | None,
        cost: Terms | None,
    ) -> Opened:
        caller = self._caller
        leg, self._next_leg = self._next_leg, self._next_leg + 1
        return Opened(
            id=row_id(self._request_id, leg),
            leg=leg,
            at_ms=int(at * 1000),
            tenant_id=caller.tenant_id,
            tenant=caller.tenant_slug,
            key_id=caller.key_id,
            key=caller.key_public_id,
            route=route,
            alias=self._route.alias,
            provider=target.provider,
            upstream_model=target.model,
            input_estimate=input_estimate,
            service_tier=tier,
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
        )


def _known_limit(target: ResolvedTarget, body: Json) -> int | None:
    """Return the output limit that need not be sent again. A model whose row has a limit may write more
    unless it is told."""
    if (given := PROTOCOLS[target.protocol].output_limit(body)) is not None:
        return given
    return LONGEST_ANSWER if target.max_output_tokens is None else None


def _check_priced(
    call: ModelCall, terms: Terms | None, units: Quantities, budgets: tuple[BudgetTerms, ...]
) -> None:
    """Raise UnpricedModel if a budget is hard and the model, or a unit the call uses, has no price."""
    if terms is not None and terms.prices(units):
        return
    if any(each.is_hard for each in budgets):
        raise UnpricedModel(call.model)


def _need(
    protocol: UpstreamProtocol,
    target: ResolvedTarget,
    body: Json,
    tokens: Estimate,
    charge: Terms | None,
    tier: str,
    units: Quantities,
    *,
    can_limit: bool,
) -> Need:
    """Return the most that the call costs if its upstream keeps to the limit it is sent."""
    most = protocol.output_limit(body) or target.max_output_tokens or LONGEST_ANSWER
    if charge is None:
        return Need(0, most=most)
    step = charge.bound(tier, tokens.bound)
    fixed = tokens.bound * step.dearest_input
    if units:
        fixed += step.exact(units)
    fixed, pico = nano(fixed), step.dearest_output
    pico *= protocol.choices(body)
    if not can_limit:
        most = min(most, max(tokens.bound, USUAL_ANSWER))
        return Need(fixed, pico, most, least=most)
    return Need(fixed, pico, most, least=min(most, LEAST_TOKENS))


def _at_most(need: Need, tokens: int) -> Need:
    """Return the same need for a call that other budgets have limited already."""
    return structs.replace(need, most=min(need.most, tokens), least=min(need.least, tokens))


def _release(hold: Hold, listed: ListPriceHold | None) -> None:
    hold.release()
    if listed is not None:
        listed.hold.release()
