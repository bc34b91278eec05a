"""The upstream calls of one request, in the order in which they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_project.lib import clock
from gateway_project.lib.errors import BudgetExhausted, Unavailable, UnpricedModel
from responses_api.accounting import facts
from responses_api.accounting.legs import STEP_TOKENS, Leg, nano
from responses_api.doors.shapes import ModelCall
from routing.route import Target
from tenants.budgets.accounts import Hold
from tenants.budgets.bounds import input_bound
from tenants.ledger.records import Opened
from tenants.ledger.row_ids import row_id
from tenants.ledger.spool import SpoolFailed
from tenants.prices.rating import Terms

if TYPE_CHECKING:
    from responses_api.admission import Admitted
    from responses_api.worker import Worker

BYTES_PER_TOKEN = 4
# What is set aside for the output of a JSON answer, which is only seen when it is whole.
WHOLE_STEP_TOKENS = 4096
# Less output than this is no answer, and some providers refuse to be asked for it.
LEAST_TOKENS = 16
# A limit is only put on calls that could otherwise go beyond what is left.
LONGEST_ANSWER = 128_000


class Account:
    """Made per request. Raises GatewayError where a call may not be made."""

    __slots__ = ("_admitted", "_next_leg", "_worker")

    def __init__(self, worker: Worker, admitted: Admitted) -> None:
        self._worker = worker
        self._admitted = admitted
        self._next_leg = 0

    async def open(
        self, target: Target, route: str, call: ModelCall, payload: bytes
    ) -> tuple[Leg, int | None]:
        """The leg of a call about to be sent, and the most output tokens it may ask for: None unless the
        budgets pay for less than it might use. Raises BudgetExhausted, UnpricedModel, Unavailable."""
        tier = facts.tier(call.body.get("service_tier"))
        bound = 0
        if self._admitted.caller.budgets:  # looking for images takes time
            bound = input_bound(len(payload), facts.images(payload))
        while True:
            asked_at = clock.timestamp()
            charge = self._charge(target, asked_at)
            reserved = 0 if charge is None else nano(bound * charge.dearest_input(tier, bound))
            hold = await self._hold(reserved, charge, tier, bound, call, asked_at)
            # The ledger takes a period as complete two seconds after its end: a record's instant is that
            # at which it is written, however long the budget was waited for.
            at = clock.timestamp()
            if target.charge.at(at) is charge and hold.is_for(at):
                break
            hold.release()
        cost = target.cost.at(at)
        limit = _affordable(hold, reserved, charge, tier, bound, call, target)
        opened = self._record(target, route, call, len(payload), tier, at, hold, charge, cost)
        try:
            self._worker.books.open(opened)
        except SpoolFailed as error:
            hold.release()
            raise Unavailable(
                "The gateway cannot account for calls now; try again.", retry_after_seconds=2
            ) from error
        return Leg(self._worker.books, opened, hold, charge, cost, reserved), limit

    def _charge(self, target: Target, at: float) -> Terms | None:
        """What is charged at this instant. Raises UnpricedModel where a budget would have to know."""
        charge = target.charge.at(at)
        if charge is not None or target.charge.is_free:
            return charge
        if any(terms.is_hard for terms in self._admitted.caller.budgets):
            raise UnpricedModel(self._admitted.route.alias)
        return None

    async def _hold(
        self, reserved: int, charge: Terms | None, tier: str, bound: int, call: ModelCall, at: float
    ) -> Hold:
        """What the input may cost and a step of output; where that is too much, the least of answers."""
        accounts, budgets = self._worker.budgets, self._admitted.caller.budgets
        if charge is None or not budgets:
            return await accounts.hold(budgets, 0, at)
        price = charge.dearest_output(tier, bound)
        step = STEP_TOKENS if call.stream else WHOLE_STEP_TOKENS
        wanted = min(step, facts.output_limit(call.body) or step)
        try:
            return await accounts.hold(budgets, reserved + nano(wanted * price), at)
        except BudgetExhausted:
            least = min(wanted, LEAST_TOKENS)
            return await accounts.hold(budgets, reserved + nano(least * price), at)

    def _record(
        self,
        target: Target,
        route: str,
        call: ModelCall,
        size: int,
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
            input_estimate=size // BYTES_PER_TOKEN,
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
        )


def _affordable(
    hold: Hold,
    reserved: int,
    charge: Terms | None,
    tier: str,
    bound: int,
    call: ModelCall,
    target: Target,
) -> int | None:
    """The most output tokens that what is left pays for, if that is fewer than might come."""
    if hold.held is None or charge is None or (rest := hold.rest) is None:
        return None
    price = charge.dearest_output(tier, bound)
    if price == 0:
        return None
    paid = max((hold.held - reserved + rest) * 1000 // price, LEAST_TOKENS)
    might_come = facts.output_limit(call.body) or target.max_output_tokens or LONGEST_ANSWER
    return paid if paid < might_come else None
