"""Sums by end user are what rows add up to, are bounded, and go when the rows go."""

from __future__ import annotations

import csv
import importlib
from collections import Counter
from datetime import timedelta

import pytest
from django.apps import apps

from gateway_project.lib import clock
from tenants.access.access import OPERATOR
from tenants.billing import end_user_sums, jobs, retention, rollups, selfcheck
from tenants.models import (
    EndUserDay,
    EndUserHour,
    RetentionHorizon,
    SumsBackfill,
    Tenant,
    TenantDeletion,
)
from tenants.reports import usage_csv
from tenants.reports.freshness import freshness
from tenants.reports.usage_series import SeriesQuestion, UsageSeries, usage_series
from tests.support.usage_rows import AT, usage

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
migration = importlib.import_module("tenants.migrations.0029_sums_by_end_user")


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme", time_zone="Asia/Kolkata")


def use(tenant: Tenant, who: str, nano: int = 10, days: int = 0, hours: int = 0) -> None:
    at = AT - days * DAY + hours * HOUR
    usage(tenant, at, end_user=who, charges={"input_fresh": nano})


def ask(tenant: Tenant, days: int = 90, **filters: str) -> UsageSeries:
    end = AT + DAY
    asked = SeriesQuestion(tenant.pk, end - days * DAY, end, "end_user", tenant.time_zone, filters)
    return usage_series(OPERATOR, asked, freshness(end))


def file(tenant: Tenant, days: int) -> list[tuple[str, str, int]]:
    end = AT + DAY
    asked = SeriesQuestion(tenant.pk, end - days * DAY, end, "end_user", tenant.time_zone)
    text = "".join(usage_csv.pieces(OPERATOR, asked, freshness(end)))
    return [
        (line["end_user"], line["name"], int(line["charge_nano"]))
        for line in csv.DictReader(text.splitlines())
    ]


def charges(found: UsageSeries) -> dict[str | None, int]:
    return {group.key: group.used.charge_nano for group in found.groups}


def test_ninety_days_by_end_user_are_what_the_rows_add_up_to(tenant: Tenant):
    for days in (0, 20, 40, 85):
        for who, nano in (("ann", 30), ("bob", 20), ("", 5)):
            use(tenant, who, nano, days)
    usage(Tenant.objects.create(slug="other", name="Other"), end_user="ann")
    rollups.recompute_dirty()

    found = ask(tenant)
    assert charges(found) == {"ann": 120, "bob": 80, "": 20}
    assert (found.total.charge_nano, found.total.requests, found.rest) == (220, 12, None)
    assert found.buckets.zone == "UTC"
    assert charges(ask(tenant, end_user="bob")) == {"bob": 80}
    # As everybody is told apart, shorter spans have their days in the tenant's zone.
    assert charges(ask(tenant, 30)) == {"ann": 60, "bob": 40, "": 10}
    assert ask(tenant, 30).buckets.zone == "Asia/Kolkata"
    assert selfcheck.examine() == []
    EndUserDay.objects.update(charge_nano=7)
    assert charges(ask(tenant, 30)) == {"ann": 14, "bob": 14, "": 14}  # no row was asked
    assert charges(ask(tenant, 2)) == {"ann": 30, "bob": 20, "": 5}


def test_those_who_used_least_of_an_hour_or_day_are_one_sum_together(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(end_user_sums, "TOLD_APART", 3)
    for number, who in enumerate("abcdef"):
        use(tenant, who, 100 - number)
        use(tenant, who, 10 + number, hours=1)
    use(tenant, "", 1)
    rollups.recompute_dirty()

    per_hour = Counter(EndUserHour.objects.values_list("starts_at", flat=True))
    assert set(per_hour.values()) == {4}
    # Who is not named is told apart always; “a” and “b” led the first hour, “f”, “e” and “d” the second.
    assert set(EndUserDay.objects.values_list("end_user", flat=True)) == {"", "a", "b", None}
    found = ask(tenant)
    assert charges(found) == {"a": 100, "b": 99, "": 1}
    assert found.rest is not None
    total = sum(100 - n + 10 + n for n in range(6)) + 1
    assert found.total.charge_nano == total == found.rest.charge_nano + 200
    assert [(group.key, group.used.charge_nano) for group, _ in found.series][-1] == (
        None,
        found.rest.charge_nano,
    )
    assert selfcheck.examine() == []

    lines = file(tenant, 90)
    assert ("", "others", found.rest.charge_nano) in lines
    assert sum(nano for _, _, nano in lines) == total
    # A month is shown so, too; its file has everybody, from rows.
    month = ask(tenant, 30)
    assert (month.rest, month.buckets.zone) == (found.rest, "UTC")
    assert {who: nano for who, _, nano in file(tenant, 30)} == {
        "": 1, **dict.fromkeys("abcdef", 110),
    }  # fmt: skip
    assert ask(tenant, 2).rest is None


def test_rows_from_before_are_summed_by_the_job_as_far_back_as_there_are_rows(tenant: Tenant):
    for days in range(3):
        use(tenant, "ann", days=days)
    rollups.recompute_dirty()
    before = list(EndUserDay.objects.order_by("starts_at").values_list("starts_at", "charge_nano"))
    for model in (EndUserHour, EndUserDay):
        model.objects.all().delete()
    RetentionHorizon.objects.create(table="usage", before=AT - DAY - 13 * HOUR)

    migration.begin_backfill(apps, None)
    rollups.backfill()
    assert [at for at, _ in before[2:]] == list(
        EndUserDay.objects.values_list("starts_at", flat=True)
    )
    known = freshness(AT)
    assert (known.sums_from, known.end_users_from) == (None, before[2][0])
    assert selfcheck.examine() == []  # of what is not there yet nothing is asked
    for _ in jobs.backfill_sums():
        pass
    found = EndUserDay.objects.order_by("starts_at").values_list("starts_at", "charge_nano")
    assert list(found) == before[1:]
    assert not SumsBackfill.objects.exists()
    EndUserDay.objects.update(charge_nano=1)
    assert "Sums by end user" in selfcheck.examine()[0]
    rollups.rebuild()
    assert selfcheck.examine() == []


def test_they_go_when_the_rows_go_and_of_a_tenant_that_is_deleted_none_are_made(
    tenant: Tenant, settings
):
    settings.USAGE_DAYS = 30
    now = clock.now()
    for days in (50, 40, 3):
        usage(tenant, now - days * DAY, end_user="ann")
    rollups.recompute_dirty()
    assert (EndUserHour.objects.count(), EndUserDay.objects.count()) == (3, 3)
    retention.purge(batch=1)
    assert (EndUserHour.objects.count(), EndUserDay.objects.count()) == (1, 1)

    TenantDeletion.objects.create(tenant=tenant, tombstone="deleted-1")
    rollups.rebuild()
    assert not EndUserHour.objects.exists()
    assert not EndUserDay.objects.exists()
    assert selfcheck.examine() == []
