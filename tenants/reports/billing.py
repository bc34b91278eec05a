"""Answer questions about bills: what closing a month comes to, and what prepaid credit is left."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from gateway_project.lib import clock
from tenants.billing import credits as prepaid
from tenants.billing import periods, sums
from tenants.models import BillingPeriod, CreditEntry, CreditTransaction, Invoice, InvoiceLine


@dataclass(frozen=True, slots=True)
class PeriodUsage:
    """The use of a billing period so far: upstream calls, and their charge in nano-dollars."""

    calls: int
    charge_nano: int
    is_over: bool
    is_complete: bool  # every call opened in it has its row


NOTHING = (0, 0)


def usage_of(asked: Iterable[BillingPeriod]) -> dict[int, PeriodUsage]:
    """Return what each of these periods comes to, with as many queries for tenants that share their months
    as for one."""
    now, by_span = clock.now(), dict[tuple[datetime, datetime], list[BillingPeriod]]()
    for period in asked:
        by_span.setdefault((period.starts_at, period.ends_at), []).append(period)
    found: dict[int, PeriodUsage] = {}
    for (start, end), sharing in by_span.items():
        known = _used(sharing, start, end)
        complete = periods.is_complete(end)
        for period in sharing:
            calls, nano = known.get(period.tenant_id, NOTHING)
            found[period.pk] = PeriodUsage(calls, nano, end <= now, complete)
    return found


def _used(
    sharing: list[BillingPeriod], start: datetime, end: datetime
) -> dict[int, tuple[int, int]]:
    """Return calls and charge by tenant."""
    asked = sharing[0].tenant_id if len(sharing) == 1 else None
    totals = sums.totals(asked, start, end, None if asked else "tenant")
    return {
        asked or int(str(total.group)): (total["calls"], total["charge_nano"]) for total in totals
    }


@dataclass(frozen=True, slots=True)
class CreditLeft:
    """The rest of one grant, refund or adjustment."""

    movement: CreditTransaction
    rest_cents: int


@dataclass(frozen=True, slots=True)
class CreditStanding:
    """A tenant's prepaid credit: the balance, and where it comes from in the order in which it is used."""

    balance_cents: int
    left: tuple[CreditLeft, ...]


def credit_standing(tenant_id: int) -> CreditStanding:
    """Return what a tenant has in prepaid credit."""
    sources = prepaid.sources_left(tenant_id)
    movements = CreditTransaction.objects.in_bulk([source.id for source in sources])
    left = tuple(CreditLeft(movements[source.id], source.rest_cents) for source in sources)
    return CreditStanding(prepaid.balance(tenant_id), left)


MOST_BALANCES = 20


def balances(tenants: Collection[int] | None) -> list[tuple[str, str, int]]:
    """Return the largest balances, as slug, name and cents; None asks about all tenants."""
    entries = CreditEntry.objects.filter(account=CreditEntry.Account.CREDIT)
    if tenants is not None:
        entries = entries.filter(transaction__tenant__in=tenants)
    names = ("transaction__tenant__slug", "transaction__tenant__name")
    summed = entries.order_by().values_list(*names).annotate(balance=Sum("amount_cents"))
    return list(summed.exclude(balance=0).order_by("-balance", names[0])[:MOST_BALANCES])


@dataclass(frozen=True, slots=True)
class CreditableLine:
    """A line of an invoice, and how many cents of it credit notes have not taken back."""

    line: InvoiceLine
    left_cents: int


def creditable(invoice: Invoice) -> list[CreditableLine]:
    """Return the lines of which a credit note can take something back."""
    lines = list(invoice.lines.order_by("position"))
    taken = InvoiceLine.objects.filter(corrects__in=lines).order_by().values_list("corrects")
    given_back = dict(taken.annotate(Sum("amount_cents")))
    found = [CreditableLine(line, line.amount_cents + given_back.get(line.pk, 0)) for line in lines]
    return [each for each in found if each.left_cents > 0]
