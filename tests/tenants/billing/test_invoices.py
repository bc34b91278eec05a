"""Invoices are what the ledger says, once, and stay so."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from tenants.billing import credits as prepaid
from tenants.billing import documents, invoices, periods
from tenants.billing.money import cents
from tenants.models import BillingPeriod, Invoice, InvoiceLine, Tenant
from tests.plugins.cases import cases
from tests.support.usage_rows import usage

pytestmark = [pytest.mark.persistence, pytest.mark.django_db]

OCTOBER = datetime(2026, 10, 15, 12, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
CENT = 10_000_000


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acmé", created_at=OCTOBER)


def closed(tenant: Tenant, now: datetime = NOVEMBER) -> Invoice:
    periods.advance(tenant, now)
    return Invoice.objects.get(tenant=tenant, state="draft")


def finalized(invoice: Invoice) -> Invoice:
    found = invoices.finalize(invoice.pk, "somebody")
    assert found is not None
    return found


def lines(invoice: Invoice) -> list[tuple[object, ...]]:
    return list(
        invoice.lines.values_list("kind", "alias", "token_class", "amount_nano", "amount_cents")
    )


@cases(
    ("nano", "expected"),
    [(0, 0), (4_999_999, 0), (5_000_000, 1), (14_999_999, 1), (-5_000_000, 0), (-5_000_001, -1)],
)
def test_nano_dollars_become_cents_half_up(nano: int, expected: int):
    assert cents(nano) == expected


def test_a_line_is_an_alias_and_a_class_rounded_once(tenant: Tenant):
    for _ in range(3):
        usage(tenant, OCTOBER, charges={"input_fresh": 4_000_000, "cache_read": 1_000_000})
    usage(tenant, OCTOBER, alias="fast", charges={"output_visible": CENT})
    usage(tenant, NOVEMBER)
    invoice = closed(tenant)
    assert lines(invoice) == [
        ("usage", "fast", "output_visible", CENT, 1),
        ("usage", "smart", "input_fresh", 12_000_000, 1),
        ("usage", "smart", "cache_read", 3_000_000, 0),
    ]
    assert (invoice.subtotal_cents, invoice.total_cents) == (2, 2)


def test_a_draft_follows_the_ledger_until_it_is_finalized(tenant: Tenant):
    usage(tenant, OCTOBER, charges={"input_fresh": CENT})
    invoice = closed(tenant)
    usage(tenant, OCTOBER, charges={"input_fresh": CENT})
    done = finalized(invoice)
    assert (done.number, done.subtotal_cents, done.state) == (1, 2, "finalized")
    assert BillingPeriod.objects.get(invoices=invoice).state == "finalized"
    assert finalized(invoice).sha256 == done.sha256


def test_late_usage_is_on_the_next_invoice_and_only_once(tenant: Tenant):
    usage(tenant, OCTOBER, charges={"input_fresh": 5 * CENT})
    first = finalized(closed(tenant))
    usage(tenant, OCTOBER, charges={"input_fresh": 3 * CENT})
    usage(tenant, OCTOBER, alias="fast", charges={"cache_read": CENT})
    usage(tenant, NOVEMBER, charges={"input_fresh": CENT})

    second = finalized(closed(tenant, DECEMBER))

    assert lines(second) == [
        ("usage", "smart", "input_fresh", CENT, 1),
        ("late_usage", "fast", "cache_read", CENT, 1),
        ("late_usage", "smart", "input_fresh", 3 * CENT, 3),
    ]
    assert second.number == 2
    assert second.lines.filter(kind="late_usage", description="Late usage for 2026-10").count() == 2
    first.refresh_from_db()
    assert first.total_cents == 5
    usage(tenant, DECEMBER, charges={"input_fresh": CENT})
    third = closed(tenant, datetime(2027, 1, 1, tzinfo=UTC))
    assert lines(third) == [("usage", "smart", "input_fresh", CENT, 1)]


def test_a_correction_of_a_finalized_period_is_taken_off_the_next_invoice(tenant: Tenant):
    row = usage(tenant, OCTOBER, charges={"input_fresh": 5 * CENT})
    finalized(closed(tenant))
    correction = {"input_fresh": -2 * CENT}
    usage(tenant, OCTOBER, charges=correction, status="correction", corrects=row.pk)
    second = closed(tenant, DECEMBER)
    assert (lines(second)[0][0], second.total_cents) == ("late_usage", -2)


def test_credit_pays_first(tenant: Tenant):
    usage(tenant, OCTOBER, charges={"input_fresh": 500 * CENT})
    prepaid.grant(tenant.pk, 300, "a")
    invoice = finalized(closed(tenant))
    assert (invoice.subtotal_cents, invoice.credit_cents, invoice.total_cents) == (500, 300, 200)
    assert prepaid.balance(tenant.pk) == 0
    assert invoices.spent_on(invoice) == 300


def test_what_is_not_closed_cannot_be_finalized(tenant: Tenant):
    periods.ensure(tenant, OCTOBER)
    invoice = Invoice.objects.create(tenant=tenant, period=BillingPeriod.objects.get())
    with pytest.raises(ValidationError, match="not closed"):
        invoices.finalize(invoice.pk)


def test_the_canonical_document_is_hashed_and_holds_whole_numbers_only(tenant: Tenant):
    usage(tenant, OCTOBER, charges={"input_fresh": 7 * CENT})
    invoice = finalized(closed(tenant))
    invoice.refresh_from_db()
    assert hashlib.sha256(invoice.canonical.encode()).hexdigest() == invoice.sha256
    document = json.loads(invoice.canonical, parse_float=pytest.fail)
    assert invoice.canonical == json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert (document["number"], document["total_cents"]) == (1, 7)
    assert document["period"]["month"] == "2026-10"


def test_the_same_document_always_makes_the_same_html_and_pdf(tenant: Tenant):
    usage(tenant, OCTOBER, alias="<b>大</b>" + "x" * 200, charges={"input_fresh": 7 * CENT})
    canonical = finalized(closed(tenant)).canonical
    html, pdf = documents.html(canonical), documents.pdf(canonical)
    assert "Invoice 1" in html
    assert "<b>大" not in html
    assert "0.07" in html
    assert pdf.startswith(b"%PDF-")
    assert (documents.html(canonical), documents.pdf(canonical)) == (html, pdf)


def test_a_credit_note_takes_back_no_more_than_a_line_and_returns_credit_first(tenant: Tenant):
    usage(tenant, OCTOBER, charges={"input_fresh": 500 * CENT})
    prepaid.grant(tenant.pk, 300, "a")
    invoice = finalized(closed(tenant))
    line = invoice.lines.get()

    note = invoices.credit_note(invoice.pk, {line.pk: 400}, "Outage", "somebody")

    assert (note.number, note.subtotal_cents, note.credit_cents, note.total_cents) == (
        2,
        -400,
        -300,
        -100,
    )
    assert prepaid.balance(tenant.pk) == 300
    assert note.lines.get().corrects == line
    with pytest.raises(ValidationError, match=r"at most 1\.00"):
        invoices.credit_note(invoice.pk, {line.pk: 101}, "Outage")
    again = invoices.credit_note(invoice.pk, {line.pk: 100}, "Outage")
    assert (again.credit_cents, again.total_cents) == (0, -100)
    assert Invoice.objects.filter(kind="credit_note").count() == 2


def test_a_credit_note_does_not_make_usage_late(tenant: Tenant):
    usage(tenant, OCTOBER, charges={"input_fresh": 5 * CENT})
    invoice = finalized(closed(tenant))
    invoices.credit_note(invoice.pk, {invoice.lines.get().pk: 2}, "Outage")
    usage(tenant, NOVEMBER, charges={"input_fresh": CENT})
    assert [line[0] for line in lines(closed(tenant, DECEMBER))] == ["usage"]


@pytest.mark.long
@pytest.mark.django_db(transaction=True)
def test_a_hundred_who_finalize_at_once_make_one_invoice():
    tenant = Tenant.objects.create(slug="acme", name="Acme", created_at=OCTOBER)
    usage(tenant, OCTOBER, charges={"input_fresh": 500 * CENT})
    prepaid.grant(tenant.pk, 300, "a")
    invoice = closed(tenant)

    def finalize(_: int) -> tuple[int | None, str]:
        try:
            found = finalized(invoice)
            return found.number, found.sha256
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(finalize, range(100)))) == 1

    assert list(Invoice.objects.values_list("number", "credit_cents")) == [(1, 300)]
    assert prepaid.balance(tenant.pk) == 0
    assert InvoiceLine.objects.count() == 1


def test_numbers_have_no_gaps_and_are_each_tenants_own(tenant: Tenant):
    other = Tenant.objects.create(slug="other", name="Other", created_at=OCTOBER)
    for owner in (tenant, other):
        usage(owner, OCTOBER, charges={"input_fresh": 5 * CENT})
        usage(owner, NOVEMBER + timedelta(hours=1), charges={"input_fresh": 5 * CENT})
    for now in (NOVEMBER, DECEMBER):
        for owner in (tenant, other):
            finalized(closed(owner, now))
    numbers = Invoice.objects.order_by("tenant", "number").values_list("number", flat=True)
    assert list(numbers) == [1, 2, 1, 2]
