"""Meter a call with the tenant's own credential if some of its budgets count the provider's list price.

Such a call has two holds: one in the budgets that count the charge, the other in those that count the list
price.
"""

from __future__ import annotations

from msgspec import Struct, structs

from responses_api.accounting import attribution
from responses_api.accounting.call_hold import CallHold
from responses_api.accounting.metered_call import MeteredCall
from responses_api.accounting.spool_writer import SpoolWriter
from tenants.budgets.holds import Hold
from tenants.budgets.shares import Need
from tenants.ledger.records import Opened, Settled
from tenants.prices.rating import Terms, rate, unstated_tier
from tenants.token_classes import Usage


class ListPriceHold(Struct, frozen=True):
    """The hold in budgets that count list prices; `terms` is the list price, `need` the most that the call
    may cost by it."""

    hold: Hold
    need: Need
    terms: Terms

    @property
    def is_bound(self) -> bool:
        """Return whether the call must be sent with the output limit it was held for."""
        return self.hold.held is not None and self.need.pico > 0

    def add_to_record(self, opened: Opened) -> Opened:
        """Return the call's record with this hold added to it."""
        return structs.replace(
            opened,
            list_version=self.terms.version,
            list_held_nano=self.hold.held,
            list_budgets=self.hold.shares,
        )


class ListPriceCall(MeteredCall):
    """A call that goes on only while both holds pay for it, and that pays each at its own price."""

    __slots__ = ("_list_price", "_listed")

    def __init__(
        self,
        spool_writer: SpoolWriter,
        opened: Opened,
        hold: Hold,
        charge: Terms | None,
        cost: Terms | None,
        reserved_input: int,
        listed: ListPriceHold,
    ) -> None:
        super().__init__(spool_writer, opened, hold, charge, cost, reserved_input)
        self._list_price = listed.terms
        out_pico = listed.terms.dearest_output(opened.service_tier, opened.input_estimate)
        self._listed = CallHold(listed.hold, listed.need.fixed, out_pico)

    @property
    def is_limited(self) -> bool:
        return super().is_limited or self._listed.is_limited

    @property
    def is_held(self) -> bool:
        return super().is_held or self._listed.held is not None

    def covers(self, tokens: int) -> bool:
        return super().covers(tokens) and self._listed.covers(tokens)

    async def cover(self, tokens: int) -> bool:
        return await super().cover(tokens) and await self._listed.cover(tokens)

    async def fund(self, usage: Usage, service_tier: str | None) -> None:
        await super().fund(usage, service_tier)
        held = self._listed.held
        if held is None:
            return
        usage = self._whole(usage)
        tier = self._tier(usage, service_tier)
        missing = rate(usage, tier, self._list_price).total - held
        if missing > 0:
            await self._listed.extend_up_to(missing)

    def _list_held(self) -> int | None:
        return self._listed.held

    def _write_settled(self, record: Settled, usage: Usage, is_unanswered: bool) -> None:
        """Settle both holds. Budgets that count list prices pay at most what was held, as with a charge.
        They also pay for a call without an answer, since a hard budget must bound how often such calls can
        be made."""
        held, amount = self._listed.held, 0
        is_lost = self.ownership is not None and not self.ownership.holds
        if not is_lost and not (is_unanswered and held is None):
            whole = rate(usage, record.service_tier, self._list_price).total
            amount = whole if held is None else min(whole, held)
            if held is not None and self._is_unseen(record.status, usage, record.usage_source):
                amount = held
        self._listed.pay(amount)
        super()._write_settled(structs.replace(record, list_nano=amount), usage, is_unanswered)

    def _tier(self, usage: Usage, reported: str | None) -> str:
        served, asked = attribution.served_tier(reported), self._opened.service_tier
        by = self._charge or self._cost, self._list_price
        return served or unstated_tier(usage, asked, *by)
