"""Meter one upstream call, from before it is sent until it has ended.

hold    budgets set aside what its input and its first output may cost
open    its record is in the spool before the upstream sees a byte
note    while it runs: record what was counted so far, and hold more before more is forwarded
settle  once, without awaiting: price it, cap it by what was held, write it to the spool
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct, structs

from gateway_project.lib import clock
from gateway_project.lib.errors import IdempotencyKeyLost
from responses_api.accounting import attribution
from responses_api.accounting.call_hold import CallHold
from responses_api.accounting.spool_writer import SpoolWriter
from responses_api.storage.ownership import Ownership
from tenants import units
from tenants.budgets.holds import Hold
from tenants.ledger.records import Noted, Opened, Settled, UnitAmount
from tenants.prices.rating import NOTHING, Rated, Terms, rate, unstated_tier
from tenants.token_classes import Quantities, Usage


class HasOutcome(Protocol):
    """The guardrails of a call, as far as its record tells of them."""

    @property
    def outcome(self) -> str:
        """Return the strongest thing they did."""


class CallEnd(Struct, frozen=True):
    """The end of an upstream call. `is_unanswered`: nobody is charged, but the budgets pay all the same, so
    that a call that costs the operator money cannot be repeated without end."""

    status: str
    usage: Usage
    usage_source: str
    http_status: int = 0
    error_code: str | None = None
    service_tier: str | None = None
    ttft_ms: float | None = None
    overhead_seconds: float = 0.0
    is_unanswered: bool = False


class Bill(Struct, frozen=True):
    """The division of what a call comes to: its tenant pays the charge, its budgets also what is `waived`,
    and nobody what is `unfunded` beyond that."""

    charge: Rated
    cost_nano: int
    unfunded: int
    waived: int
    error_code: str | None


NOTE_TOKENS = 64
NOTE_SECONDS = 0.5


class MeteredCall(CallHold):
    """One call in the ledger. `opened` is its record in the spool; `charge` and `cost` are the prices that
    applied when it was opened. The hold is for the charge."""

    __slots__ = (
        "_charge",
        "_cost",
        "_noted_at",
        "_noted_tokens",
        "_opened",
        "_opened_at",
        "_rating",
        "_spool_writer",
        "billed",
        "cache_outcome",
        "charge_nano",
        "failed",
        "guardrails",
        "is_at_tenants",
        "ownership",
        "record",
        "runs_on",
        "sent_at",
        "settled",
        "used_tokens",
        "used_units",
    )  # fmt: skip

    def __init__(
        self,
        spool_writer: SpoolWriter,
        opened: Opened,
        hold: Hold,
        charge: Terms | None,
        cost: Terms | None,
        reserved_input: int,
    ) -> None:
        # Where no budget limits the call, nobody asks what more of its output costs.
        out_pico = 0 if hold.held is None else output_price(charge, opened)
        super().__init__(hold, reserved_input, out_pico)
        self._spool_writer = spool_writer
        self._opened = opened
        self._charge = charge
        self._cost = cost
        self._opened_at = self._noted_at = self.sent_at = clock.monotonic()
        self._noted_tokens = 0
        self._rating: tuple[Usage, str, Rated] | None = None
        self.failed: list[Settled] | None = None
        self.ownership: Ownership | None = None
        self.guardrails: HasOutcome | None = None
        self.cache_outcome = ""
        self.settled = False
        self.used_tokens = 0
        self.used_units: Quantities = ()
        # Known once it is settled: the charge, and the usage it is for, if any.
        self.charge_nano = 0
        self.billed: Usage | None = None
        self.record: Settled | None = None
        self.is_at_tenants = False  # its provider is the tenant's own
        self.runs_on = False  # its provider goes on with a stream that is left

    @property
    def price_version(self) -> int | None:
        """Return the price version that the call is charged by; None if it has no price."""
        return self._opened.charge_version

    @property
    def provider(self) -> str:
        return self._opened.provider

    @property
    def upstream_model(self) -> str:
        return self._opened.upstream_model

    @property
    def opened(self) -> Opened:
        """Return the record of its beginning."""
        return self._opened

    @property
    def input_estimate(self) -> int:
        return self._opened.input_estimate

    @property
    def is_streamed(self) -> bool:
        return self._opened.streamed

    @property
    def is_held(self) -> bool:
        """Return whether it holds an amount of any budget."""
        return self._hold.held is not None

    # While it runs

    def note(self, tokens: int, ttft_ms: int | None) -> None:
        """Count a piece of output; write a record every 64 tokens or half a second."""
        now = clock.monotonic()
        if tokens - self._noted_tokens < NOTE_TOKENS and now - self._noted_at < NOTE_SECONDS:
            return
        self._noted_tokens, self._noted_at = tokens, now
        elapsed_ms = int((now - self._opened_at) * 1000)
        held, list_held = self._hold.held, self._list_held()
        self._spool_writer.note(
            Noted(self._opened.id, tokens, elapsed_ms, held, ttft_ms, list_held)
        )

    async def fund(self, usage: Usage, service_tier: str | None) -> None:
        """Hold what the finished answer costs, as far as the budgets have it."""
        held = self._hold.held
        if held is None or self._charge is None:
            return
        usage = self._whole(usage)
        missing = self._charged(usage, self._tier(usage, service_tier)).total - held
        if missing > 0:
            await self.extend_up_to(missing)

    def _list_held(self) -> int | None:
        """Return the amount held in budgets that count list prices."""
        return None

    # Its end

    def settle(self, end: CallEnd) -> None:
        """Settle the call once; further calls change nothing."""
        if self.settled:
            return
        self.settled = True
        usage = end.usage if end.usage_source == "none" else self._whole(end.usage)
        tier = self._tier(usage, end.service_tier)
        self.used_tokens, self.used_units = sum(usage.counts), usage.units
        bill = self._bill(end, usage, tier)
        self.charge_nano = bill.charge.total
        if self._hold.held is not None:
            self.pay(bill.charge.total + bill.waived)
        self.record = record = self._settled(end, usage, tier, bill)
        self._write_settled(record, usage, end.is_unanswered)

    def _bill(self, end: CallEnd, usage: Usage, tier: str) -> Bill:
        """Divide what the call comes to. A request that lost its Idempotency-Key pays nothing."""
        charge, unfunded, cost_nano = self._amounts(usage, tier)
        if self.ownership is not None and not self.ownership.holds:
            return Bill(NOTHING, cost_nano, 0, 0, IdempotencyKeyLost.code)
        counted = charge.total
        if end.is_unanswered:
            unfunded, charge = unfunded + counted, NOTHING
        elif self.used_tokens or usage.units:
            self.billed = usage
        held, waived = self._hold.held, 0
        if held is not None:
            is_unseen = self._is_unseen(end.status, usage, end.usage_source)
            waived = (held if is_unseen else counted) - charge.total
        return Bill(charge, cost_nano, unfunded, waived, end.error_code)

    def _settled(self, end: CallEnd, usage: Usage, tier: str, bill: Bill) -> Settled:
        charge, ttft_ms = bill.charge, end.ttft_ms
        return Settled(
            id=self._opened.id,
            status=end.status,
            usage_source=end.usage_source,
            tokens=usage.counts,
            cost_nano=bill.cost_nano,
            charges_nano=charge.by_class,
            duration_ms=int((clock.monotonic() - self._opened_at) * 1000),
            unfunded_nano=bill.unfunded,
            waived_nano=bill.waived,
            usage_anomaly=usage.anomaly,
            http_status=end.http_status,
            error_code=(bill.error_code or "")[:100],
            service_tier=tier,
            ttft_ms=None if ttft_ms is None else int(ttft_ms),
            overhead_us=max(int(end.overhead_seconds * 1_000_000), 0),
            units=_unit_amounts(usage, charge) if usage.units else (),
            guardrail_outcome="" if self.guardrails is None else self.guardrails.outcome,
            cache_outcome=self.cache_outcome,
        )

    def _whole(self, usage: Usage) -> Usage:
        """Return the usage with every unit the call was opened for. A unit that the report leaves out
        counts as estimated, as missing tokens do; a report that says 0 of a unit names it."""
        if not self._opened.units:
            return usage
        counted = {**dict(self._opened.units), **dict(usage.units)}
        return structs.replace(usage, units=units.in_order(counted))

    def _is_unseen(self, status: str, usage: Usage, usage_source: str) -> bool:
        """Return whether the upstream may have written all it was allowed to without anybody seeing it,
        since an answer that is not streamed shows itself only when it is whole, and some providers go on with
        a stream that was left. The budgets then pay what was held; otherwise a client could leave such calls
        one after another at the operator's expense."""
        if usage_source != "counted" or status in {"completed", "incomplete"}:
            return False
        return self.runs_on or not (self._opened.streamed or usage.output_total > 0)

    def _write_settled(self, record: Settled, usage: Usage, is_unanswered: bool) -> None:
        """Write the settled record. A failed attempt waits in `failed`, if there is such a list, until it
        is known whether another attempt follows."""
        if self.failed is not None and record.status == "failed":
            self.failed.append(record)
        else:
            self._spool_writer.settle(record)

    def _amounts(self, usage: Usage, tier: str) -> tuple[Rated, int, int]:
        """Return what is charged, what would have been charged beyond the hold, and what the call costs
        the operator."""
        whole = self._charged(usage, tier)
        # If the cost is passed on, it need not be rated twice.
        is_passed_on = self._cost is self._charge
        cost = whole if is_passed_on else _rated(usage, tier, self._cost)
        held = self._hold.held
        charge = whole if held is None else whole.capped(held)
        return charge, whole.total - charge.total, cost.total

    def _charged(self, usage: Usage, tier: str) -> Rated:
        """Rate the usage by the call's charge. Remember the result, because a call is funded and settled
        by the same report."""
        known = self._rating
        if known is None or known[0] is not usage or known[1] != tier:
            known = self._rating = (usage, tier, _rated(usage, tier, self._charge))
        return known[2]

    def _tier(self, usage: Usage, reported: str | None) -> str:
        """Return the one service tier for all prices of the call, so that a row can be rated again."""
        served = attribution.served_tier(reported)
        asked = self._opened.service_tier
        return served or unstated_tier(usage, asked, self._charge or self._cost)


def _rated(usage: Usage, tier: str, by: Terms | None) -> Rated:
    return NOTHING if by is None else rate(usage, tier, by)


def _unit_amounts(usage: Usage, charge: Rated) -> tuple[UnitAmount, ...]:
    """Price the units other than tokens, each with its share of the charge."""
    shares = zip(usage.units, charge.of_units(usage.units), strict=True)
    return tuple(UnitAmount(*unit, share) for unit, share in shares)


def output_price(charge: Terms | None, opened: Opened) -> int:
    """Return the price of the dearest output token of such a call in pico-dollars."""
    if charge is None:
        return 0
    return charge.dearest_output(opened.service_tier, opened.input_estimate)
