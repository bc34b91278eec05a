"""Draft and finalize invoices and credit notes: drafts follow the ledger, finalized ones never change.

A line is the exact sum of an alias and a token class in nano-dollars, rounded once to cents, half up;
totals are sums of rounded lines, and tax is of them (tenants/billing/tax.py). Everything here holds the lock
of the tenant's InvoiceSequence, so that numbers have no gaps, credit is spent once, and of a hundred callers
who finalize an invoice one does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db.models import Sum

from gateway_project.lib import clock
from gateway_project.lib.db import durable_transaction
from tenants.billing import charges, documents
from tenants.billing import credits as prepaid
from tenants.billing.charges import Charges
from tenants.billing.details import InvoiceTerms, terms_of
from tenants.billing.money import NANO_PER_CENT, cents, dollars
from tenants.billing.tax import tax_of
from tenants.models import (
    BillingPeriod,
    CreditTransaction,
    Invoice,
    InvoiceLine,
    InvoiceSequence,
    Tenant,
)

Kind = InvoiceLine.Kind
State = Invoice.State


def draft(period: BillingPeriod) -> Invoice | None:
    """Make the period's draft, or bring it up to date.

    Return None if nothing is charged: the period is then finalized without an invoice.
    """
    with durable_transaction():
        prepaid.lock(period.tenant_id)
        invoice = Invoice.objects.filter(period=period, kind=Invoice.Kind.INVOICE).first()
        if invoice is not None and invoice.state == State.FINALIZED:
            return invoice
        lines = _lines(period)
        if not lines:
            Invoice.objects.filter(period=period, state=State.DRAFT).delete()
            BillingPeriod.objects.filter(pk=period.pk).update(state=BillingPeriod.State.FINALIZED)
            return None
        invoice = invoice or Invoice.objects.create(tenant_id=period.tenant_id, period=period)
        invoice.tax_basis_points = terms_of(period.tenant_id).tax_basis_points
        _rewrite(invoice, lines)
    return invoice


def finalize(invoice_id: int, actor: str = "") -> Invoice | None:
    """Number the invoice, pay it from credit and close it for good.

    A finalized invoice is returned as it is, and None if the ledger leaves nothing to invoice. Raise
    ValidationError for a period that is not closed.
    """
    with durable_transaction():
        tenant_id = Invoice.objects.values_list("tenant_id", flat=True).get(pk=invoice_id)
        sequence = prepaid.lock(tenant_id)
        invoice = Invoice.objects.select_related("period", "tenant").filter(pk=invoice_id).first()
        if invoice is None or invoice.state == State.FINALIZED:
            return invoice
        if invoice.period is None or invoice.period.state != BillingPeriod.State.DRAFT:
            raise ValidationError({"invoice": "Its period is not closed yet."})
        if draft(invoice.period) is None:
            return None
        invoice.refresh_from_db()
        invoice.credit_cents = prepaid.spend(invoice, max(invoice.gross_cents, 0))
        _seal(invoice, sequence, actor, terms_of(tenant_id))
        BillingPeriod.objects.filter(pk=invoice.period.pk).update(
            state=BillingPeriod.State.FINALIZED
        )
    return invoice


def issue(tenant: Tenant | None = None) -> list[Invoice]:
    """Finalize every draft whose period is closed, the oldest period first."""
    drafts = Invoice.objects.filter(
        state=State.DRAFT, period__state=BillingPeriod.State.DRAFT
    ).order_by("tenant", "period__starts_at")
    if tenant is not None:
        drafts = drafts.filter(tenant=tenant)
    done = [finalize(pk, "issue_invoices") for pk in list(drafts.values_list("pk", flat=True))]
    return [invoice for invoice in done if invoice is not None]


def lines_to_credit(invoice: Invoice, lines: object) -> dict[int, int]:
    """Return the cents asked for by the ids of lines. Raise ValidationError."""
    told = "Write a list of objects with position and amount_cents, each line once."
    if not isinstance(lines, list) or not lines:
        raise ValidationError({"lines": told})
    ids, found = dict(invoice.lines.values_list("position", "pk")), dict[int, int]()
    for line in lines:
        position, amount = (
            (line.get("position"), line.get("amount_cents")) if isinstance(line, dict) else (0, 0)
        )
        if type(position) is not int or type(amount) is not int or ids.get(position) in found:
            raise ValidationError({"lines": told})
        if position not in ids:
            raise ValidationError({"lines": f"The invoice has no line {position}."})
        found[ids[position]] = amount
    return found


def credit_note(
    invoice_id: int, amounts: Mapping[int, int], reason: str, actor: str = ""
) -> Invoice:
    """Take back cents of lines of a finalized invoice, by the lines' ids; never more than a line still
    has.

    Tax goes back with them, at the invoice's rate. What the invoice paid from credit becomes credit again.
    """
    if not reason:
        raise ValidationError({"reason": "A credit note needs a reason."})
    with durable_transaction():
        tenant_id = Invoice.objects.values_list("tenant_id", flat=True).get(pk=invoice_id)
        sequence = prepaid.lock(tenant_id)
        of = Invoice.objects.select_related("tenant").get(pk=invoice_id)
        if of.state != State.FINALIZED or of.kind != Invoice.Kind.INVOICE:
            raise ValidationError({"invoice": "Only a finalized invoice can be credited."})
        note = Invoice.objects.create(
            tenant=of.tenant,
            kind=Invoice.Kind.CREDIT_NOTE,
            corrects=of,
            reason=reason,
            tax_basis_points=of.tax_basis_points,
        )
        _rewrite(note, [_taken_back(of, pk, amount) for pk, amount in sorted(amounts.items())])
        note.tax_cents = _tax_taken_back(of, note)
        note.credit_cents = -_refund(of, note, -note.gross_cents)
        _seal(note, sequence, actor, terms_of(tenant_id))
    return note


def _lines(period: BillingPeriod) -> list[InvoiceLine]:
    lines = _as_lines(period, charges.by_rows(period), Kind.USAGE)
    for earlier, changes in charges.with_late_usage(period):
        lines += _as_lines(earlier, changes, Kind.LATE_USAGE)
    return lines


def _as_lines(period: BillingPeriod, found: Charges, kind: str) -> list[InvoiceLine]:
    is_late = kind == Kind.LATE_USAGE
    about = f"Late usage for {period.month}" if is_late else ""
    return [
        InvoiceLine(
            kind=kind,
            usage_period=period,
            alias=alias,
            token_class=name,
            description=about,
            tokens=charge.tokens,
            amount_nano=charge.nano,
            amount_cents=cents(charge.nano),
        )
        for alias, name, charge in charges.in_order(found)
    ]


def _rewrite(invoice: Invoice, lines: Iterable[InvoiceLine]) -> None:
    """Rewrite the lines and totals of a draft."""
    invoice.lines.all().delete()
    numbered = list(lines)
    for position, line in enumerate(numbered, start=1):
        line.invoice, line.position = invoice, position
    InvoiceLine.objects.bulk_create(numbered)
    invoice.subtotal_cents = sum(line.amount_cents for line in numbered)
    invoice.tax_cents = tax_of(invoice.subtotal_cents, invoice.tax_basis_points)
    invoice.total_cents = invoice.gross_cents
    invoice.save(update_fields=["subtotal_cents", "tax_basis_points", "tax_cents", "total_cents"])


def _seal(invoice: Invoice, sequence: InvoiceSequence, actor: str, terms: InvoiceTerms) -> None:
    """Change a draft to finalized, the only such place. What its document says of both sides is copied."""
    sequence.last_number += 1
    sequence.save(update_fields=["last_number"])
    invoice.number = sequence.last_number
    invoice.total_cents = invoice.gross_cents - invoice.credit_cents
    invoice.state, invoice.finalized_at, invoice.finalized_by = State.FINALIZED, clock.now(), actor
    tenant = Tenant.objects.get(pk=invoice.tenant_id)
    issued_on = invoice.finalized_at.astimezone(ZoneInfo(tenant.time_zone)).date()
    if invoice.kind == Invoice.Kind.INVOICE and terms.terms_days is not None:
        invoice.due_on = issued_on + timedelta(days=terms.terms_days)
    lines = list(invoice.lines.all())
    invoice.canonical = documents.canonical(invoice, tenant, lines, terms, issued_on)
    invoice.sha256 = hashlib.sha256(invoice.canonical.encode()).hexdigest()
    invoice.save()


def _taken_back(of: Invoice, line_id: int, amount_cents: int) -> InvoiceLine:
    line = of.lines.filter(pk=line_id).first()
    if line is None:
        raise ValidationError({"lines": f"The invoice has no line {line_id}."})
    earlier = InvoiceLine.objects.filter(corrects=line).aggregate(Sum("amount_cents"))
    rest = line.amount_cents + (earlier["amount_cents__sum"] or 0)
    if not 0 < amount_cents <= rest:
        raise ValidationError(
            {
                "lines": f"Of line {line.position} at most {dollars(rest)} can be credited, and more than 0."
            }
        )
    return InvoiceLine(
        kind=Kind.CREDIT,
        usage_period=line.usage_period,
        alias=line.alias,
        token_class=line.token_class,
        description=f"Credit for line {line.position} of invoice {of.number}",
        amount_nano=-amount_cents * NANO_PER_CENT,
        amount_cents=-amount_cents,
        corrects=line,
    )


def _tax_taken_back(of: Invoice, note: Invoice) -> int:
    """Return the tax of a credit note: what is due on the rest of the invoice, less what was due before."""
    earlier = Invoice.objects.filter(corrects=of, state=State.FINALIZED).aggregate(
        net=Sum("subtotal_cents", default=0), tax=Sum("tax_cents", default=0)
    )
    rest = of.subtotal_cents + earlier["net"] + note.subtotal_cents
    return tax_of(rest, of.tax_basis_points) - of.tax_cents - int(earlier["tax"])


def _refund(of: Invoice, note: Invoice, amount_cents: int) -> int:
    """Refund credit first, as far as it paid the invoice; return how much became credit again."""
    earlier = Invoice.objects.filter(corrects=of, state=State.FINALIZED)
    refunded = -(earlier.aggregate(Sum("credit_cents"))["credit_cents__sum"] or 0)
    amount = min(amount_cents, of.credit_cents - refunded)
    if amount <= 0:
        return 0
    prepaid.refund(of.tenant_id, amount, f"credit_note:{note.pk}", invoice=note)
    return amount


def spent_on(invoice: Invoice) -> int:
    """Return what its credit movements paid of it; equals `credit_cents`."""
    found = CreditTransaction.objects.filter(invoice=invoice, entries__account="credit")
    return -int(found.aggregate(total=Sum("entries__amount_cents"))["total"] or 0)
