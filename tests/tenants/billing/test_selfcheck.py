"""The nightly check finds what does not agree, and what has been kept long enough goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from tenants import triggers
from tenants.billing import credits as prepaid
from tenants.billing import invoices, periods, retention, rollups, selfcheck
from tenants.models import (
    BillingPeriod,
    CreditEntry,
    CreditTransaction,
    Invoice,
    InvoiceLine,
    InvoiceSequence,
    RetentionHorizon,
    Tenant,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tests.plugins.cases import cases
from tests.support.usage_rows import usage

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]

OCTOBER = datetime(2026, 10, 15, 12, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
CENT = 10_000_000


@pytest.fixture
def invoice() -> Invoice:
    tenant = Tenant.objects.create(slug="acme", name="Acme", created_at=OCTOBER)
    usage(tenant, OCTOBER, charges={"input_fresh": 500 * CENT}, recorded_at=OCTOBER)
    rollups.recompute_dirty(10)
    prepaid.grant(tenant.pk, 300, "a")
    periods.advance(tenant, NOVEMBER)
    found = invoices.finalize(Invoice.objects.get().pk)
    assert found is not None
    return found


def found_unguarded(statement: str) -> str:
    """Remove the triggers, change something, and return what the check says."""
    triggers.remove()
    with connection.cursor() as cursor:
        cursor.execute(statement)
    triggers.install()
    return " ".join(selfcheck.examine())


def test_books_in_order_have_nothing_to_say(invoice: Invoice):
    assert selfcheck.examine() == []


def test_usage_that_came_late_is_not_a_difference(invoice: Invoice):
    usage(invoice.tenant, OCTOBER)
    rollups.recompute_dirty(10)
    assert selfcheck.examine() == []


def test_sums_that_differ_from_their_rows_are_found(invoice: Invoice):
    UsageHour.objects.update(charge_nano=1)
    assert "on 2026-10-15 differ" in selfcheck.examine()[0]
    rollups.rebuild()
    UsageDay.objects.all().delete()
    assert "on 2026-10-15 differ" in selfcheck.examine()[0]


def test_hours_that_are_not_summed_yet_are_not_a_difference(invoice: Invoice):
    usage(invoice.tenant, OCTOBER)
    assert selfcheck.examine() == []


@cases(
    ("statement", "sentence"),
    [
        ("UPDATE tenants_usagerow SET charge_nano = 1", "those of their classes"),
        ("UPDATE tenants_invoiceline SET amount_nano = 1", "but nothing came late"),
        ("UPDATE tenants_invoiceline SET amount_cents = 1", "its lines 1"),
        ("UPDATE tenants_invoice SET total_cents = 1", "not its subtotal and tax less its credit"),
        ("UPDATE tenants_creditentry SET amount_cents = 1", "add up to"),
        ("UPDATE tenants_invoicesequence SET last_number = 2", "have a gap"),
        ("UPDATE tenants_invoice SET canonical = '{}'", "not the one that was finalized"),
    ],
)
def test_what_was_changed_behind_our_back_is_found(invoice: Invoice, statement: str, sentence: str):
    assert sentence in found_unguarded(statement)


def test_a_missing_trigger_is_found(invoice: Invoice):
    triggers.remove()
    missing = {f"The trigger {name} is missing." for name in triggers.expected(connection)}
    found = selfcheck.examine()
    assert set(found) <= missing
    assert len(found) == min(len(missing), selfcheck.MAX_FOUND)
    triggers.install()
    assert InvoiceSequence.objects.get().last_number == 1
    assert CreditTransaction.objects.count() == 2
    assert CreditEntry.objects.count() == 4
    assert InvoiceLine.objects.count() == 1


def test_rows_go_when_they_are_old_enough_and_their_sums_stay(invoice: Invoice, settings):
    settings.USAGE_DAYS = 30
    usage(invoice.tenant, NOVEMBER + timedelta(days=1))
    rollups.recompute_dirty(10)

    assert retention.purge(NOVEMBER + timedelta(days=9)) == 0
    assert retention.purge(NOVEMBER + timedelta(days=40)) == 1

    assert UsageRow.objects.get().opened_at == NOVEMBER + timedelta(days=1)
    assert UsageHour.objects.count() == UsageDay.objects.count() == 2
    assert selfcheck.examine() == []


def test_rows_of_periods_that_are_not_finalized_stay(invoice: Invoice, settings):
    settings.USAGE_DAYS = 30
    usage(invoice.tenant, NOVEMBER + timedelta(days=1))
    rollups.recompute_dirty(10)
    retention.purge(NOVEMBER + timedelta(days=400))
    assert BillingPeriod.objects.filter(state="open").get().starts_at == NOVEMBER
    assert RetentionHorizon.objects.get().before == NOVEMBER
    assert UsageRow.objects.count() == 1


def test_what_was_deleted_is_no_negative_late_usage(invoice: Invoice, settings):
    settings.USAGE_DAYS = 30
    retention.purge(NOVEMBER + timedelta(days=400))
    december = datetime(2026, 12, 1, tzinfo=UTC)
    usage(invoice.tenant, NOVEMBER, charges={"input_fresh": CENT})
    periods.advance(invoice.tenant, december)
    assert Invoice.objects.get(state="draft").total_cents == 1
