"""The upstream calls of one request, in the order in which they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_project.lib import clock
from gateway_project.lib.errors import Unavailable, UnpricedModel
from responses_api.accounting import facts
from responses_api.accounting.estimates import Estimate, estimate
from responses_api.accounting.legs import Leg, nano
from responses_api.doors.shapes import ModelCall
from routing.route import Target
from tenants.budgets import waiting
from tenants.budgets.accounts import Hold
from tenants.budgets.shares import USUAL_ANSWER, Need
from tenants.ledger.records import Opened
from tenants.ledger.row_ids import row_id
from tenants.ledger.spool import SpoolFailed
from tenants.prices.rating import DEFAULT_TIER, Terms

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
        tier = facts.tier(call.body.get("service_tier"))
        tokens = estimate(body, len(payload), target.context_window)
        while True:
            asked_at = clock.timestamp()
            charge = self._charge(target, asked_at)
            need = _need(target, body, tokens, charge, tier, can_limit=can_limit)
            hold, limit = await waiting.hold(
                self._worker.budgets, self._admitted.caller.budgets, need, asked_at
            )
            # The ledger takes a period as complete two seconds after its end: a record's instant is that
            # at which it is written, however long the budget was waited for.
            at = clock.timestamp()
            if target.charge.at(at) is charge and hold.is_for(at):
                break
            hold.release()
        cost = target.cost.at(at)
        opened = self._record(target, route, call, tokens.fair, tier, at, hold, charge, cost)
        try:
            self._worker.books.open(opened)
        except SpoolFailed as error:
            hold.release()
            raise Unavailable(
                "The gateway cannot account for calls now; try again.", retry_after_seconds=2
            ) from error
        leg = Leg(self._worker.books, opened, hold, charge, cost, need.fixed)
        self._legs.append(leg)
        is_bound = hold.held is not None and need.pico > 0 and can_limit
        return leg, limit if is_bound and limit != _known_limit(target, body) else None

    def _charge(self, target: Target, at: float) -> Terms | None:
        """What is charged at this instant. Raises UnpricedModel where a budget would have to know."""
        charge = target.charge.at(at)
        if charge is not None or target.charge.is_free:
            return charge
        if any(terms.is_hard for terms in self._admitted.caller.budgets):
            raise UnpricedModel(self._admitted.route.alias)
        return None

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
    # What is asked for in a cheaper tier may be served in the usual one.
    steps = [charge.step(each, tokens.bound) for each in {tier, DEFAULT_TIER}]
    fixed = nano(tokens.bound * max(step.dearest_input for step in steps))
    pico = max(step.dearest_output for step in steps)
    if target.protocol == "chat":
        pico *= facts.choices(body)
    if not can_limit:
        most = min(most, max(tokens.bound, USUAL_ANSWER))
        return Need(fixed, pico, most, least=most)
    return Need(fixed, pico, most, least=min(most, LEAST_TOKENS))
