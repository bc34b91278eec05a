"""What usage of a period is charged, per alias and token class: by its rows, and by the lines so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Sum

from tenants.billing import sums
from tenants.models import BillingPeriod, Invoice, InvoiceLine, RetentionHorizon, UsageRow
from tenants.token_classes import TOKEN_CLASSES

Subject = tuple[str, str]  # alias and token class
Kind = InvoiceLine.Kind


@dataclass(frozen=True, slots=True)
class Charge:
    tokens: int = 0
    nano: int = 0

    def __sub__(self, other: Charge) -> Charge:
        return Charge(self.tokens - other.tokens, self.nano - other.nano)


Charges = dict[Subject, Charge]


def by_rows(period: BillingPeriod) -> Charges:
    """The exact sums of the ledger. What costs nothing is not in it."""
    names = [*TOKEN_CLASSES, *(f"charge_{name}" for name in TOKEN_CLASSES)]
    rows = UsageRow.objects.filter(
        tenant_id=period.tenant_id, opened_at__gte=period.starts_at, opened_at__lt=period.ends_at
    )
    found: Charges = {}
    figures: dict[str, Any] = {f"of_{name}": Sum(name) for name in names}
    by_alias: Any = rows.order_by().values("alias").annotate(**figures)
    for row in by_alias:
        for name in TOKEN_CLASSES:
            charge = Charge(row[f"of_{name}"], row[f"of_charge_{name}"])
            if charge.nano:
                found[row["alias"], name] = charge
    return found


def by_lines(period: BillingPeriod) -> Charges:
    """What finalized invoices charge for the period's usage, late or in time."""
    lines = InvoiceLine.objects.filter(
        usage_period=period,
        kind__in=(Kind.USAGE, Kind.LATE_USAGE),
        invoice__state=Invoice.State.FINALIZED,
    )
    found = lines.order_by().values_list("alias", "token_class")
    return {
        (alias, name): Charge(tokens, nano)
        for alias, name, tokens, nano in found.annotate(Sum("tokens"), Sum("amount_nano"))
    }


def late(period: BillingPeriod) -> Charges:
    """By how much the ledger and the lines of a finalized period differ."""
    if _nano_by_alias(period) == _nano_by_alias_of(by_lines(period).items()):
        return {}
    now, invoiced = by_rows(period), by_lines(period)
    changes = {
        subject: now.get(subject, Charge()) - invoiced.get(subject, Charge())
        for subject in now.keys() | invoiced.keys()
    }
    return {subject: change for subject, change in changes.items() if change.nano}


def with_late_usage(before: BillingPeriod) -> list[tuple[BillingPeriod, Charges]]:
    """Earlier finalized periods whose rows say something else than their lines, the oldest first.

    Periods whose rows may be deleted are left alone. Sums by alias tell at once that nothing came late.
    """
    finalized = BillingPeriod.objects.filter(
        tenant_id=before.tenant_id,
        starts_at__lt=before.starts_at,
        state=BillingPeriod.State.FINALIZED,
    )
    horizon = RetentionHorizon.objects.filter(table="usage").first()
    if horizon is not None:
        finalized = finalized.filter(starts_at__gte=horizon.before)
    found = [(period, late(period)) for period in finalized.order_by("starts_at")]
    return [(period, changes) for period, changes in found if changes]


def in_order(charges: Charges) -> Iterable[tuple[str, str, Charge]]:
    """By alias, and then in the order of TOKEN_CLASSES."""
    subjects = sorted(charges, key=lambda s: (s[0], TOKEN_CLASSES.index(s[1])))
    return [(*subject, charges[subject]) for subject in subjects]


def _nano_by_alias(period: BillingPeriod) -> dict[str, int]:
    found = sums.totals(period.tenant_id, period.starts_at, period.ends_at, "alias")
    return {str(total.group): total["charge_nano"] for total in found if total["charge_nano"]}


def _nano_by_alias_of(charges: Iterable[tuple[Subject, Charge]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for (alias, _), charge in charges:
        found[alias] = found.get(alias, 0) + charge.nano
    return {alias: nano for alias, nano in found.items() if nano}
