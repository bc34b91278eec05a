"""Whether the books agree: rows with sums, sums with lines, entries with nothing, numbers with a count."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncDay

from tenants import triggers
from tenants.billing import charges
from tenants.billing.money import cents
from tenants.models import (
    BillingPeriod,
    CreditEntry,
    CreditTransaction,
    DirtyHour,
    Invoice,
    InvoiceLine,
    InvoiceSequence,
    RetentionHorizon,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tenants.token_classes import TOKEN_CLASSES

_CALL = ~Q(status=UsageRow.Status.CORRECTION)
_SUMMED = (*TOKEN_CLASSES, "cost_nano", "charge_nano", "unfunded_nano")
DAY = timedelta(days=1)
MAX_FOUND = 100


def examine() -> list[str]:
    """What differs, a sentence each; empty when everything agrees."""
    checks = (
        *(f"{sentence}" for sentence in triggers.differences()),
        *_rows_and_sums(),
        *_rows_and_their_classes(),
        *_rows_and_lines(),
        *_lines_and_totals(),
        *_entries(),
        *_numbers(),
        *_hashes(),
    )
    return list(checks[:MAX_FOUND])


def _rows_and_sums() -> Iterator[str]:
    """By tenant and day; days with hours that are not summed yet, or whose rows may be gone, are left out."""
    horizon = RetentionHorizon.objects.filter(table="usage").first()
    since = horizon.before if horizon is not None else datetime(1970, 1, 1, tzinfo=UTC)
    rows = UsageRow.objects.filter(opened_at__gte=since)
    of_rows = _figures(rows, "opened_at", Count("pk", filter=_CALL))
    hours = _figures(UsageHour.objects.filter(starts_at__gte=since), "starts_at", Sum("calls"))
    days = _figures(UsageDay.objects.filter(starts_at__gte=since), "starts_at", Sum("calls"))
    # Read after the rows and sums: what came while they were read is marked.
    marks = DirtyHour.objects.values_list("tenant_id", "hour")
    unsummed = {(tenant, hour.replace(hour=0, minute=0)) for tenant, hour in marks}
    for subject in sorted((of_rows.keys() | hours.keys() | days.keys()) - unsummed):
        found = [figures.get(subject) for figures in (of_rows, hours, days)]
        if not found[0] == found[1] == found[2]:
            tenant, day = subject
            yield f"Rows, hours and days of tenant {tenant} on {day:%Y-%m-%d} differ: {found}."


def _figures(
    rows: QuerySet[Any], instant: str, calls: Any
) -> dict[tuple[int, datetime], tuple[int, ...]]:
    sums: dict[str, Any] = {f"of_{name}": Sum(name) for name in _SUMMED}
    found: Any = (
        rows.order_by()
        .annotate(of_day=TruncDay(instant, tzinfo=UTC))
        .values_list("tenant_id", "of_day")
        .annotate(of_calls=calls, **sums)
    )
    return {(tenant, day): tuple(figures) for tenant, day, *figures in found}


def _rows_and_their_classes() -> Iterator[str]:
    names = [f"charge_{name}" for name in TOKEN_CLASSES]
    sums: dict[str, Any] = {f"of_{name}": Sum(name) for name in (*names, "charge_nano")}
    found = UsageRow.objects.aggregate(**sums)
    total, classes = found["of_charge_nano"] or 0, sum(found[f"of_{name}"] or 0 for name in names)
    if total != classes:
        yield f"Charges of rows are {total} nano-dollars, those of their classes {classes}."


def _rows_and_lines() -> Iterator[str]:
    """Finalized periods: the lines' exact amounts are the rows', but for what came late since and is due with
    the next invoice. Drafts follow the rows when they are looked at again."""
    horizon = RetentionHorizon.objects.filter(table="usage").first()
    periods = BillingPeriod.objects.filter(state=BillingPeriod.State.FINALIZED)
    if horizon is not None:
        periods = periods.filter(starts_at__gte=horizon.before)
    for period in periods:
        late = charges.late(period)
        if late and not _came_late(period):
            nano = sum(charge.nano for charge in late.values())
            yield f"Rows and lines of {period} differ by {nano} nano-dollars, but nothing came late."


def _came_late(period: BillingPeriod) -> bool:
    """Whether rows of the period were recorded after what it was last invoiced by."""
    lines = InvoiceLine.objects.filter(usage_period=period, invoice__finalized_at__isnull=False)
    last = lines.order_by("-invoice__finalized_at").values_list("invoice__finalized_at", flat=True)
    since = last.first() or period.closed_at or period.ends_at
    return UsageRow.objects.filter(
        tenant_id=period.tenant_id,
        opened_at__gte=period.starts_at,
        opened_at__lt=period.ends_at,
        recorded_at__gte=since,
    ).exists()


def _lines_and_totals() -> Iterator[str]:
    for line in InvoiceLine.objects.exclude(kind=InvoiceLine.Kind.CREDIT).iterator():
        if line.amount_cents != cents(line.amount_nano):
            yield f"Line {line.pk} is {line.amount_nano} nano-dollars, but {line.amount_cents} cents."
    for invoice in Invoice.objects.annotate(of_lines=Sum("lines__amount_cents")).iterator():
        if invoice.subtotal_cents != (invoice.of_lines or 0):
            yield f"Invoice {invoice.pk} is {invoice.subtotal_cents} cents, its lines {invoice.of_lines}."
        if invoice.total_cents != invoice.subtotal_cents - invoice.credit_cents:
            yield f"Invoice {invoice.pk} is not its subtotal less its credit."


def _entries() -> Iterator[str]:
    sums = CreditTransaction.objects.annotate(total=Sum("entries__amount_cents"))
    for movement in sums.exclude(total=0).iterator():
        yield f"The entries of credit movement {movement.pk} add up to {movement.total} cents."
    credit = CreditEntry.objects.filter(account=CreditEntry.Account.CREDIT).order_by()
    balances = credit.values_list("transaction__tenant").annotate(total=Sum("amount_cents"))
    for tenant, total in balances.filter(total__lt=0):
        yield f"The credit of tenant {tenant} is {total} cents."


def _numbers() -> Iterator[str]:
    last = dict(InvoiceSequence.objects.values_list("tenant_id", "last_number"))
    numbered = Invoice.objects.filter(number__isnull=False).order_by("tenant_id", "number")
    given: dict[int, list[int]] = {}
    for tenant, number in numbered.values_list("tenant_id", "number"):
        given.setdefault(tenant, []).append(number or 0)
    for tenant in sorted(last.keys() | given.keys()):
        numbers = given.get(tenant, [])
        if numbers != list(range(1, last.get(tenant, 0) + 1)):
            yield f"The invoice numbers of tenant {tenant} have a gap."


def _hashes() -> Iterator[str]:
    for invoice in Invoice.objects.filter(state=Invoice.State.FINALIZED).iterator():
        if hashlib.sha256(invoice.canonical.encode()).hexdigest() != invoice.sha256:
            yield f"The document of invoice {invoice.pk} is not the one that was finalized."
