"""The upstream calls of one request, in the order in which they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from gateway_project.lib import clock
from gateway_project.lib.errors import Unavailable, UnpricedModel
from responses_api.accounting import facts
from responses_api.accounting.call_hold import nano
from responses_api.accounting.estimates import Estimate, estimate
from responses_api.accounting.legs import Leg
from responses_api.accounting.listed import Listed, ListedLeg
from responses_api.doors.shapes import ModelCall
from routing.route import Target
from tenants.budgets import waiting
from tenants.budgets.accounts import Hold
from tenants.budgets.shares import USUAL_ANSWER, Need
from tenants.ledger.records import Opened
from tenants.ledger.row_ids import row_id
from tenants.ledger.spool import SpoolFailed
from tenants.prices.history import History
from tenants.prices.rating import Terms

Json = dict[str, Any]

if TYPE_CHECKING:
    from responses_api.admission import Admitted
    from responses_api.worker import Worker

# Less output than this is no answer, and some providers refuse to be asked for it.
LEAST_TOKENS = 16
# What a model writes at most if neither the client nor the model's row says so.
LONGEST_ANSWER = 128_000


class Account:
    """Made per request. Raises GatewayError where a call may not be made."""

    __slots__ = ("_admitted", "_legs", "_next_leg", "_worker")

    def __init__(self, worker: Worker, admitted: Admitted) -> None:
        self._worker = worker
        self._admitted = admitted
        self._next_leg = 0
        self._legs: list[Leg] = []

    @property
    def used_tokens(self) -> int:
        """Of all calls that have ended, also of those whose answer nobody saw."""
        return sum(leg.used_tokens for leg in self._legs)

    async def open(
        self,
        target: Target,
        route: str,
        call: ModelCall,
        body: Json,
        payload: bytes,
        *,
        can_limit: bool = True,
    ) -> tuple[Leg, int | None]:
        """The leg of a call about to be sent as `body`, and the output limit it must be sent with: None where
        the body is right as it is. `can_limit`: the route takes a limit at all. Raises BudgetExhausted,
        RateLimited, UnpricedModel, Unavailable."""
        tier = facts.sent_tier(body)
        tokens = estimate(body, len(payload), target.context_window)
        caller = self._admitted.caller
        # Only calls with the tenant's own credential have one, and most callers no budget that counts it.
        list_price = target.list_price if caller.list_budgets else None
        while True:
            asked_at = clock.timestamp()
            charge = self._charge(target, asked_at)
            listing = None if list_price is None else self._listing(list_price, asked_at)
            budgets = caller.budgets if listing is None else caller.fee_budgets
            need = _need(target, body, tokens, charge, tier, can_limit=can_limit)
            hold, limit = await waiting.hold(self._worker.budgets, budgets, need, asked_at)
            listed = None
            if listing is not None:
                list_need = _need(target, body, tokens, listing, tier, can_limit=can_limit)
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
        if listed is not None:
            opened = listed.recorded(opened)
        leg = self._begin(opened, hold, charge, cost, need, listed)
        is_bound = hold.held is not None and need.pico > 0
        if listed is not None:
            is_bound = is_bound or listed.is_bound
        is_sent = is_bound and can_limit and limit != _known_limit(target, body)
        return leg, limit if is_sent else None

    def _begin(
        self,
        opened: Opened,
        hold: Hold,
        charge: Terms | None,
        cost: Terms | None,
        need: Need,
        listed: Listed | None,
    ) -> Leg:
        """Write the call down. Raises Unavailable where that fails, and gives back what is held."""
        books = self._worker.books
        try:
            books.open(opened)
        except SpoolFailed as error:
            _release(hold, listed)
            raise Unavailable(
                "The gateway cannot account for calls now; try again.", retry_after_seconds=2
            ) from error
        if listed is None:
            leg = Leg(books, opened, hold, charge, cost, need.fixed)
        else:
            leg = ListedLeg(books, opened, hold, charge, cost, need.fixed, listed)
        leg.ownership = self._admitted.ownership
        self._legs.append(leg)
        return leg

    async def _hold_listed(
        self, hold: Hold, need: Need, listing: Terms, at: float
    ) -> tuple[Listed, int]:
        """Set aside what the call may cost by its list price, in the budgets that count that, and the limit
        which this pays for. Whoever takes both holds takes this one last, so that no two calls wait for each
        other. Raises as `waiting.hold` does, and gives `hold` back then."""
        budgets = self._admitted.caller.list_budgets
        try:
            taken, limit = await waiting.hold(self._worker.budgets, budgets, need, at)
        except BaseException:  # also where the client left
            hold.release()
            raise
        return Listed(taken, need, listing), limit

    def _charge(self, target: Target, at: float) -> Terms | None:
        """What is charged at this instant. Raises UnpricedModel where a budget would have to know."""
        charge = target.charge.at(at)
        if charge is not None or target.charge.is_free:
            return charge
        if any(terms.is_hard for terms in self._admitted.caller.budgets):
            raise UnpricedModel(self._admitted.call.model)
        return None

    def _listing(self, list_price: History, at: float) -> Terms | None:
        """The list price at this instant; None where it is unknown and no budget has to know, so that all
        count the charge. Raises UnpricedModel otherwise."""
        listing = list_price.at(at)
        if listing is None and any(each.is_hard for each in self._admitted.caller.list_budgets):
            raise UnpricedModel(self._admitted.call.model)
        return listing

    def _record(
        self,
        target: Target,
        route: str,
        call: ModelCall,
        input_estimate: int,
        tier: str,
        at: float,
        hold: Hold,
        charge: Terms | None,
        cost: Terms | None,
    ) -> Opened:
        admitted, caller = self._admitted, self._admitted.caller
        leg, self._next_leg = self._next_leg, self._next_leg + 1
        return Opened(
            id=row_id(admitted.request_id, leg),
            leg=leg,
            at_ms=int(at * 1000),
            tenant_id=caller.tenant_id,
            tenant=caller.tenant_slug,
            key_id=caller.key_id,
            key=caller.key_public_id,
            route=route,
            alias=admitted.route.alias,
            provider=target.provider,
            upstream_model=target.model,
            input_estimate=input_estimate,
            service_tier=tier,
            cost_version=None if cost is None else cost.version,
            charge_version=None if charge is None else charge.version,
            is_own=target.cost.is_free,
            held_nano=hold.held,
            budgets=hold.shares,
            end_user=facts.end_user(call.body),
            tags=facts.tags(call.body),
            streamed=call.stream,
            background=bool(call.body.get("background")),
            websocket=admitted.socket is not None,
            requested_model=admitted.route.requested_model,
        )


def _known_limit(target: Target, body: Json) -> int | None:
    """The limit that need not be sent again. A model whose row has one may write more unless it is told."""
    if (given := facts.output_limit(body)) is not None:
        return given
    return LONGEST_ANSWER if target.max_output_tokens is None else None


def _need(
    target: Target,
    body: Json,
    tokens: Estimate,
    charge: Terms | None,
    tier: str,
    *,
    can_limit: bool,
) -> Need:
    """What the call costs at most if its upstream keeps to the limit it is sent."""
    most = facts.output_limit(body) or target.max_output_tokens or LONGEST_ANSWER
    if charge is None:
        return Need(0, most=most)
    step = charge.bound(tier, tokens.bound)
    fixed, pico = nano(tokens.bound * step.dearest_input), step.dearest_output
    if target.protocol == "chat":
        pico *= facts.choices(body)
    if not can_limit:
        most = min(most, max(tokens.bound, USUAL_ANSWER))
        return Need(fixed, pico, most, least=most)
    return Need(fixed, pico, most, least=min(most, LEAST_TOKENS))


def _at_most(need: Need, tokens: int) -> Need:
    """The same of a call that other budgets have limited already."""
    return structs.replace(need, most=min(need.most, tokens), least=min(need.least, tokens))


def _release(hold: Hold, listed: Listed | None) -> None:
    hold.release()
    if listed is not None:
        listed.hold.release()
