"""Sums by hour and day are what their rows add up to, however often and by whomever they are computed."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.db import connection

from tenants.access.access import OPERATOR
from tenants.billing import rollups, selfcheck, sums
from tenants.models import DirtyHour, KeyDay, RetentionHorizon, Tenant, UsageDay, UsageHour
from tenants.reports.freshness import freshness
from tenants.reports.usage_series import SeriesQuestion, usage_series
from tests.support.usage_rows import AT, usage

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]

HOUR = timedelta(hours=1)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def figures(model: type[UsageHour] | type[UsageDay]) -> list[tuple[object, ...]]:
    return list(
        model.objects.order_by("starts_at", "tenant", "alias").values_list(
            "starts_at", "alias", "calls", "input_fresh", "charge_nano"
        )
    )


def test_marked_hours_are_summed_by_subject_and_their_days_with_them(tenant: Tenant):
    usage(tenant)
    usage(tenant, AT + timedelta(minutes=29, seconds=59, microseconds=999_999))
    usage(tenant, AT + HOUR, alias="fast")

    assert rollups.recompute_dirty(100) == 3

    assert figures(UsageHour) == [
        (AT.replace(minute=0), "smart", 2, 40, 20_000),
        (AT.replace(minute=0) + HOUR, "fast", 1, 20, 10_000),
    ]
    day = AT.replace(hour=0, minute=0)
    assert figures(UsageDay) == [(day, "fast", 1, 20, 10_000), (day, "smart", 2, 40, 20_000)]
    assert not DirtyHour.objects.exists()
    assert rollups.recompute_dirty(100) == 0


def test_more_rows_in_a_summed_hour_replace_its_sums(tenant: Tenant):
    usage(tenant)
    rollups.recompute_dirty(100)
    usage(tenant, status="failed", charges={}, tokens={}, usage_source="none", charge_version=None)
    usage(tenant, status="correction", charges={"input_fresh": -2_000}, tokens={"input_fresh": -20})
    rollups.recompute_dirty(100)

    hour = UsageHour.objects.get()
    assert (hour.calls, hour.failed, hour.estimated, hour.unpriced) == (2, 1, 0, 1)
    assert (hour.input_fresh, hour.charge_nano) == (0, 8_000)


def test_no_more_marks_than_the_limit_are_taken_at_once(tenant: Tenant):
    for hours in range(3):
        usage(tenant, AT + hours * HOUR)
    assert [rollups.recompute_dirty(2) for _ in range(3)] == [2, 1, 0]
    assert sum(hour.calls for hour in UsageHour.objects.all()) == 3


def test_two_who_sum_at_the_same_time_do_no_harm(tenant: Tenant):
    for minute in range(20):
        usage(tenant, AT + timedelta(minutes=minute))

    def summed(_: int) -> int:
        try:
            return rollups.recompute_dirty(3)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(summed, range(12))) == 20
    assert UsageHour.objects.get().calls == UsageDay.objects.get().calls == 20


def test_everything_can_be_rebuilt_from_nothing(tenant: Tenant):
    other = Tenant.objects.create(slug="other", name="Other")
    for days in range(3):
        usage(tenant, AT + timedelta(days=days))
        usage(other, AT + timedelta(days=days, hours=3))
    rollups.recompute_dirty(100)
    before = figures(UsageHour), figures(UsageDay)
    UsageHour.objects.all().delete()
    UsageDay.objects.update(calls=99)

    assert rollups.rebuild() == 3

    assert (figures(UsageHour), figures(UsageDay)) == before


def test_a_rebuild_keeps_the_sums_of_days_whose_rows_may_be_gone(tenant: Tenant):
    usage(tenant)
    rollups.recompute_dirty(100)
    RetentionHorizon.objects.create(table="usage", before=AT + HOUR)
    UsageHour.objects.update(calls=7)
    rollups.rebuild()
    assert UsageHour.objects.get().calls == 7


def test_a_row_that_comes_when_others_of_its_day_may_be_gone_leaves_their_sums(tenant: Tenant):
    usage(tenant)
    rollups.recompute_dirty(100)
    RetentionHorizon.objects.create(table="usage", before=AT + timedelta(days=1))
    UsageHour.objects.update(calls=7)
    usage(tenant)
    assert rollups.recompute_dirty(100) == 1
    assert UsageHour.objects.get().calls == 7
    assert not DirtyHour.objects.exists()


def test_only_marked_tenants_are_summed_anew(tenant: Tenant):
    others = [Tenant.objects.create(slug=slug, name=slug) for slug in ("b", "c")]
    for one in (tenant, *others):
        usage(one)
    rollups.recompute_dirty(100)
    UsageHour.objects.update(calls=7)
    for one in (tenant, others[1]):
        usage(one, AT + timedelta(minutes=1))
    rollups.recompute_dirty(100)
    calls = dict(UsageHour.objects.values_list("tenant_id", "calls"))
    assert calls == {tenant.pk: 2, others[0].pk: 7, others[1].pk: 2}
    assert dict(UsageDay.objects.values_list("tenant_id", "calls")) == {
        tenant.pk: 2,
        others[0].pk: 1,
        others[1].pk: 2,
    }


def test_totals_are_exact_while_sums_are_behind(tenant: Tenant):
    usage(tenant)
    usage(tenant, AT + HOUR)
    rollups.recompute_dirty(100)
    usage(tenant, AT + timedelta(minutes=1))
    start, end = AT - HOUR, AT + 5 * HOUR
    assert [total["calls"] for total in sums.totals(tenant.pk, start, end, None)] == [3]
    by_hour = sums.totals(tenant.pk, start, end, "hour")
    assert [(total.group, total["calls"]) for total in by_hour] == [
        (AT.replace(minute=0), 2),
        (AT.replace(minute=0) + HOUR, 1),
    ]


def test_hours_that_a_span_cuts_are_read_from_rows(tenant: Tenant):
    for minutes in (0, 10, 70):
        usage(tenant, AT + timedelta(minutes=minutes))
    rollups.recompute_dirty(100)

    def calls(start: datetime, end: datetime) -> int:
        return sum(total["calls"] for total in sums.totals(tenant.pk, start, end, "alias"))

    assert calls(AT, AT + timedelta(minutes=10)) == 1
    assert calls(AT + timedelta(microseconds=1), AT + timedelta(minutes=70)) == 1
    assert calls(AT, AT + timedelta(minutes=71)) == 3
    assert calls(AT.replace(minute=0), AT.replace(minute=0) + HOUR) == 2


def test_totals_are_of_one_tenant_or_of_all(tenant: Tenant):
    other = Tenant.objects.create(slug="other", name="Other")
    usage(tenant)
    usage(other)
    day = datetime(2026, 10, 15, tzinfo=UTC)
    found = sums.totals(None, day, day + timedelta(days=1), "tenant")
    assert [(total.group, total["calls"]) for total in found] == [(tenant.pk, 1), (other.pk, 1)]
    assert sums.totals(tenant.pk, day, day + timedelta(days=1), "day")[0].group == day


def test_an_upgrade_counts_the_requests_of_sums_that_are_there(tenant: Tenant):
    """Hours in which every call was a request of its own are known at once, the others are summed again."""
    usage(tenant)
    usage(tenant, AT + HOUR)
    usage(tenant, AT + HOUR, leg=1)
    rollups.recompute_dirty(100)
    for model in (UsageHour, UsageDay):
        model.objects.update(requests=0)

    importlib.import_module("tenants.migrations.0008_requests_in_sums").count_requests(apps, None)

    marked = AT.replace(minute=0) + HOUR
    assert DirtyHour.objects.values_list("hour", flat=True).get() == marked
    start, end = AT - HOUR, AT + 2 * HOUR
    assert [total["requests"] for total in sums.totals(tenant.pk, start, end, None)] == [2]
    rollups.recompute_dirty(100)
    assert [hour.requests for hour in UsageHour.objects.order_by("starts_at")] == [1, 1]
    assert UsageDay.objects.get().requests == 2


def test_answers_of_the_cache_are_counted_and_their_tokens_are_nobodys(tenant: Tenant):
    start = datetime(2026, 10, 15, tzinfo=UTC)
    end = start + timedelta(days=1)
    asked = SeriesQuestion(tenant.pk, start, end)
    usage(tenant, AT)
    usage(
        tenant, AT, charges={"input_fresh": 5}, cache_outcome="hit", saved_nano=9_995, provider=""
    )

    def found() -> tuple[int, ...]:
        (total,) = sums.totals(tenant.pk, start, end, None)
        names = ("requests", "hits", "input_fresh", "output_visible", "charge_nano", "saved_nano")
        return tuple(total[name] for name in names)

    of_rows = found()
    assert of_rows == (2, 1, 20, 10, 10_005, 9_995)
    rollups.recompute_dirty()
    assert found() == of_rows
    assert selfcheck.examine() == []
    shown = usage_series(OPERATOR, asked, freshness(AT)).total
    assert (shown.hits, shown.saved_nano, shown.tokens) == (1, 9_995, 30)
    by_end_user = usage_series(OPERATOR, replace(asked, by="end_user"), freshness(AT)).total
    assert by_end_user == shown


def test_days_by_key_alone_are_those_by_key_and_model(tenant: Tenant):
    for alias in ("smart", "fast"):
        usage(tenant, AT, alias=alias)
    usage(tenant, AT + HOUR, key_public_id="key0000002", alias="fast")
    rollups.recompute_dirty()
    days = KeyDay.objects.order_by("key_public_id").values_list("key_public_id", "calls")
    assert list(days) == [("key0000001", 2), ("key0000002", 1)]

    start = datetime(2026, 10, 1, tzinfo=UTC)
    asked = SeriesQuestion(tenant.pk, start, start + timedelta(days=30), "key")
    by_key = usage_series(OPERATOR, asked, freshness(AT))
    assert [(group.key, group.used.calls) for group in by_key.groups] == [
        ("key0000001", 2),
        ("key0000002", 1),
    ]
    of_alias = usage_series(OPERATOR, replace(asked, filters={"alias": "fast"}), freshness(AT))
    assert [group.used.calls for group in of_alias.groups] == [1, 1]
    assert selfcheck.examine() == []
    KeyDay.objects.update(charge_nano=1)
    assert selfcheck.examine() == [
        f"Sums by key of tenant {tenant.pk} on 2026-10-15 differ from its hours."
    ]
    rollups.rebuild()
    assert selfcheck.examine() == []
