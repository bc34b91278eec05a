"""Whatever happens in whichever order, the books agree: grants, calls, corrections, refunds, closes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway_project.lib import clock
from tenants.billing import charges, invoices, periods, rollups, selfcheck
from tenants.billing import credits as prepaid
from tenants.models import (
    BillingDetails,
    BillingPeriod,
    CreditTransaction,
    Invoice,
    InvoiceLine,
    Tenant,
    UsageHour,
    UsageRow,
)
from tests.plugins.tiers import by_tier
from tests.support.usage_rows import usage

NANO = st.integers(min_value=0, max_value=60_000_000)
CENTS = st.integers(min_value=1, max_value=40)
EXAMPLES = by_tier(default=3, ci=8, proof=300)
START = datetime(2024, 1, 1, tzinfo=UTC)


class Books(RuleBasedStateMachine):
    """One tenant whose months end when a rule says so; usage may come for any month that began."""

    def __init__(self) -> None:
        super().__init__()
        self.undone = transaction.atomic()
        self.undone.__enter__()
        self.number = Tenant.objects.count()
        self.tenant = Tenant.objects.create(
            slug=f"t{self.number}", name="T", time_zone="Europe/Berlin", created_at=START
        )
        self.now = START + timedelta(days=10)
        self.references = 0
        self.issuer = BillingDetails.objects.create(name="Issuer", tax_basis_points=1900)
        periods.advance(self.tenant, self.now)

    @rule(nano=NANO, output=NANO, alias=st.sampled_from("ab"), back=st.integers(0, 60))
    def call(self, nano: int, output: int, alias: str, back: int) -> None:
        at = max(self.now - timedelta(days=back), START)
        amounts = {"input_fresh": nano, "output_reasoning": output}
        usage(self.tenant, at, charges=amounts, alias=alias)

    @precondition(lambda self: UsageRow.objects.filter(tenant=self.tenant).exists())
    @rule(nano=NANO)
    def correct(self, nano: int) -> None:
        """The last row, taken back and rated anew."""
        row = UsageRow.objects.filter(tenant=self.tenant, corrects=None).latest("pk")
        kept: dict[str, Any] = {"alias": row.alias, "status": "correction", "corrects": row.pk}
        back = {"input_fresh": -row.charge_input_fresh}
        usage(self.tenant, row.opened_at, charges=back, tokens={}, **kept)
        usage(self.tenant, row.opened_at, charges={"input_fresh": nano}, tokens={}, **kept)

    @rule(amount=CENTS, days=st.none() | st.integers(-2, 2))
    def grant(self, amount: int, days: int | None) -> None:
        self.references += 1
        expires_at = None if days is None else clock.now() + timedelta(days=days)
        prepaid.grant(self.tenant.pk, amount, f"grant {self.references}", expires_at=expires_at)

    @rule(points=st.none() | st.sampled_from((0, 1, 777, 1900, 10_000)))
    def tax(self, points: int | None) -> None:
        self.issuer.tax_basis_points = points
        self.issuer.save()

    @rule(marks=st.integers(1, 5))
    def sum_some(self, marks: int) -> None:
        rollups.recompute_dirty(marks)

    @rule()
    def expire(self) -> None:
        prepaid.expire()

    @rule()
    def end_the_month(self) -> None:
        self.now += timedelta(days=31)
        periods.advance(self.tenant, self.now)

    @rule()
    def issue(self) -> None:
        issued = invoices.issue(self.tenant)
        for invoice in issued:
            again = invoices.finalize(invoice.pk)
            assert again is not None
            assert (again.number, again.sha256) == (invoice.number, invoice.sha256)

    @precondition(lambda self: self.creditable() is not None)
    @rule(part=st.integers(1, 3))
    def credit(self, part: int) -> None:
        line = self.creditable()
        assert line is not None
        taken = InvoiceLine.objects.filter(corrects=line).aggregate(Sum("amount_cents"))
        rest = line.amount_cents + (taken["amount_cents__sum"] or 0)
        invoices.credit_note(line.invoice_id, {line.pk: max(1, rest // part)}, "reason")

    def creditable(self) -> InvoiceLine | None:
        lines = InvoiceLine.objects.filter(
            invoice__tenant=self.tenant, invoice__state="finalized", amount_cents__gt=0
        )
        for line in lines:
            taken = InvoiceLine.objects.filter(corrects=line).aggregate(Sum("amount_cents"))
            if line.amount_cents + (taken["amount_cents__sum"] or 0) > 0:
                return line
        return None

    @invariant()
    def credit_is_never_below_nothing_and_entries_balance(self) -> None:
        assert prepaid.balance(self.tenant.pk) >= 0
        movements = CreditTransaction.objects.filter(tenant=self.tenant)
        for movement in movements.annotate(total=Sum("entries__amount_cents")):
            assert movement.total == 0

    @invariant()
    def numbers_have_no_gaps(self) -> None:
        numbers = Invoice.objects.filter(tenant=self.tenant, number__isnull=False)
        found = sorted(number or 0 for number in numbers.values_list("number", flat=True))
        assert found == list(range(1, len(found) + 1))

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            transaction.set_rollback(True)
            self.undone.__exit__(None, None, None)

    def settle(self) -> None:
        """Sum and invoice everything at the end: then rows, sums and lines are the same."""
        while rollups.recompute_dirty():
            pass
        # Late usage needs a month with charges to come out with.
        usage(self.tenant, self.now, charges={"input_fresh": 1}, alias="a")
        while rollups.recompute_dirty():
            pass
        periods.advance(self.tenant, self.now + timedelta(days=40))
        invoices.issue(self.tenant)
        rows = UsageRow.objects.filter(tenant=self.tenant).aggregate(Sum("charge_nano"))
        sums = UsageHour.objects.filter(tenant=self.tenant).aggregate(Sum("charge_nano"))
        lines = InvoiceLine.objects.filter(
            invoice__tenant=self.tenant, invoice__state="finalized"
        ).exclude(kind="credit")
        invoiced = lines.aggregate(Sum("amount_nano"))["amount_nano__sum"]
        assert rows["charge_nano__sum"] == sums["charge_nano__sum"] == invoiced
        for period in BillingPeriod.objects.filter(tenant=self.tenant, state="finalized"):
            assert charges.late(period) == {}
        assert selfcheck.examine() == []


Books.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.persistence
@pytest.mark.django_db
def test_the_books_agree_whatever_happens() -> None:
    Books.TestCase("runTest").runTest()
