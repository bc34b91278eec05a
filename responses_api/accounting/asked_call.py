"""Know what an upstream call may cost at most, before it is sent, and hold that."""

from __future__ import annotations

from msgspec import Struct, structs

from gateway_project.lib.errors import UnpricedModel
from gateway_project.lib.json import Json
from responses_api.accounting.call_hold import nano
from responses_api.accounting.estimates import Estimate
from responses_api.accounting.list_price_call import ListPriceHold
from responses_api.doors.shapes import ModelCall
from routing.protocols import PROTOCOLS
from routing.route import ResolvedTarget
from tenants.budgets.holds import Hold
from tenants.budgets.shares import USUAL_ANSWER, Need
from tenants.budgets.terms import BudgetTerms
from tenants.prices.history import History
from tenants.prices.rating import Terms
from tenants.token_classes import Quantities

# Less output than this is not an answer, and some providers refuse such a limit.
LEAST_TOKENS = 16
# The longest answer if neither the client nor the model's row has a limit.
LONGEST_ANSWER = 128_000


class AskedCall(Struct, frozen=True):
    """A call about to be sent as `body`.

    route        its name in the ledger
    tokens       an estimate of its input
    tier         the service tier it asks for
    can_limit    the upstream's route accepts an output limit
    units        the most it uses of units other than tokens (tenants/units.py)
    list_prices  those of its provider, if any budget counts them
    """

    target: ResolvedTarget
    route: str
    call: ModelCall
    body: Json
    tokens: Estimate
    tier: str
    can_limit: bool
    units: Quantities
    list_prices: History | None

    def charge(self, at: float, budgets: tuple[BudgetTerms, ...]) -> Terms | None:
        """Return the charge at this instant. Raise UnpricedModel if a budget needs a price."""
        history = self.target.charge
        charge = history.at(at)
        if charge is None and history.is_free:
            return None
        if charge is None or self.units:
            self._check_priced(charge, budgets)
        return charge

    def list_price(self, at: float, budgets: tuple[BudgetTerms, ...]) -> Terms | None:
        """Return the list price at this instant, if a budget counts it. None also if it is unknown and none
        of these budgets needs it, so that all budgets count the charge. Raise UnpricedModel otherwise."""
        if self.list_prices is None:
            return None
        price = self.list_prices.at(at)
        self._check_priced(price, budgets)
        return price

    def _check_priced(self, terms: Terms | None, budgets: tuple[BudgetTerms, ...]) -> None:
        """Raise UnpricedModel if a budget is hard and the model, or a unit the call uses, has no price."""
        if terms is not None and terms.prices(self.units):
            return
        if any(each.is_hard for each in budgets):
            raise UnpricedModel(self.call.model)

    def need(self, terms: Terms | None) -> Need:
        """Return the most that the call costs if its upstream keeps to the limit it is sent."""
        target, tokens = self.target, self.tokens
        protocol = PROTOCOLS[target.protocol]
        most = protocol.output_limit(self.body) or target.max_output_tokens or LONGEST_ANSWER
        if terms is None:
            return Need(0, most=most)
        step = terms.bound(self.tier, tokens.bound)
        fixed = tokens.bound * step.dearest_input
        if self.units:
            fixed += step.exact(self.units)
        fixed, pico = nano(fixed), step.dearest_output
        pico *= protocol.choices(self.body)
        if not self.can_limit:
            most = min(most, max(tokens.bound, USUAL_ANSWER))
            return Need(fixed, pico, most, least=most)
        return Need(fixed, pico, most, least=min(most, LEAST_TOKENS))

    @property
    def known_limit(self) -> int | None:
        """Return the output limit that need not be sent again. A model whose row has a limit may write more
        unless it is told."""
        if (given := PROTOCOLS[self.target.protocol].output_limit(self.body)) is not None:
            return given
        return LONGEST_ANSWER if self.target.max_output_tokens is None else None


class HeldCall(Struct, frozen=True):
    """The holds of a call: in the budgets that count its charge, and in those that count its list price if
    there are any. They pay for `limit` output tokens at the prices they were made by."""

    charge: Terms | None
    need: Need
    hold: Hold
    limit: int
    listed: ListPriceHold | None = None

    def is_right(self, asked: AskedCall, at: float) -> bool:
        """Return whether prices and windows are still those of this instant."""
        if asked.target.charge.at(at) is not self.charge or not self.hold.is_for(at):
            return False
        listed, prices = self.listed, asked.list_prices
        if prices is not None and prices.at(at) is not (listed and listed.terms):
            return False
        return listed is None or listed.hold.is_for(at)

    @property
    def is_bound(self) -> bool:
        """Return whether the call must be sent with the output limit it was held for."""
        is_bound = self.hold.held is not None and self.need.pico > 0
        return is_bound or (self.listed is not None and self.listed.is_bound)

    def release(self) -> None:
        """Give back what is held."""
        self.hold.release()
        if self.listed is not None:
            self.listed.hold.release()


def at_most(need: Need, tokens: int) -> Need:
    """Return the same need for a call that other budgets have limited already."""
    return structs.replace(need, most=min(need.most, tokens), least=min(need.least, tokens))
