"""Invoices name their issuer and customer, add tax once, and keep what they said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError

from tenants.access.access import OPERATOR
from tenants.billing import credits as prepaid
from tenants.billing import documents, invoices, paper, periods, selfcheck
from tenants.billing.tax import parsed_percent, percent, tax_of
from tenants.managed.setting import put
from tenants.models import AuditEvent, BillingDetails, Invoice, Tenant
from tests.commands.running import answer, refusal, text
from tests.plugins.cases import cases
from tests.support.usage_rows import usage

pytestmark = pytest.mark.django_db

OCTOBER = datetime(2025, 10, 15, 12, tzinfo=UTC)
NOVEMBER = datetime(2025, 11, 15, 12, tzinfo=UTC)
CENT = 10_000_000


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme", created_at=OCTOBER)


@pytest.fixture
def issuer() -> BillingDetails:
    return BillingDetails.objects.create(
        name="Łódź Gateway",
        address="Street 1\n\n Town ",
        tax_id="DE1",
        payment="IBAN 1",
        terms_days=14,
        tax_name="VAT",
        tax_basis_points=1900,
        note="Thank you.",
    )


def invoiced(tenant: Tenant, cents: int) -> Invoice:
    usage(tenant, OCTOBER, charges={"input_fresh": cents * CENT})
    periods.advance(tenant, datetime(2025, 11, 2, tzinfo=UTC))
    found = invoices.finalize(Invoice.objects.get(tenant=tenant, state="draft").pk)
    assert found is not None
    return found


@cases(
    ("cents", "points", "tax"),
    [
        *((100, None, 0), (100, 0, 0), (100, 1900, 19), (3, 1900, 1), (2, 1900, 0), (50, 100, 1)),
        *((49, 100, 0), (-50, 100, 0), (-51, 100, -1), (10**12, 10_000, 10**12)),
    ],
)
def test_tax_is_rounded_half_up_once(cents: int, points: int | None, tax: int):
    assert tax_of(cents, points) == tax


@cases(("text", "points"), [("19", 1900), ("7.7", 770), ("0.05", 5), ("100", 10_000)])
def test_percentages_are_read_and_told_exactly(text: str, points: int):
    assert parsed_percent(f"{text} %") == points
    assert percent(points) == text


@pytest.mark.persistence
def test_an_invoice_adds_tax_is_due_after_its_terms_and_credit_pays_the_whole(
    tenant: Tenant, issuer: BillingDetails
):
    prepaid.grant(tenant.pk, 300, "a")
    invoice = invoiced(tenant, 1003)
    assert (invoice.subtotal_cents, invoice.tax_cents, invoice.gross_cents) == (1003, 191, 1194)
    assert (invoice.credit_cents, invoice.total_cents) == (300, 894)
    assert invoice.finalized_at is not None
    assert invoice.due_on is not None
    assert (invoice.due_on - invoice.finalized_at.date()).days == 14
    assert selfcheck.examine() == []


def test_what_a_tenant_says_comes_before_what_the_issuer_says(
    tenant: Tenant, issuer: BillingDetails
):
    BillingDetails.objects.create(
        tenant=tenant,
        name="Acme Ltd",
        reference="PO 7",
        tax_basis_points=0,
        tax_name="GST",
        terms_days=0,
        note="Reverse charge.",
    )
    invoice = invoiced(tenant, 500)
    assert (invoice.tax_basis_points, invoice.tax_cents, invoice.total_cents) == (0, 0, 500)
    html = documents.html(invoice.canonical)
    told = ("Łódź Gateway", "Town", "Tax id DE1", "Acme Ltd", "Your reference PO 7", "GST 0 %")
    for each in (*told, "Reverse charge.", "Thank you.", "IBAN 1", "Due "):
        assert each in html


@pytest.mark.persistence
def test_an_issued_invoice_says_what_it_said_whatever_is_changed(
    tenant: Tenant, issuer: BillingDetails
):
    invoice = invoiced(tenant, 500)
    before = (invoice.sha256, documents.html(invoice.canonical), documents.pdf(invoice.canonical))
    tenant.name = "Another"
    tenant.save()
    issuer.delete()
    invoice.refresh_from_db()
    again = (invoice.sha256, documents.html(invoice.canonical), documents.pdf(invoice.canonical))
    assert again == before
    line = invoice.lines.get()
    note = invoices.credit_note(invoice.pk, {line.pk: 500}, "Outage")
    assert (note.tax_cents, note.total_cents, note.due_on) == (-95, -595, None)
    assert json.loads(note.canonical)["tax"] == {"name": "VAT", "basis_points": 1900, "cents": -95}


@pytest.mark.persistence
def test_credit_notes_take_back_the_tax_to_the_cent_and_return_credit_first(
    tenant: Tenant, issuer: BillingDetails
):
    prepaid.grant(tenant.pk, 10_000, "a")
    invoice = invoiced(tenant, 107)
    assert (invoice.tax_cents, invoice.total_cents) == (20, 0)
    line = invoice.lines.get()
    notes = [invoices.credit_note(invoice.pk, {line.pk: part}, "Outage") for part in (1, 2, 103, 1)]
    assert [note.tax_cents for note in notes] == [0, 0, -20, 0]
    assert sum(note.gross_cents for note in notes) == -invoice.gross_cents
    assert prepaid.balance(tenant.pk) == 10_000
    assert selfcheck.examine() == []


def test_a_document_from_before_there_were_issuers_is_still_shown(tenant: Tenant):
    invoice = invoiced(tenant, 500)
    old = json.loads(invoice.canonical) | {"format": 1}
    for name in ("issuer", "customer", "issued_on", "due_on", "tax", "gross_cents"):
        del old[name]
    canonical = json.dumps(old, sort_keys=True, separators=(",", ":"))
    html = documents.html(canonical)
    assert "<h1>Invoice 1</h1>\n<p>Acme (acme)</p>\n<p>Period 2025-10 (UTC)</p>" in html
    assert "<tr><th>Subtotal</th><td></td><td></td><td>5.00</td></tr>\n<tr><th>Prepaid" in html
    assert documents.pdf(canonical).startswith(b"%PDF")
    assert "smart" in documents.csv(canonical)


def test_a_document_goes_on_naming_what_is_billed_as_when_it_was_issued(tenant: Tenant):
    canonical = invoiced(tenant, 500).canonical
    older = canonical.replace('"format":3', '"format":2')
    assert "<td>smart, input</td>" in documents.html(canonical)
    assert "<td>smart, input fresh</td>" in documents.html(older)


def test_a_pdf_spells_what_its_fonts_do_not_have():
    assert paper.spell("Łódź, Őri \u2013 5 € 大") == "Lódz, Ori - 5 EUR ?"
    assert paper.spell("Mu\u0308ller, Z\u0302d") == "Müller, Zd"


@pytest.mark.persistence
def test_there_are_never_two_and_each_side_says_only_its_own(
    tenant: Tenant, issuer: BillingDetails
):
    details, is_new = put(OPERATOR, BillingDetails, {"tenant": tenant}, {"name": "Acme Ltd"})
    assert is_new
    with pytest.raises(ValidationError, match="already"):
        BillingDetails(name="Twice").full_clean()
    with pytest.raises(ValidationError, match="already"):
        BillingDetails(tenant=tenant, name="Twice").full_clean()
    with pytest.raises(ValidationError, match="how it is paid"):
        put(OPERATOR, BillingDetails, {"tenant": tenant}, {"payment": "IBAN"})
    with pytest.raises(ValidationError, match="reference"):
        put(OPERATOR, BillingDetails, {"tenant": None}, {"reference": "PO"})
    assert details.pk != issuer.pk


def test_commands_set_and_show_both_sides(tenant: Tenant):
    assert "set_issuer" in refusal("show_issuer")
    assert "name: " in refusal("set_issuer", "--tax-percent", "19")
    lines = ("--address", "Street 1", "--address", "Town")
    made = answer("set_issuer", "--name", "Gateway", *lines, "--tax-percent", "7.7")
    assert (made["created"], made["address"], made["tax_basis_points"]) == (
        True,
        "Street 1\nTown",
        770,
    )
    assert "tax_percent: " in refusal("set_issuer", "--tax-percent", "much")
    assert "tax_percent: " in refusal("set_issuer", "--tax-percent", "101")
    assert "terms_days" in refusal("set_issuer", "--terms-days", "366")
    assert answer("set_issuer", "--tax-percent", "")["tax_basis_points"] is None
    assert "address: Street 1, Town" in text("show_issuer")
    of = ("--tenant", "acme")
    assert "set_billing_details" in refusal("show_billing_details", *of)
    answer("set_billing_details", *of, "--name", "Acme Ltd", "--reference", "PO 7")
    assert answer("show_billing_details", *of)["reference"] == "PO 7"
    actions = AuditEvent.objects.filter(object_type="billing_details").values_list("action")
    assert {action for (action,) in actions} == {
        "billing_details.created",
        "billing_details.changed",
    }


def test_invoices_are_listed_and_shown_as_text_json_and_pdf(
    tenant: Tenant, issuer: BillingDetails, tmp_path: Path
):
    invoice = invoiced(tenant, 500)
    usage(tenant, NOVEMBER, charges={"input_fresh": 100 * CENT})
    periods.advance(tenant, datetime(2025, 12, 2, tzinfo=UTC))
    draft = Invoice.objects.get(state="draft")

    listed = answer("list_invoices", "--tenant", "acme")["data"]
    assert [(each["id"], each["gross_cents"]) for each in listed] == [
        (draft.pk, 119),
        (invoice.pk, 595),
    ]
    assert len(answer("list_invoices", "--month", "2025-10")["data"]) == 1
    assert "acme" in text("list_invoices", "--state", "draft")
    found = answer("show_invoice", "acme-1")
    assert (found["id"], found["document"]) == (invoice.pk, json.loads(invoice.canonical))
    assert answer("show_invoice", str(draft.pk))["document"] is None
    assert "VAT 19 %" in text("show_invoice", str(invoice.pk))
    assert "before credit" in text("show_invoice", str(draft.pk))
    file = tmp_path / "invoice.pdf"
    answer("show_invoice", "acme-1", "--pdf", str(file))
    assert file.read_bytes() == documents.pdf(invoice.canonical)
    assert "draft" in refusal("show_invoice", str(draft.pk), "--pdf", str(file))
    assert "cannot be written" in refusal("show_invoice", "acme-1", "--pdf", str(tmp_path))
    for wrong in ("acme-9", "0", "acme", "99999999999999999999"):
        assert "id: " in refusal("show_invoice", wrong)


def test_one_invoice_is_finalized_written_into_files_and_credited_by_commands(
    tenant: Tenant, issuer: BillingDetails, tmp_path: Path
):
    usage(tenant, NOVEMBER, charges={"input_fresh": 500 * CENT})
    periods.advance(tenant, datetime(2025, 12, 2, tzinfo=UTC))
    draft = Invoice.objects.get(state="draft")

    final = answer("finalize_invoice", str(draft.pk))
    assert (final["state"], final["number"], final["gross_cents"]) == ("finalized", 1, 595)
    assert "finalized already" in refusal("finalize_invoice", str(draft.pk))
    pages, lines = tmp_path / "invoice.html", tmp_path / "lines.csv"
    told = answer("show_invoice", "acme-1", "--html", str(pages), "--csv", str(lines))
    assert told["files"] == {"html": str(pages), "csv": str(lines)}
    assert "VAT 19 %" in pages.read_text()
    assert lines.read_bytes().decode() == documents.csv(Invoice.objects.get(pk=draft.pk).canonical)

    credited = ("issue_credit_note", "acme-1", "--reason", "an outage")
    note = answer(*credited, "--line", "1=100")
    assert (note["kind"], note["corrects"], note["gross_cents"]) == ("credit_note", 1, -119)
    assert "line: " in refusal(*credited, "--line", "1")
    assert "no line 9" in refusal(*credited, "--line", "9=1")
    assert "reason" in refusal("issue_credit_note", "acme-1", "--reason", "", "--line", "1=1")


def test_billing_details_are_removed_by_a_command(tenant: Tenant):
    of = ("--tenant", tenant.slug)
    answer("set_billing_details", *of, "--name", "Acme Ltd")
    assert answer("remove_billing_details", *of, "--yes")["removed"] is True
    assert "no billing details" in refusal("show_billing_details", *of)
    assert AuditEvent.objects.filter(action="billing_details.deleted").exists()
