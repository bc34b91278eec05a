"""Render a finalized invoice: canonical JSON, and HTML and PDF made of nothing else.

The JSON has sorted keys, no spaces, and only whole numbers and text; its SHA-256 stands beside it. The
same JSON always makes the same HTML and the same PDF, byte by byte.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.template.loader import render_to_string

from gateway_project.lib import csv_text
from tenants import units
from tenants.billing.money import dollars
from tenants.models import BillingPeriod, Invoice, InvoiceLine, Tenant
from tenants.token_classes import TOKEN_CLASSES

FORMAT = 1
TITLES = {"invoice": "Invoice", "credit_note": "Credit note"}
_WIDTHS = (96, 34, 30, 30)
_CSV = (
    *("invoice", "position", "kind", "month", "alias", "description"),
    *("class", "quantity", "exact_usd", "usd"),
)
_HEADINGS = ("Usage", "Tokens", "Exact", "USD")


def canonical(invoice: Invoice, tenant: Tenant, lines: Sequence[InvoiceLine]) -> str:
    period, corrects = invoice.period, invoice.corrects
    document = {
        "format": FORMAT,
        "kind": invoice.kind,
        "number": invoice.number,
        "tenant": {"slug": tenant.slug, "name": tenant.name},
        "currency": invoice.currency,
        "period": None if period is None else _period(period),
        "corrects": None if corrects is None else corrects.number,
        "reason": invoice.reason,
        "finalized_at": _instant(invoice.finalized_at),
        "lines": [_line(line) for line in lines],
        "subtotal_cents": invoice.subtotal_cents,
        "credit_cents": invoice.credit_cents,
        "total_cents": invoice.total_cents,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def html(canonical_json: str) -> str:
    document = json.loads(canonical_json)
    return render_to_string("billing/invoice.html", _told(document))


def pdf(canonical_json: str) -> bytes:
    told = _told(json.loads(canonical_json))
    # Only where one is wanted: it brings an imaging library along.
    page = importlib.import_module("fpdf").FPDF(format="A4")
    page.set_creation_date(told["finalized_at"])
    page.set_title(_latin(told["title"]))
    page.add_page()
    page.set_font("Helvetica", "B", 16)
    page.cell(0, 10, _latin(told["title"]), new_x="LMARGIN", new_y="NEXT")
    page.set_font("Helvetica", size=10)
    for text in told["about"]:
        page.cell(0, 6, _latin(text), new_x="LMARGIN", new_y="NEXT")
    page.ln(4)
    page.set_font("Helvetica", "B", 9)
    _pdf_row(page, told["headings"])
    page.set_font("Helvetica", size=9)
    for line in told["lines"]:
        _pdf_row(page, (line["text"], line["quantity"], line["exact"], line["amount"]))
    page.set_font("Helvetica", "B", 9)
    for name, amount in told["totals"]:
        _pdf_row(page, (name, "", "", amount))
    return bytes(page.output())


def csv(canonical_json: str) -> str:
    """Write the lines as CSV: exact amounts with nine decimals, those of the invoice with two."""
    document = json.loads(canonical_json)
    number = f"{document['tenant']['slug']}-{document['number']}"
    rows = [(number, *_cells(line)) for line in document["lines"]]
    return csv_text.written(_CSV, rows, amounts=2)


def told_lines(lines: Sequence[InvoiceLine]) -> list[dict[str, str]]:
    """Return lines in the words of the document, of a draft, too."""
    return [_told_line(_line(line)) for line in lines]


def told_headings(lines: Sequence[InvoiceLine]) -> tuple[str, ...]:
    """Return the headings above these lines."""
    return _headings([_line(line) for line in lines])


def _cells(line: dict[str, Any]) -> tuple[Any, ...]:
    told = _told_line(line)
    name = line.get("unit") or line["token_class"]
    quantity = line["quantity"] if "unit" in line else line["tokens"]
    about = (line["position"], line["kind"], line["month"] or "", line["alias"])
    return (*about, line["description"], name, quantity, told["exact"], told["amount"])


def _pdf_row(page: Any, texts: Sequence[Any]) -> None:
    for place, (width, text) in enumerate(zip(_WIDTHS, texts, strict=True)):
        shown = _latin(str(text))
        while page.get_string_width(shown) > width - 3:
            shown = f"{shown[:-4]}..."
        page.cell(width, 6, shown, align="L" if place == 0 else "R")
    page.ln(6)


def _latin(text: str) -> str:
    """Reduce text to the PDF's own fonts, so that no font has to be shipped."""
    return text.encode("latin-1", "replace").decode("latin-1")


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


def _told(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document in the words people read."""
    return {
        "title": f"{TITLES[document['kind']]} {document['number']}",
        "about": _about(document),
        "finalized_at": datetime.fromisoformat(document["finalized_at"]),
        "headings": _headings(document["lines"]),
        "lines": [_told_line(line) for line in document["lines"]],
        "totals": [
            ("Subtotal", dollars(document["subtotal_cents"])),
            ("Prepaid credit", dollars(-document["credit_cents"])),
            (f"Total {document['currency']}", dollars(document["total_cents"])),
        ],
    }


def _headings(lines: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return the headings; invoices of tokens alone keep those they have always had."""
    if any("unit" in line for line in lines):
        return (_HEADINGS[0], "Quantity", *_HEADINGS[2:])
    return _HEADINGS


def _about(document: dict[str, Any]) -> list[str]:
    about = [f"{document['tenant']['name']} ({document['tenant']['slug']})"]
    if period := document["period"]:
        about.append(f"Period {period['month']} ({period['time_zone']})")
        about.append(f"From {period['starts_at']} until {period['ends_at']}")
    if document["corrects"] is not None:
        about.append(f"Corrects invoice {document['corrects']}: {document['reason']}")
    return [*about, f"Issued {document['finalized_at']}"]


def _told_line(line: dict[str, Any]) -> dict[str, str]:
    unit = units.of(line.get("unit") or line["token_class"])
    quantity = line["quantity"] if "unit" in line else line["tokens"]
    subject = f"{line['alias']}, {unit.label}"
    text = f"{line['description']}: {subject}" if line["description"] else subject
    nano = line["amount_nano"]
    sign = "-" if nano < 0 else ""
    return {
        "text": text,
        "quantity": unit.shown(quantity) if line["kind"] != "credit" else "",
        "exact": f"{sign}{abs(nano) // 10**9}.{abs(nano) % 10**9:09}",
        "amount": dollars(line["amount_cents"]),
    }
