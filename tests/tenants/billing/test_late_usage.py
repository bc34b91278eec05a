"""Late usage is found in all months at once, exactly as in each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.billing import charges, invoices, periods, rollups, sums
from tenants.models import BillingPeriod, Invoice, Tenant
from tests.support.usage_rows import usage

pytestmark = [pytest.mark.persistence, pytest.mark.django_db]

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = timedelta(days=31)


@pytest.fixture
def tenant() -> Tenant:
    """Its months begin in the middle of an hour of UTC."""
    return Tenant.objects.create(
        slug="acme", name="Acme", time_zone="Asia/Kolkata", created_at=FIRST
    )


def used(tenant: Tenant, at: datetime, nano: int, alias: str = "smart") -> None:
    usage(tenant, at, alias=alias, charges={"input_fresh": nano})


def closed(tenant: Tenant, now: datetime) -> list[BillingPeriod]:
    """Close and finalize every month that is over."""
    periods.advance(tenant, now)
    for invoice in Invoice.objects.filter(tenant=tenant, state="draft").order_by("pk"):
        invoices.finalize(invoice.pk, "somebody")
    return list(BillingPeriod.objects.filter(tenant=tenant, ends_at__lte=now).order_by("starts_at"))


def test_many_spans_are_summed_as_each_alone(tenant: Tenant):
    months = [FIRST + number * MONTH for number in range(5)]
    spans = [(begin - timedelta(minutes=330), end) for begin, end in pairwise(months)]
    spans = [(begin, end - timedelta(minutes=330)) for begin, end in spans]
    for number, (begin, end) in enumerate(spans):
        for minutes in (0, 29, 31, 600):
            used(tenant, begin + timedelta(minutes=minutes), 10**number, "a")
            used(tenant, end - timedelta(minutes=minutes + 1), 2 * 10**number, "b")
    rollups.recompute_dirty()
    used(
        tenant, spans[1][0] + timedelta(minutes=1), 7, "a"
    )  # in hours that are not summed again yet
    used(tenant, spans[2][1] - timedelta(days=3), 9, "c")
    each = [
        {str(total.group): total["charge_nano"] for total in sums.totals(tenant.pk, *span, "alias")}
        for span in spans
    ]
    assert sums.charged_in(tenant.pk, spans) == each
    assert sums.charged_in(tenant.pk, []) == []


def test_what_came_late_is_found_with_as_many_queries_for_nine_months_as_for_three(tenant: Tenant):
    for number in range(10):
        used(tenant, FIRST + number * MONTH + timedelta(days=5), 10_000_000)
    rollups.recompute_dirty()

    def queries(months: int) -> int:
        *_, last = closed(tenant, FIRST + months * MONTH + timedelta(days=3))
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert charges.with_late_usage(last) == []
        return len(captured)

    assert queries(3) == queries(9)

    *earlier, last = BillingPeriod.objects.filter(tenant=tenant, state="finalized").order_by(
        "starts_at"
    )
    used(tenant, earlier[1].starts_at + timedelta(minutes=5), 3)
    used(tenant, earlier[4].ends_at - timedelta(minutes=5), 4, "fast")
    found = charges.with_late_usage(last)
    assert [
        (period, {of: change.nano for of, change in changes.items()}) for period, changes in found
    ] == [
        (earlier[1], {("smart", "input_fresh"): 3}),
        (earlier[4], {("fast", "input_fresh"): 4}),
    ]
    assert charges.late(earlier[4]) == found[1][1]
    assert charges.late(earlier[3]) == {}
