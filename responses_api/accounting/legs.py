"""One upstream call in the books, from before it is sent until it has ended.

hold    its budgets set aside what its input and its first output may cost
open    its record is in the spool before the upstream sees a byte
note    while it runs: what was counted so far, and more is held before more is forwarded
settle  once, without awaiting: priced, capped by what was held, and in the spool
"""

from __future__ import annotations

from gateway_project.lib import clock
from gateway_project.lib.errors import (
    IdempotencyKeyLost,
    UpstreamCut,
    UpstreamError,
    UpstreamMalformed,
    UpstreamTimeout,
)
from responses_api.accounting import facts
from responses_api.accounting.books import Books
from responses_api.accounting.call_hold import CallHold
from responses_api.accounting.final_usage import final_usage
from responses_api.idempotency.ownership import Ownership
from responses_api.relay import Relay
from routing.transport import Answer
from tenants.budgets.accounts import Hold
from tenants.ledger.records import Noted, Opened, Settled
from tenants.prices.rating import NOTHING, Rated, Terms, rate, unstated_tier
from tenants.token_classes import Usage

# After these nobody knows whether the upstream did what it was asked.
MAY_HAVE_RUN = (UpstreamCut, UpstreamTimeout, UpstreamMalformed)
NOTE_TOKENS = 64
NOTE_SECONDS = 0.5


class Leg(CallHold):
    """`opened` is the record in the spool; `charge` and `cost` are the prices that counted then. What is held
    is held for the charge."""

    __slots__ = (
        "_books", "_charge", "_cost", "_noted_at", "_noted_tokens", "_opened", "_opened_at", "_rating",
        "ownership", "sent_at", "settled", "used_tokens",
    )  # fmt: skip

    def __init__(
        self,
        books: Books,
        opened: Opened,
        hold: Hold,
        charge: Terms | None,
        cost: Terms | None,
        reserved_input: int,
    ) -> None:
        super().__init__(hold, reserved_input, output_price(charge, opened))
        self._books = books
        self._opened = opened
        self._charge = charge
        self._cost = cost
        self._opened_at = self._noted_at = self.sent_at = clock.monotonic()
        self._noted_tokens = 0
        self._rating: tuple[Usage, str | None, Rated] | None = None
        self.ownership: Ownership | None = None
        self.settled = False
        self.used_tokens = 0

    @property
    def input_estimate(self) -> int:
        return self._opened.input_estimate

    # While it runs

    def note(self, tokens: int, ttft_ms: int | None) -> None:
        """Called with every piece; writes a record every 64 tokens or half a second."""
        now = clock.monotonic()
        if tokens - self._noted_tokens < NOTE_TOKENS and now - self._noted_at < NOTE_SECONDS:
            return
        self._noted_tokens, self._noted_at = tokens, now
        elapsed_ms = int((now - self._opened_at) * 1000)
        held, list_held = self._hold.held, self._list_held()
        self._books.note(Noted(self._opened.id, tokens, elapsed_ms, held, ttft_ms, list_held))

    async def fund(self, usage: Usage, service_tier: str | None) -> None:
        """Hold what the finished answer costs, as far as the budgets have it."""
        held = self._hold.held
        if held is None or self._charge is None:
            return
        missing = self._charged(usage, service_tier).total - held
        if missing > 0:
            await self.extend_up_to(missing)

    def _list_held(self) -> int | None:
        """What budgets that count list prices hold."""
        return None

    # Its end

    def settle(
        self,
        *,
        status: str,
        usage: Usage,
        usage_source: str,
        http_status: int = 0,
        error_code: str | None = None,
        service_tier: str | None = None,
        ttft_ms: float | None = None,
        overhead_seconds: float = 0.0,
        is_unanswered: bool = False,
    ) -> None:
        """Once; further calls change nothing. `is_unanswered`: nobody is charged, but the budgets pay all the
        same, so that what costs the operator cannot be repeated without end."""
        if self.settled:
            return
        self.settled = True
        self.used_tokens = usage.total
        charge, unfunded, cost_nano = self._amounts(usage, service_tier)
        waived = 0
        if self.ownership is not None and not self.ownership.holds:
            charge, unfunded, error_code = NOTHING, 0, IdempotencyKeyLost.code
        else:
            counted = charge.total
            if is_unanswered:
                unfunded, charge = unfunded + counted, NOTHING
            if self._hold.held is not None:
                is_unseen = self._is_unseen(status, usage_source)
                waived = (self._hold.held if is_unseen else counted) - charge.total
        self.pay(charge.total + waived)
        record = Settled(
            id=self._opened.id,
            status=status,
            usage_source=usage_source,
            tokens=usage.counts,
            cost_nano=cost_nano,
            charges_nano=charge.by_class,
            duration_ms=int((clock.monotonic() - self._opened_at) * 1000),
            unfunded_nano=unfunded,
            waived_nano=waived,
            usage_anomaly=usage.anomaly,
            http_status=http_status,
            error_code=(error_code or "")[:100],
            service_tier=self._tier(usage, service_tier),
            ttft_ms=None if ttft_ms is None else int(ttft_ms),
            overhead_us=max(int(overhead_seconds * 1_000_000), 0),
        )
        self._write_settled(record, usage, is_unanswered)

    def _is_unseen(self, status: str, usage_source: str) -> bool:
        """Return whether the upstream may have written all it was allowed to, and nobody saw any of it: an
        answer that is not streamed shows itself only when it is whole. The budgets pay what was held, or
        leaving such calls one after the other would cost the operator without end."""
        is_over = status in {"completed", "incomplete"}
        return not self._opened.streamed and not is_over and usage_source == "counted"

    def _write_settled(self, record: Settled, usage: Usage, is_unanswered: bool) -> None:
        self._books.settle(record)

    def _amounts(self, usage: Usage, service_tier: str | None) -> tuple[Rated, int, int]:
        """What is charged, what would have been beyond what was held, and what it costs us."""
        whole = self._charged(usage, service_tier)
        # Where the cost is passed on, it need not be rated twice.
        is_passed_on = self._cost is self._charge
        cost = whole if is_passed_on else self._rated(usage, service_tier, self._cost)
        held = self._hold.held
        charge = whole if held is None else whole.capped(held)
        return charge, whole.total - charge.total, cost.total

    def _charged(self, usage: Usage, service_tier: str | None) -> Rated:
        """By its charge; once where a call is funded and settled by the same report."""
        known = self._rating
        if known is None or known[0] is not usage or known[1] != service_tier:
            rated = self._rated(usage, service_tier, self._charge)
            known = self._rating = (usage, service_tier, rated)
        return known[2]

    def _rated(self, usage: Usage, service_tier: str | None, by: Terms | None) -> Rated:
        if by is None:
            return NOTHING
        return rate(usage, self._tier(usage, service_tier), by)

    def _tier(self, usage: Usage, reported: str | None) -> str:
        """One for all prices of the call, so that a row can be rated again."""
        served = facts.served_tier(reported)
        asked = self._opened.service_tier
        return served or unstated_tier(usage, asked, self._charge or self._cost)


