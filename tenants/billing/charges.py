"""Compute what usage of a period is charged, per alias and class: by its rows, and by the lines so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet, Sum

from tenants import units
from tenants.billing import sums, unit_sums
from tenants.models import BillingPeriod, Invoice, InvoiceLine, RetentionHorizon, UsageRow
from tenants.token_classes import TOKEN_CLASSES

Subject = tuple[str, str]  # alias and class of the registry (tenants/units.py)
Kind = InvoiceLine.Kind


@dataclass(frozen=True, slots=True)
class Charge:
    """`tokens` is the quantity of the class, of other units too."""

    tokens: int = 0
    nano: int = 0

    def __sub__(self, other: Charge) -> Charge:
        return Charge(self.tokens - other.tokens, self.nano - other.nano)


Charges = dict[Subject, Charge]


def by_rows(period: BillingPeriod) -> Charges:
    """Return the exact sums of the ledger, without what costs nothing."""
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
    for alias, name, quantity, nano in unit_sums.of_rows(rows, "alias"):
        if nano:
            found[alias, name] = Charge(quantity, nano)
    return found


def by_lines(period: BillingPeriod) -> Charges:
    """Return what finalized invoices charge for the period's usage, late or in time."""
    lines = _usage_lines().filter(usage_period=period)
    found = lines.order_by().values_list("alias", "token_class")
    return {
        (alias, name): Charge(tokens, nano)
        for alias, name, tokens, nano in found.annotate(Sum("tokens"), Sum("amount_nano"))
    }


def late(period: BillingPeriod) -> Charges:
    """Return by how much the ledger and the lines of a finalized period differ."""
    return dict(_differing(period.tenant_id, [period])).get(period, {})


def _differing(
    tenant_id: int, periods: Sequence[BillingPeriod]
) -> list[tuple[BillingPeriod, Charges]]:
    """Return the periods whose rows differ from their lines. Sums by alias show for all at once in which."""
    of_rows, of_lines = _charged(tenant_id, periods), _invoiced(periods)
    found = [
        (period, _changes(period))
        for period, charged in zip(periods, of_rows, strict=True)
        if charged != of_lines.get(period.pk, {})
    ]
    return [(period, changes) for period, changes in found if changes]


def _changes(period: BillingPeriod) -> Charges:
    now, invoiced = by_rows(period), by_lines(period)
    changes = {
        subject: now.get(subject, Charge()) - invoiced.get(subject, Charge())
        for subject in now.keys() | invoiced.keys()
    }
    return {subject: change for subject, change in changes.items() if change.nano}


def with_late_usage(before: BillingPeriod) -> list[tuple[BillingPeriod, Charges]]:
    """Return earlier finalized periods whose rows differ from their lines, the oldest first.

    Periods whose rows may be deleted are left alone.
    """
    finalized = BillingPeriod.objects.filter(
        tenant_id=before.tenant_id,
        starts_at__lt=before.starts_at,
        state=BillingPeriod.State.FINALIZED,
    )
    horizon = RetentionHorizon.objects.filter(table="usage").first()
    if horizon is not None:
        finalized = finalized.filter(starts_at__gte=horizon.before)
    return _differing(before.tenant_id, list(finalized.order_by("starts_at")))


def in_order(charges: Charges) -> Iterable[tuple[str, str, Charge]]:
    """Sort by alias, and then in the order of the registry."""
    subjects = sorted(charges, key=lambda subject: (subject[0], units.place(subject[1])))
    return [(*subject, charges[subject]) for subject in subjects]


def _charged(tenant_id: int, periods: Sequence[BillingPeriod]) -> list[dict[str, int]]:
    """Return what the ledger charges in each period, by alias."""
    spans = [(period.starts_at, period.ends_at) for period in periods]
    return [_without_zeros(found) for found in sums.charged_in(tenant_id, spans)]


def _invoiced(periods: Sequence[BillingPeriod]) -> dict[int, dict[str, int]]:
    """Return what finalized invoices charge for the usage of each period, by alias."""
    found: dict[int, dict[str, int]] = {}
    lines = _usage_lines().filter(usage_period__in=periods).order_by()
    by_alias = lines.values_list("usage_period", "alias").annotate(Sum("amount_nano"))
    for period, alias, nano in by_alias:
        found.setdefault(period, {})[alias] = nano
    return {period: _without_zeros(of_period) for period, of_period in found.items()}


def _usage_lines() -> QuerySet[InvoiceLine]:
    return InvoiceLine.objects.filter(
        kind__in=(Kind.USAGE, Kind.LATE_USAGE), invoice__state=Invoice.State.FINALIZED
    )


def _without_zeros(amounts: dict[str, int]) -> dict[str, int]:
    return {alias: nano for alias, nano in amounts.items() if nano}
