"""Render a finalized invoice: canonical JSON, and HTML and PDF made of nothing else.

The JSON has sorted keys, no spaces, and only whole numbers and text; its SHA-256 stands beside it. The
same JSON always makes the same HTML and the same PDF, byte by byte: documents of format 1, which name no
issuer and no tax, go on looking as they did, and those before format 3 name classes of tokens as rows do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from django.template.loader import render_to_string

from gateway_project.lib import csv_text
from tenants import units
from tenants.billing import paper
from tenants.billing.details import InvoiceTerms, lines_of
from tenants.billing.money import dollars
from tenants.billing.tax import percent
from tenants.models import BillingDetails, BillingPeriod, Invoice, InvoiceLine, Tenant
from tenants.token_classes import TOKEN_CLASSES

FORMAT = 3
TITLES = {"invoice": "Invoice", "credit_note": "Credit note"}
_CSV = (
    *("invoice", "position", "kind", "month", "alias", "description"),
    *("class", "quantity", "exact_usd", "usd"),
)
_HEADINGS = ("Usage", "Tokens", "Exact", "USD")


def canonical(
    invoice: Invoice,
    tenant: Tenant,
    lines: Sequence[InvoiceLine],
    terms: InvoiceTerms,
    issued_on: date,
) -> str:
    period, corrects = invoice.period, invoice.corrects
    document = {
        "format": FORMAT,
        "kind": invoice.kind,
        "number": invoice.number,
        "issuer": _side(terms.issuer, ("payment", "note")),
        "customer": _side(terms.customer, ("note",)),
        "tenant": {"slug": tenant.slug, "name": tenant.name},
        "currency": invoice.currency,
        "period": None if period is None else _period(period),
        "corrects": None if corrects is None else corrects.number,
        "reason": invoice.reason,
        "finalized_at": _instant(invoice.finalized_at),
        "issued_on": issued_on.isoformat(),
        "due_on": None if invoice.due_on is None else invoice.due_on.isoformat(),
        "lines": [_line(line) for line in lines],
        "subtotal_cents": invoice.subtotal_cents,
        "tax": _tax(invoice, terms),
        "gross_cents": invoice.gross_cents,
        "credit_cents": invoice.credit_cents,
        "total_cents": invoice.total_cents,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def html(canonical_json: str) -> str:
    document = json.loads(canonical_json)
    template = "invoice_1" if document["format"] == 1 else "invoice"
    return render_to_string(f"billing/{template}.html", told(document))


def pdf(canonical_json: str) -> bytes:
    document = json.loads(canonical_json)
    if document["format"] == 1:
        return paper.plain(told(document))
    return paper.addressed(told(document))


def written(canonical_json: str, kind: str) -> str | bytes:
    """Write the document as a file of this kind."""
    if kind == "json":
        return canonical_json
    write: dict[str, Callable[[str], str | bytes]] = {"pdf": pdf, "html": html, "csv": csv}
    return write[kind](canonical_json)


def file_name(invoice: Invoice, kind: str) -> str:
    """Return what a file of this kind is called where it is saved."""
    return f"{invoice.kind}-{invoice.number}.{kind}"


def csv(canonical_json: str) -> str:
    """Write the lines as CSV: exact amounts with nine decimals, those of the invoice with two."""
    document = json.loads(canonical_json)
    number = f"{document['tenant']['slug']}-{document['number']}"
    rows = [(number, *_cells(line)) for line in document["lines"]]
    return csv_text.written(_CSV, rows, amounts=2)


def told_lines(
    lines: Sequence[InvoiceLine], word: Callable[[str], str] = str
) -> list[dict[str, str]]:
    """Return lines as a document of today's format words them, of a draft, too. `word` translates what is
    billed."""
    return [_told_line(_line(line), word=word) for line in lines]


def told_headings(lines: Sequence[InvoiceLine]) -> tuple[str, ...]:
    """Return the headings above these lines."""
    return _headings([_line(line) for line in lines])


def _cells(line: dict[str, Any]) -> tuple[Any, ...]:
    told = _told_line(line)
    name = line.get("unit") or line["token_class"]
    quantity = line["quantity"] if "unit" in line else line["tokens"]
    about = (line["position"], line["kind"], line["month"] or "", line["alias"])
    return (*about, line["description"], name, quantity, told["exact"], told["amount"])


def _side(details: BillingDetails | None, texts: Sequence[str]) -> dict[str, Any] | None:
    """Copy what is printed of one side; null if it has said nothing."""
    if details is None:
        return None
    plain = {name: getattr(details, name) for name in ("name", "tax_id", "email")}
    if details.tenant_id is not None:
        plain["reference"] = details.reference
    return plain | {name: lines_of(getattr(details, name)) for name in ("address", *texts)}


def _tax(invoice: Invoice, terms: InvoiceTerms) -> dict[str, Any] | None:
    """Return the tax, by the name that a corrected invoice gave it; null if none is shown."""
    if invoice.tax_basis_points is None:
        return None
    name = terms.tax_name
    if invoice.corrects is not None:
        name = json.loads(invoice.corrects.canonical)["tax"]["name"]
    return {
        "name": name,
        "basis_points": invoice.tax_basis_points,
        "cents": invoice.tax_cents,
    }


def _period(period: BillingPeriod) -> dict[str, str]:
    return {
        "month": period.month,
        "starts_at": _instant(period.starts_at),
        "ends_at": _instant(period.ends_at),
        "time_zone": period.time_zone,
    }


def _line(line: InvoiceLine) -> dict[str, Any]:
    """Build a line: of tokens with `token_class` and `tokens`, of another unit with `unit` and
    `quantity`.

    So whoever adds up tokens adds nothing else.
    """
    period, corrects = line.usage_period, line.corrects
    is_tokens = line.token_class in TOKEN_CLASSES or not line.token_class
    names = ("token_class", "tokens") if is_tokens else ("unit", "quantity")
    return {
        "position": line.position,
        "kind": line.kind,
        "month": None if period is None else period.month,
        "alias": line.alias,
        "description": line.description,
        **dict(zip(names, (line.token_class, line.tokens), strict=True)),
        "amount_nano": line.amount_nano,
        "amount_cents": line.amount_cents,
        "corrects": None if corrects is None else corrects.position,
    }


def _instant(at: datetime | None) -> str:
    if at is None:
        raise ValueError("A document of what is not finalized has no date.")
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def told(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document in the words people read."""
    customer = _told_side(document.get("customer"))
    return {
        "title": f"{TITLES[document['kind']]} {document['number']}",
        "about": _about(document),
        "issuer": _told_side(document.get("issuer")),
        "customer": customer or [f"{document['tenant']['name']} ({document['tenant']['slug']})"],
        "finalized_at": datetime.fromisoformat(document["finalized_at"]),
        "headings": _headings(document["lines"]),
        "lines": [_told_line(line, document["format"]) for line in document["lines"]],
        "totals": _told_totals(document),
        "notes": _notes(document),
    }


