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
from tenants.prices.rating import PICO_PER_NANO, Step, Terms

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
        payload: bytes,
        tier: str = facts.DEFAULT_TIER,
    ) -> tuple[Leg, int | None]:
        """The leg of a call about to be sent, which asks for a service `tier`, and the most output tokens it
        may ask for: None unless the budgets pay for less than it might use. Raises BudgetExhausted,
        UnpricedModel, Unavailable."""
        asked_for = facts.output_limit(call.body)
        usual = STEP_TOKENS if call.stream else WHOLE_STEP_TOKENS
        bound = 0
        if self._admitted.caller.budgets:  # looking for images takes time
            bound = input_bound(len(payload), facts.images(payload))
        while True:
            asked_at = clock.timestamp()
            charge = self._charge(target, asked_at)
            step = None if charge is None else charge.bound(tier, bound)
            reserved = 0 if step is None else nano(bound * step.dearest_input)
            hold = await self._hold(reserved, step, min(usual, asked_for or usual), asked_at)
            # The ledger takes a period as complete two seconds after its end: a record's instant is that
            # at which it is written, however long the budget was waited for.
            at = clock.timestamp()
            if target.charge.at(at) is charge and hold.is_for(at):
                break
            hold.release()
        cost = target.cost.at(at)
        might_come = asked_for or target.max_output_tokens or LONGEST_ANSWER
        limit = _affordable(hold, reserved, step, might_come)
        opened = self._record(target, route, call, len(payload), tier, at, hold, charge, cost)
        try:
            self._worker.books.open(opened)
        except SpoolFailed as error:
            hold.release()
            raise Unavailable(
                "The gateway cannot account for calls now; try again.", retry_after_seconds=2
            ) from error
        leg = Leg(self._worker.books, opened, hold, charge, cost, reserved)
        self._legs.append(leg)
        return leg, limit

    def _charge(self, target: Target, at: float) -> Terms | None:
        """What is charged at this instant. Raises UnpricedModel where a budget would have to know."""
        charge = target.charge.at(at)
        if charge is not None or target.charge.is_free:
            return charge
        if any(terms.is_hard for terms in self._admitted.caller.budgets):
            raise UnpricedModel(self._admitted.route.alias)
        return None

    async def _hold(self, reserved: int, step: Step | None, wanted: int, at: float) -> Hold:
        """What the input may cost and `wanted` tokens of output; where that is too much, the least answer."""
        accounts, budgets = self._worker.budgets, self._admitted.caller.budgets
        if step is None or not budgets:
            return await accounts.hold(budgets, 0, at)
        try:
            return await accounts.hold(budgets, reserved + nano(wanted * step.dearest_output), at)
        except BudgetExhausted:
            least = min(wanted, LEAST_TOKENS)
            return await accounts.hold(budgets, reserved + nano(least * step.dearest_output), at)

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


def _affordable(hold: Hold, reserved: int, step: Step | None, might_come: int) -> int | None:
    """The most output tokens that what is left pays for, if that is fewer than might come."""
    if hold.held is None or step is None or (rest := hold.rest) is None:
        return None
    if step.dearest_output == 0:
        return None
    paid = max((hold.held - reserved + rest) * PICO_PER_NANO // step.dearest_output, LEAST_TOKENS)
    return paid if paid < might_come else None
