"""Find invoices by what people type, finalize and credit them, and tell them as commands print them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from gateway_project.lib import actor
from gateway_project.lib.commands import CommandResult, parse_field
from tenants.audit import events
from tenants.billing import documents, invoices, report
from tenants.billing.instants import parsed_month
from tenants.billing.money import dollars
from tenants.models import Invoice, Tenant

MOST_LISTED = 10_000
KINDS = ("pdf", "html", "csv")
_NUMBERED = re.compile(r"(.+)-([1-9]\d{0,8})\Z")
_ID = re.compile(r"[1-9]\d{0,17}\Z")
_HEADINGS = (
    "id",
    "tenant",
    "number",
    "kind",
    "month",
    "state",
    "amount",
    "credit",
    "to pay",
    "due",
)


def newest(
    tenant: Tenant | None, *, state: str | None, month: str | None, limit: int
) -> list[Invoice]:
    """Return invoices and credit notes, newest first."""
    if not 1 <= limit <= MOST_LISTED:
        raise ValidationError({"limit": f"Write a number between 1 and {MOST_LISTED}."})
    found = Invoice.objects.select_related("tenant", "period", "corrects").defer("canonical")
    if tenant is not None:
        found = found.filter(tenant=tenant)
    if state is not None:
        found = found.filter(state=state)
    if month is not None:
        middle = parsed_month(month, "UTC")[0] + timedelta(days=15)
        found = found.filter(period__starts_at__lte=middle, period__ends_at__gt=middle)
    return list(found.order_by("-created_at", "-pk")[:limit])


def find(text: str) -> Invoice:
    """Return an invoice by its id, or by its tenant's slug and its number. Raise ValidationError."""
    rows = Invoice.objects.select_related("tenant", "period", "corrects")
    if _ID.match(text):
        rows = rows.filter(pk=text)
    elif match := _NUMBERED.match(text):
        rows = rows.filter(tenant__slug=match[1], number=match[2])
    else:
        raise ValidationError(
            {"id": f"{text[:80]!r} is not an id; write one such as 12 or acme-7."}
        )
    found = rows.first()
    if found is None:
        raise ValidationError({"id": f"There is no invoice {text[:80]!r}; see list_invoices."})
    return found


def fields(invoice: Invoice) -> dict[str, Any]:
    """Return what JSON has of an invoice beside its document."""
    return {
        "id": invoice.pk,
        "tenant": invoice.tenant.slug,
        "number": invoice.number,
        "kind": invoice.kind,
        "state": invoice.state,
        "month": None if invoice.period is None else invoice.period.month,
        "corrects": None if invoice.corrects is None else invoice.corrects.number,
        "currency": invoice.currency,
        "subtotal_cents": invoice.subtotal_cents,
        "tax_basis_points": invoice.tax_basis_points,
        "tax_cents": invoice.tax_cents,
        "gross_cents": invoice.gross_cents,
        "credit_cents": invoice.credit_cents,
        "total_cents": invoice.total_cents,
        "due_on": None if invoice.due_on is None else invoice.due_on.isoformat(),
        "sha256": invoice.sha256,
    }


def table(found: Sequence[Invoice]) -> str:
    """Return a line per invoice."""
    if not found:
        return "There are none."
    return report.aligned([_HEADINGS, *(_cells(invoice) for invoice in found)])


def shown(invoice: Invoice) -> CommandResult:
    """Tell an invoice with its lines; `document` is what was finalized, null for a draft."""
    is_final = invoice.state == Invoice.State.FINALIZED
    document = json.loads(invoice.canonical) if is_final else None
    _record_export(invoice, "json")
    return CommandResult({**fields(invoice), "document": document}, _in_words(invoice, document))


def write(invoice: Invoice, files: Mapping[str, str]) -> CommandResult:
    """Write the document of a finalized invoice into files, by their kind."""
    if invoice.state != Invoice.State.FINALIZED:
        raise ValidationError({"id": "It is a draft, which has no document: finalize_invoice."})
    for kind, file in files.items():
        written = documents.written(invoice.canonical, kind)
        content = written.encode() if isinstance(written, str) else written
        try:
            Path(file).write_bytes(content)
        except OSError as error:
            raise ValidationError({kind: f"{file} cannot be written: {error.strerror}."}) from error
        _record_export(invoice, kind)
    paths = ", ".join(files.values())
    return CommandResult({**fields(invoice), "files": dict(files)}, f"Written: {paths}.")


def finalize(text: str) -> CommandResult:
    """Give a draft its number, and close it."""
    draft = find(text)
    if draft.state != Invoice.State.DRAFT:
        raise ValidationError({"id": "The invoice is finalized already."})
    if invoices.finalize(draft.pk, _who()) is None:
        raise ValidationError({"id": "The ledger leaves nothing to invoice for its period."})
    return shown(find(str(draft.pk)))


def credit(text: str, lines: Sequence[str], reason: str) -> CommandResult:
    """Take back cents of lines, each given as POSITION=CENTS, by a credit note."""
    invoice = find(text)
    asked = [parse_field("line", _line_to_credit, line) for line in lines]
    amounts = invoices.lines_to_credit(invoice, asked)
    note = invoices.credit_note(invoice.pk, amounts, reason[:300], _who())
    return shown(find(str(note.pk)))


def _line_to_credit(text: str) -> dict[str, int]:
    match = re.fullmatch(r"([0-9]{1,9})=([0-9]{1,18})", text)
    if match is None:
        raise ValueError(f"{text[:80]!r} is not a position and cents, such as 1=250.")
    return {"position": int(match[1]), "amount_cents": int(match[2])}


def _who() -> str:
    return actor.current().name[:200]


def _record_export(invoice: Invoice, kind: str) -> None:
    if invoice.state == Invoice.State.FINALIZED:
        with transaction.atomic():
            events.record(
                "invoice.exported", tenant_id=invoice.tenant_id, row=invoice, details={"as": kind}
            )


def _cells(invoice: Invoice) -> tuple[str, ...]:
    told = fields(invoice)
    return (
        str(invoice.pk),
        told["tenant"],
        str(invoice.number or "-"),
        invoice.kind,
        told["month"] or "-",
        invoice.state,
        dollars(invoice.gross_cents),
        dollars(invoice.credit_cents),
        dollars(invoice.total_cents),
        told["due_on"] or "-",
    )


def _in_words(invoice: Invoice, document: dict[str, Any] | None) -> str:
    """Return the text of the document or, of a draft, its lines and what they come to."""
    if document is None:
        lines = list(invoice.lines.select_related("usage_period", "corrects").order_by("position"))
        told = documents.told_draft(invoice, lines)
    else:
        told = documents.told(document)
    rows = [
        (line["text"], line["quantity"], line["exact"], line["amount"]) for line in told["lines"]
    ]
    totals = [(name, "", "", amount) for name, amount in told["totals"]]
    table = report.aligned([told["headings"], *rows, *totals])
    parts = [told["title"], *_parts(told), table, *("\n".join(each) for each in told["notes"])]
    return "\n\n".join(part for part in parts if part)


def _parts(told: dict[str, Any]) -> list[str]:
    return ["\n".join(told[name]) for name in ("issuer", "customer", "about")]
