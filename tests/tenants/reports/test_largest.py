"""The tenants that metrics tell apart."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway_project.lib import clock
from tenants.models import Tenant, UsageDay
from tenants.reports.largest import largest_tenants
from tests.support import rows

pytestmark = pytest.mark.django_db


def spent(tenant: Tenant, days_ago: int, charge_nano: int, alias: str = "m") -> None:
    UsageDay.objects.create(
        tenant=tenant,
        starts_at=clock.now() - timedelta(days=days_ago),
        alias=alias,
        provider="p",
        upstream_model="u",
        charge_nano=charge_nano,
    )


def test_those_that_were_charged_most_of_late_come_first_and_others_fill_up() -> None:
    idle, small, large, former = (
        rows.customer(slug).tenant for slug in ("idle", "small", "large", "former")
    )
    spent(small, 1, 5)
    spent(large, 1, 3)
    spent(large, 2, 4)
    spent(former, 60, 1000)
    assert largest_tenants(1) == {large.pk: "large"}
    assert largest_tenants(2) == {large.pk: "large", small.pk: "small"}
    found = largest_tenants(100)
    assert {each.pk for each in (idle, small, large, former)} <= found.keys()
