"""Check that the books agree: rows with sums, sums with lines, entries adding up to nothing, numbers
without gaps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Model, Q, QuerySet, Sum
from django.db.models.functions import TruncDay

from gateway_project.lib.progress import SILENT, ProgressLine
from tenants import triggers, units
from tenants.billing import charges, unit_sums
from tenants.billing.money import cents
from tenants.billing.sum_sql import QUANTITIES
from tenants.billing.sums import IS_HIT, in_utc
from tenants.billing.tax import tax_of
from tenants.models import (
    BillingPeriod,
    CreditEntry,
    CreditTransaction,
    DirtyHour,
    EndUserDay,
    EndUserHour,
    Invoice,
    InvoiceLine,
    InvoiceSequence,
    KeyDay,
    ModelDay,
    ModelHour,
    RetentionHorizon,
    SumsBackfill,
    TenantDeletion,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tenants.models.rollups import UsageSum
from tenants.token_classes import TOKEN_CLASSES

_CALL = ~Q(status=UsageRow.Status.CORRECTION)
_SUMMED = QUANTITIES
DAY = timedelta(days=1)
MAX_FOUND = 100


def examine(progress: ProgressLine = SILENT) -> list[str]:
    """Return a sentence for each difference; empty when everything agrees."""
    checks: tuple[Callable[[], Iterable[object]], ...] = (
        triggers.differences,
        _rows_and_sums,
        _rows_and_their_classes,
        _rows_and_lines,
        _lines_and_totals,
        _tax,
        _entries,
        _numbers,
        _hashes,
    )
    found: list[str] = []
    for check in progress.over(checks, "checks", len(checks)):
        found += map(str, check())
    return found[:MAX_FOUND]


def _rows_and_sums() -> Iterator[str]:
    """Compare by tenant and day; days with hours not summed yet, or whose rows may be gone, are left out."""
    horizon = RetentionHorizon.objects.filter(table="usage").first()
    since = horizon.before if horizon is not None else datetime(1970, 1, 1, tzinfo=UTC)
    rows = UsageRow.objects.filter(opened_at__gte=since)
    of_rows = _figures(rows, "opened_at", Count("pk", filter=_CALL), unit_sums.of_rows)
    hours, days, of_keys = (_of_sums(model, since) for model in (UsageHour, UsageDay, KeyDay))
    backfilled = dict(SumsBackfill.objects.values_list("sums", "reached"))
    reached, of_users_from = backfilled.get("model"), backfilled.get("end_user", since)
    by_model = [_of_sums(model, max(since, reached or since)) for model in (ModelHour, ModelDay)]
    by_end_user = [_of_sums(model, since) for model in (EndUserHour, EndUserDay)]
    deleted = set(TenantDeletion.objects.values_list("tenant_id", flat=True))
    # Read after the rows and sums: what came while they were read is marked.
    marks = DirtyHour.objects.values_list("tenant_id", "hour")
    unsummed = {(tenant, hour.replace(hour=0, minute=0)) for tenant, hour in marks}
    for subject in sorted((of_rows.keys() | hours.keys() | days.keys()) - unsummed):
        found = [figures.get(subject) for figures in (of_rows, hours, days)]
        tenant, day = subject
        if not found[0] == found[1] == found[2]:
            yield f"Rows, hours and days of tenant {tenant} on {day:%Y-%m-%d} differ: {found}."
        # Sums by key alone, by end user and by model have no units beside tokens.
        plain = (found[1] or ())[: 1 + len(_SUMMED)]
        if of_keys.get(subject, ()) != plain:
            yield f"Sums by key of tenant {tenant} on {day:%Y-%m-%d} differ from its hours."
        of_users = [figures.get(subject, ()) for figures in by_end_user]
        if day >= of_users_from and tenant not in deleted and of_users != [plain, plain]:
            yield f"Sums by end user of tenant {tenant} on {day:%Y-%m-%d} differ from its hours."
        if reached is None or day >= reached:
            of_models = [figures.get(subject) for figures in by_model]
            if any((figures or ()) != plain for figures in of_models):
                yield (
                    f"Sums by key and by model of tenant {tenant} on {day:%Y-%m-%d} differ: "
                    f"{[plain, *of_models]}."
                )


def _of_sums(model: type[Model], since: datetime) -> dict[tuple[int, datetime], tuple[Any, ...]]:
    """Return the figures of sums by tenant and day."""
    sums = model._default_manager.filter(starts_at__gte=since)
    is_by_key = issubclass(model, UsageSum)
    units_of = unit_sums.of_sums if is_by_key else lambda *_: ()
    return _figures(sums, "starts_at", Sum("calls"), units_of)


def _figures(
    rows: QuerySet[Any],
    instant: str,
    calls: Any,
    of_units: Callable[..., Iterable[tuple[Any, ...]]],
) -> dict[tuple[int, datetime], tuple[Any, ...]]:
    """Calls, tokens by class and amounts, and quantities of units beside tokens that are not zero."""
    unless_hit = ~IS_HIT if rows.model is UsageRow else None
    sums: dict[str, Any] = {
        f"of_{name}": Sum(name, filter=unless_hit if name in TOKEN_CLASSES else None, default=0)
        for name in _SUMMED
    }
    of_day = rows.order_by().annotate(of_day=TruncDay(instant, tzinfo=UTC))
    found: Any = of_day.values_list("tenant_id", "of_day").annotate(of_calls=calls, **sums)
    figures = {(tenant, day): tuple(figures) for tenant, day, *figures in found}
    for tenant, day, name, quantity, *_ in sorted(of_units(of_day, "tenant_id", "of_day")):
        if quantity:
            figures[tenant, in_utc(day)] += ((name, quantity),)
    return figures


def _rows_and_their_classes() -> Iterator[str]:
    names = [f"charge_{name}" for name in TOKEN_CLASSES]
    sums: dict[str, Any] = {f"of_{name}": Sum(name) for name in (*names, "charge_nano")}
    found = UsageRow.objects.aggregate(**sums)
    total, classes = found["of_charge_nano"] or 0, sum(found[f"of_{name}"] or 0 for name in names)
    for name, _, charge in unit_sums.of_rows(UsageRow.objects.all()):
        classes += charge
        if name not in units.REGISTRY:
            yield f"Rows have {name!r}, which is not a unit of the registry (tenants/units.py)."
    if total != classes:
        yield f"Charges of rows are {total} nano-dollars, those of their classes {classes}."


def _rows_and_lines() -> Iterator[str]:
    """Compare finalized periods: lines are exactly the rows' amounts, apart from what came late.

    Late usage is due with the next invoice. Drafts follow the rows when they are next looked at.
    """
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
    """Tell whether rows of the period were recorded after its last invoice was made."""
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
        if invoice.total_cents != invoice.gross_cents - invoice.credit_cents:
            yield f"Invoice {invoice.pk} is not its subtotal and tax less its credit."


def _tax() -> Iterator[str]:
    """Compare the tax of invoices, less what credit notes took back, with that of what is left of them."""
    of_notes: dict[str, Any] = {
        f"noted_{name}": Sum(
            f"credit_notes__{name}", filter=Q(credit_notes__state="finalized"), default=0
        )
        for name in ("subtotal_cents", "tax_cents")
    }
    for invoice in Invoice.objects.filter(kind="invoice").annotate(**of_notes).iterator():
        left: Any = invoice
        expected = tax_of(
            invoice.subtotal_cents + left.noted_subtotal_cents, invoice.tax_basis_points
        )
        if invoice.tax_cents + left.noted_tax_cents != expected:
            yield f"The tax of invoice {invoice.pk} and its credit notes is not {expected} cents."


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