def settle_whole(
    leg: Leg, relay: Relay, answer: Answer | None, failure: BaseException | None
) -> None:
    """A call for a whole answer that nobody but us waits for, however it ended."""
    if relay.ended:
        usage, source = final_usage(relay, leg.input_estimate)
        status = "completed"
    elif never_ran(failure, answer):
        status, usage, source = "failed", Usage(), "none"
    else:
        status, usage, source = "failed", Usage(input_fresh=leg.input_estimate), "counted"
    leg.settle(
        status=status,
        usage=usage,
        usage_source=source,
        http_status=answer.status if answer is not None else 0,
        service_tier=relay.service_tier,
        is_unanswered=status == "failed" and isinstance(failure, UpstreamError),
    )


def never_ran(failure: BaseException | None, answer: Answer | None) -> bool:
    """Whether the provider surely ran nothing: it refused the call, could not be reached, or what answered
    was another server's page."""
    if answer is not None and (answer.status >= 400 or answer.content_type == "text/html"):
        return True
    return isinstance(failure, UpstreamError) and not isinstance(failure, MAY_HAVE_RUN)


def output_price(charge: Terms | None, opened: Opened) -> int:
    """Pico-dollars of the dearest output token of such a call."""
    if charge is None:
        return 0
    return charge.dearest_output(opened.service_tier, opened.input_estimate)
