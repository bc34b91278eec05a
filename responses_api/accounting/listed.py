"""A call with the tenant's own credential, of whose budgets some count the provider's list price.

It is paid from two holds: budgets that count the charge have one, those that count the list price the other.
"""

from __future__ import annotations

from msgspec import Struct, structs

from responses_api.accounting import facts
from responses_api.accounting.books import Books
from responses_api.accounting.call_hold import CallHold
from responses_api.accounting.legs import Leg
from tenants.budgets.accounts import Hold
from tenants.budgets.shares import Need
from tenants.ledger.records import Opened, Settled
from tenants.prices.rating import Terms, rate, unstated_tier
from tenants.token_classes import Usage


class Listed(Struct, frozen=True):
    """What budgets that count list prices hold for a call; `terms` is the list price, `need` what it may
    cost by that."""

    hold: Hold
    need: Need
    terms: Terms

    @property
    def is_bound(self) -> bool:
        """Whether the call has to be sent with the limit that it is held for."""
        return self.hold.held is not None and self.need.pico > 0

    def recorded(self, opened: Opened) -> Opened:
        """The call's record, which is paid from this hold too."""
        return structs.replace(
            opened,
            list_version=self.terms.version,
            list_held_nano=self.hold.held,
            list_budgets=self.hold.shares,
        )


class ListedLeg(Leg):
    """A leg that may go on only while both holds pay for it, and that takes from each by its own price."""

    __slots__ = ("_list_price", "_listed")

    def __init__(
        self,
        books: Books,
        opened: Opened,
        hold: Hold,
        charge: Terms | None,
        cost: Terms | None,
        reserved_input: int,
        listed: Listed,
    ) -> None:
        super().__init__(books, opened, hold, charge, cost, reserved_input)
        self._list_price = listed.terms
        out_pico = listed.terms.dearest_output(opened.service_tier, opened.input_estimate)
        self._listed = CallHold(listed.hold, listed.need.fixed, out_pico)

    @property
    def is_limited(self) -> bool:
        return super().is_limited or self._listed.is_limited

    def covers(self, tokens: int) -> bool:
        return super().covers(tokens) and self._listed.covers(tokens)

    async def cover(self, tokens: int) -> bool:
        return await super().cover(tokens) and await self._listed.cover(tokens)

    async def fund(self, usage: Usage, service_tier: str | None) -> None:
        await super().fund(usage, service_tier)
        held = self._listed.held
        if held is None:
            return
        tier = self._tier(usage, service_tier)
        missing = rate(usage, tier, self._list_price).total - held
        if missing > 0:
            await self._listed.extend_up_to(missing)

    def _list_held(self) -> int | None:
        return self._listed.held

    def _write_settled(self, record: Settled, usage: Usage, is_unanswered: bool) -> None:
        """With what budgets that count list prices pay: no more than was held, as of a charge; and a call
        without an answer counts where a hard budget has to bound how often it can be had."""
        held, amount = self._listed.held, 0
        is_lost = self.ownership is not None and not self.ownership.holds
        if not is_lost and not (is_unanswered and held is None):
            whole = rate(usage, record.service_tier, self._list_price).total
            amount = whole if held is None else min(whole, held)
            if held is not None and self._is_unseen(record.status, record.usage_source):
                amount = held
        self._listed.pay(amount)
        super()._write_settled(structs.replace(record, list_nano=amount), usage, is_unanswered)

    def _tier(self, usage: Usage, reported: str | None) -> str:
        served, asked = facts.served_tier(reported), self._opened.service_tier
        by = self._charge or self._cost, self._list_price
        return served or unstated_tier(usage, asked, *by)
