"""Prepaid credit: entries that balance, given and taken once, never more than there is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db.models import Sum

from gateway_project.lib import clock
from tenants.billing import credits as prepaid
from tenants.models import CreditEntry, CreditTransaction, Invoice, Tenant

pytestmark = [pytest.mark.persistence, pytest.mark.django_db]

SOON, LATER = timedelta(days=1), timedelta(days=9)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def rests(tenant: Tenant) -> dict[str, int]:
    """Return what is left of each grant, by its reference."""
    grants = CreditTransaction.objects.filter(tenant=tenant, grant=None).order_by("id")
    return {
        movement.reference: sum(
            entry.amount_cents
            for entry in CreditEntry.objects.filter(account="credit")
            if movement.pk in (entry.transaction_id, entry.transaction.grant_id)
        )
        for movement in grants
    }


def assert_balanced() -> None:
    sums = CreditTransaction.objects.annotate(total=Sum("entries__amount_cents"))
    assert {movement.total for movement in sums} <= {0}


def test_a_grant_counts_once_whatever_how_often_it_comes(tenant: Tenant):
    first = prepaid.grant(tenant.pk, 500, "stripe:evt_1", is_paid=True)
    assert prepaid.grant(tenant.pk, 500, "stripe:evt_1", is_paid=True) == first
    assert prepaid.balance(tenant.pk) == 500
    assert_balanced()


def test_a_reference_cannot_stand_for_two_amounts(tenant: Tenant):
    prepaid.grant(tenant.pk, 500, "a")
    with pytest.raises(ValidationError, match="another movement"):
        prepaid.grant(tenant.pk, 600, "a")


def test_what_expires_first_is_spent_first_then_by_priority_then_by_age(tenant: Tenant):
    now = clock.now()
    prepaid.grant(tenant.pk, 100, "never")
    prepaid.grant(tenant.pk, 100, "later", expires_at=now + LATER)
    prepaid.grant(tenant.pk, 100, "soon, low", expires_at=now + SOON, priority=5)
    prepaid.grant(tenant.pk, 100, "soon, high", expires_at=now + SOON, priority=1)
    invoice = Invoice.objects.create(tenant=tenant)

    assert prepaid.spend(invoice, 250) == 250

    assert rests(tenant) == {"never": 100, "later": 50, "soon, low": 0, "soon, high": 0}
    assert_balanced()


def test_no_more_is_spent_than_there_is(tenant: Tenant):
    prepaid.grant(tenant.pk, 100, "a")
    assert prepaid.spend(Invoice.objects.create(tenant=tenant), 250) == 100
    assert prepaid.spend(Invoice.objects.create(tenant=tenant), 250) == 0
    assert prepaid.balance(tenant.pk) == 0


def test_expired_credit_is_not_spent_and_goes_back_where_it_came_from(tenant: Tenant):
    prepaid.grant(tenant.pk, 100, "a", expires_at=clock.now() - SOON, is_paid=True)
    assert prepaid.spend(Invoice.objects.create(tenant=tenant), 50) == 0
    assert (prepaid.expire(), prepaid.expire()) == (1, 0)
    assert prepaid.balance(tenant.pk) == 0
    assert CreditEntry.objects.get(transaction__kind="expire", account="cash").amount_cents == 100


def test_a_refund_is_credit_that_can_be_spent_again(tenant: Tenant):
    prepaid.grant(tenant.pk, 100, "a")
    invoice = Invoice.objects.create(tenant=tenant)
    prepaid.spend(invoice, 80)
    prepaid.refund(tenant.pk, 30, "note", invoice=invoice)
    assert prepaid.balance(tenant.pk) == 50
    assert prepaid.spend(Invoice.objects.create(tenant=tenant), 999) == 50
    assert_balanced()


def test_adjustments_go_both_ways_but_not_below_nothing(tenant: Tenant):
    prepaid.adjust(tenant.pk, 100, "up", reason="goodwill")
    prepaid.adjust(tenant.pk, -40, "down", reason="mistake")
    prepaid.adjust(tenant.pk, -40, "down", reason="mistake")
    assert prepaid.balance(tenant.pk) == 60
    with pytest.raises(ValidationError, match="not that much credit"):
        prepaid.adjust(tenant.pk, -61, "too much", reason="mistake")
    assert prepaid.balance(tenant.pk) == 60
    assert_balanced()
