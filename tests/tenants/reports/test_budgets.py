"""A budget tells what is used, reserved and left of it, and when it will be used up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenants.billing import rollups
from tenants.keys import keys
from tenants.models import Budget, Tenant
from tenants.reports import budgets
from tests.support import usage_rows

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 10, 21, 12, tzinfo=UTC)
DOLLAR = 10**9


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway_project.lib.clock.now", lambda: NOW)


@pytest.fixture
def berlin() -> Tenant:
    return Tenant.objects.create(name="Berlin", slug="berlin", time_zone="Europe/Berlin")


def budget(tenant: Tenant, **fields: object) -> Budget:
    values = {"name": "team", "amount_nano": 100 * DOLLAR, **fields}
    return Budget.objects.create(tenant=tenant, **values)


def spend(tenant: Tenant, days_ago: float, dollars: int, key: str = "key0000001") -> None:
    at = NOW - timedelta(days=days_ago)
    usage_rows.usage(tenant, at, charges={"input_fresh": dollars * DOLLAR}, key_public_id=key)
    rollups.recompute_dirty()


def test_a_period_is_that_of_the_tenants_zone(berlin: Tenant):
    made = budget(berlin)
    begins = datetime(2026, 9, 30, 22, tzinfo=UTC)
    window = made.windows.create(starts_at=begins, spent_nano=30 * DOLLAR, reserved_nano=DOLLAR)
    window.alerts.create(percent=25, spent_nano=25 * DOLLAR)
    made.windows.create(starts_at=begins - timedelta(days=30), spent_nano=99 * DOLLAR)

    found = budgets.standing(made)

    assert (found.starts_at, found.ends_at) == (begins, datetime(2026, 10, 31, 23, tzinfo=UTC))
    assert (found.used_nano, found.reserved_nano, found.left_nano) == (
        30 * DOLLAR, DOLLAR, 69 * DOLLAR,
    )  # fmt: skip
    assert found.reached == (25,)
    assert (found.percent(found.used_nano), found.percent(-1), found.percent(10**15)) == (
        30,
        0,
        100,
    )


def test_a_budget_nobody_drew_on_has_all_of_it_left(berlin: Tenant):
    found = budgets.standing(budget(berlin, period="total", amount_nano=0))

    assert (found.starts_at, found.ends_at, found.left_nano) == (None, None, 0)
    assert found.runs_out_at is None
    assert found.percent(0) == 100


def test_the_day_it_runs_out_follows_from_the_last_seven_days(berlin: Tenant):
    key, _ = keys.create(berlin, "ci")
    whole, of_key = budget(berlin), budget(berlin, api_key=key, amount_nano=10 * DOLLAR)
    for made, spent in ((whole, 60), (of_key, 5)):
        made.windows.create(
            starts_at=datetime(2026, 9, 30, 22, tzinfo=UTC), spent_nano=spent * DOLLAR
        )
    spend(berlin, 30, 1000)  # too long ago to say anything
    spend(berlin, 2, 10)
    spend(berlin, 1, 10)
    spend(berlin, 0, 5, key.public_id)

    found = budgets.standings([whole, of_key])

    assert found[whole.pk].daily_nano == (0, 0, 0, 0, 10 * DOLLAR, 10 * DOLLAR, 5 * DOLLAR)
    # 25 dollars since the midnight two days ago: ten a day, and forty are left.
    assert found[whole.pk].runs_out_at == NOW + timedelta(days=4)
    # Five within half a day count as five a day: less than a day says nothing about a day.
    assert found[of_key.pk].runs_out_at == NOW + timedelta(days=1)


def test_what_lasts_until_the_next_period_does_not_run_out(berlin: Tenant):
    spend(berlin, 1, 1)

    assert budgets.standing(budget(berlin)).runs_out_at is None
    assert budgets.standing(budget(berlin, period="total", amount_nano=10**18)).runs_out_at is None
    lasting = budgets.standing(budget(berlin, period="total", amount_nano=20 * DOLLAR))
    assert lasting.runs_out_at is not None


def test_a_budget_of_list_prices_goes_by_its_own_period(berlin: Tenant):
    spend(berlin, 1, 90)
    made = budget(berlin, counts_list_price=True)
    made.windows.create(starts_at=datetime(2026, 9, 30, 22, tzinfo=UTC), spent_nano=82 * DOLLAR)

    found = budgets.standing(made)

    assert found.daily_nano == ()
    # 82 dollars in 20 days and 14 hours; 18 last four and a half more.
    assert found.runs_out_at is not None
    assert timedelta(days=4) < found.runs_out_at - NOW < timedelta(days=5)


def test_standings_take_as_many_queries_for_many_budgets_as_for_one(
    berlin: Tenant, django_assert_num_queries
):
    made = [
        budget(berlin, name=f"budget {n}", period=p) for n, p in enumerate(Budget.Period.values)
    ]
    for each in made:
        span = budgets.current_span(each, NOW)
        each.windows.create(starts_at=span[0] or datetime.fromtimestamp(0, UTC))
    for some in (made[:1], made):
        rows = list(
            Budget.objects.filter(pk__in=[b.pk for b in some]).select_related("tenant", "api_key")
        )
        with django_assert_num_queries(3):
            assert len(budgets.standings(rows)) == len(some)
