"""Sums by model are what rows add up to, with how long calls took, also of rows older than those sums."""

from __future__ import annotations

import importlib
import random
from datetime import timedelta

import pytest
from django.apps import apps
from django.db.models import Sum

from tenants.billing import histograms, jobs, rollups, selfcheck
from tenants.models import (
    ModelDay,
    ModelHour,
    RetentionHorizon,
    SumsBackfill,
    Tenant,
    UsageDay,
    UsageHour,
)
from tenants.models.rollups import BUCKETS
from tests.support.usage_rows import AT, usage

pytestmark = [pytest.mark.persistence, pytest.mark.django_db(transaction=True)]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
migration = importlib.import_module("tenants.migrations.0021_sums_by_model")


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def summed(model: type[ModelHour] | type[ModelDay], *names: str) -> tuple[int, ...]:
    found = model.objects.aggregate(**{f"of_{name}": Sum(name) for name in names})
    return tuple(found[f"of_{name}"] for name in names)


def test_an_hour_has_one_sum_for_all_keys_and_says_how_its_calls_ended(tenant: Tenant):
    usage(tenant, key_public_id="key0000001")
    usage(tenant, key_public_id="key0000002", status="incomplete")
    for status in ("client_gone", "cancelled", "abandoned"):
        usage(tenant, status=status, usage_source="counted")
    usage(tenant, status="failed", absorbed=True, charges={}, tokens={}, usage_source="none")
    usage(tenant, leg=1)
    usage(tenant, status="correction", charges={"input_fresh": -2_000}, tokens={"input_fresh": -20})
    rollups.recompute_dirty(100)

    for model in (ModelHour, ModelDay):
        row = model.objects.get()
        assert (row.requests, row.calls, row.failed, row.absorbed) == (6, 7, 1, 1)
        assert (row.incomplete, row.client_gone, row.cancelled, row.abandoned) == (1, 1, 1, 1)
        assert (row.input_fresh, row.charge_nano, row.estimated) == (100, 58_000, 3)
    assert UsageDay.objects.aggregate(Sum("absorbed"))["absorbed__sum"] == 1
    assert selfcheck.examine() == []


def test_how_long_calls_took_is_counted_of_those_that_were_answered(tenant: Tenant):
    for ms, status in ((0, "completed"), (1, "completed"), (900, "incomplete"), (5, "failed")):
        usage(tenant, status=status, duration_ms=ms, ttft_ms=None)
    usage(tenant, AT + HOUR, duration_ms=10**8, ttft_ms=200)
    rollups.recompute_dirty(100)

    row = ModelDay.objects.get()
    counts = {name: getattr(row, name) for name in histograms.ALL_COLUMNS}
    assert {name: count for name, count in counts.items() if count is not None} == {
        "duration_00": 2,
        "duration_20": 1,  # from 837 ms to 1,171 ms
        "duration_39": 1,
        "first_token_15": 1,
    }


def test_rows_from_before_there_were_sums_by_model_are_summed_the_newest_day_first(tenant: Tenant):
    for days in range(3):
        usage(tenant, AT - days * DAY, duration_ms=100)
    rollups.recompute_dirty(100)
    expected = summed(ModelDay, "calls", "charge_nano", "duration_13")
    ModelHour.objects.all().delete()
    ModelDay.objects.all().delete()
    # The rows of the first of these days may be gone: what is known of it are the sums by key.
    RetentionHorizon.objects.create(table="usage", before=AT - DAY - 13 * HOUR)

    migration.begin_backfill(apps, None)
    assert jobs.is_anything_to_backfill()
    assert rollups.backfill()
    day = AT.replace(hour=0, minute=0)
    assert SumsBackfill.objects.get().reached == day
    assert [row.starts_at for row in ModelDay.objects.all()] == [day]
    assert selfcheck.examine() == []  # of what is not there yet nothing is asked

    for _ in jobs.backfill_sums():
        pass
    assert not jobs.is_anything_to_backfill()
    calls, charge, duration = summed(ModelDay, "calls", "charge_nano", "duration_13")
    assert (calls, charge, duration) == (*expected[:2], 2)
    assert (calls, charge, duration) == summed(ModelHour, "calls", "charge_nano", "duration_13")
    assert not rollups.backfill()


def test_an_installation_without_usage_has_nothing_to_sum_again(tenant: Tenant):
    migration.begin_backfill(apps, None)
    assert not SumsBackfill.objects.exists()


def test_a_rebuild_and_the_self_check_include_them(tenant: Tenant):
    usage(tenant)
    rollups.recompute_dirty(100)
    ModelHour.objects.update(calls=7)
    ModelDay.objects.all().delete()
    assert "Sums by key and by model" in selfcheck.examine()[0]
    rollups.rebuild()
    assert selfcheck.examine() == []
    assert UsageHour.objects.get().calls == ModelHour.objects.get().calls == 1


def test_percentiles_of_spread_calls_are_off_by_a_few_per_cent():
    drawn = random.Random(4)  # a fixed sample
    for median, spread, count in ((40, 0.2, 50), (900, 0.9, 5_000), (30_000, 0.5, 300)):
        times = sorted(int(median * drawn.lognormvariate(0, spread)) for _ in range(count))
        counts = [0] * BUCKETS
        for ms in times:
            counts[sum(ms >= least for least in histograms.LEAST_MS[1:])] += 1
        for percent in (50, 95):
            exact = times[-(-count * percent // 100) - 1]
            told = histograms.percentile(counts, percent)
            assert told is not None
            assert abs(told - exact) <= 0.2 * exact, (median, percent, told, exact)
    assert histograms.percentile([0] * BUCKETS, 95) is None