def told_draft(invoice: Invoice, lines: Sequence[InvoiceLine]) -> dict[str, Any]:
    """Return an invoice that has no document yet in the same words."""
    tax = None
    if invoice.tax_basis_points is not None:
        tax = {
            "name": "Tax",
            "basis_points": invoice.tax_basis_points,
            "cents": invoice.tax_cents,
        }
    return {
        "title": "Draft invoice",
        "about": [] if invoice.period is None else [f"Period {invoice.period.month}"],
        "issuer": [],
        "customer": [f"{invoice.tenant.name} ({invoice.tenant.slug})"],
        "headings": told_headings(lines),
        "lines": told_lines(lines),
        "totals": [
            ("Subtotal", dollars(invoice.subtotal_cents)),
            *_told_tax(tax),
            (f"Total {invoice.currency}, before credit", dollars(invoice.gross_cents)),
        ],
        "notes": [],
    }


def _told_totals(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Subtotal", dollars(document["subtotal_cents"])),
        *_told_tax(document.get("tax")),
        ("Prepaid credit", dollars(-document["credit_cents"])),
        (f"Total {document['currency']}", dollars(document["total_cents"])),
    ]


def _told_side(side: dict[str, Any] | None) -> list[str]:
    """Return the lines of a letterhead or an address."""
    if side is None:
        return []
    tax_id = [f"Tax id {side['tax_id']}"] if side["tax_id"] else []
    return [side["name"], *side["address"], *tax_id, *([side["email"]] if side["email"] else [])]


def _told_tax(tax: dict[str, Any] | None) -> list[tuple[str, str]]:
    if tax is None:
        return []
    return [(f"{tax['name']} {percent(tax['basis_points'])} %", dollars(tax["cents"]))]


def _notes(document: dict[str, Any]) -> list[list[str]]:
    """Return what stands below the amounts, as paragraphs: notes on the tax, and how to pay."""
    issuer, customer = document.get("issuer"), document.get("customer")
    notes = [each["note"] for each in (customer, issuer) if each is not None]
    if issuer is not None and document["kind"] == "invoice" and document["total_cents"] > 0:
        notes.append(issuer["payment"])
    return [each for each in notes if each]


def _headings(lines: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return the headings; invoices of tokens alone keep those they have always had."""
    if any("unit" in line for line in lines):
        return (_HEADINGS[0], "Quantity", *_HEADINGS[2:])
    return _HEADINGS


def _about(document: dict[str, Any]) -> list[str]:
    is_plain = document["format"] == 1
    about = [f"{document['tenant']['name']} ({document['tenant']['slug']})"] if is_plain else []
    if period := document["period"]:
        about.append(f"Period {period['month']} ({period['time_zone']})")
        about.append(f"From {period['starts_at']} until {period['ends_at']}")
    if document["corrects"] is not None:
        about.append(f"Corrects invoice {document['corrects']}: {document['reason']}")
    if is_plain:
        return [*about, f"Issued {document['finalized_at']}"]
    about.insert(0, f"Issued {document['issued_on']}")
    if document["due_on"] is not None:
        about.insert(1, f"Due {document['due_on']}")
    reference = (document["customer"] or {}).get("reference")
    return [*about, f"Your reference {reference}"] if reference else about


def _told_line(
    line: dict[str, Any], of_format: int = FORMAT, word: Callable[[str], str] = str
) -> dict[str, str]:
    unit = units.of(line.get("unit") or line["token_class"])
    quantity = line["quantity"] if "unit" in line else line["tokens"]
    subject = f"{line['alias']}, {word(_label(unit, of_format))}"
    text = f"{line['description']}: {subject}" if line["description"] else subject
    nano = line["amount_nano"]
    sign = "-" if nano < 0 else ""
    return {
        "text": text,
        "quantity": unit.shown(quantity) if line["kind"] != "credit" else "",
        "exact": f"{sign}{abs(nano) // 10**9}.{abs(nano) % 10**9:09}",
        "amount": dollars(line["amount_cents"]),
    }


def _label(unit: units.Unit, of_format: int) -> str:
    if of_format < 3 and unit.is_token:
        return unit.name.replace("_", " ")
    return unit.label
