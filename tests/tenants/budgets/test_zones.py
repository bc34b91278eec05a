"""Another time zone brings no budget its next period sooner."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.lib import clock
from tenants.budgets import locks, zones
from tenants.budgets.terms import of_key
from tenants.budgets.windows import Window, window
from tenants.budgets.zones import DAY, LEAST_SECONDS
from tenants.ledger import booking
from tenants.models import Budget, BudgetWindow, Tenant
from tests.support.rows import Customer
from tests.tenants.budgets import bank

HOUR = 3600
NOON = int(datetime(2026, 11, 10, 12, tzinfo=UTC).timestamp())
MONDAY = int(datetime(2026, 11, 16, tzinfo=UTC).timestamp())
# None of these changes its clock, so that a day has 24 hours; they lie 26 hours apart.
STEADY = (
    "UTC",
    "Asia/Tokyo",
    "Asia/Kathmandu",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Etc/GMT+12",
)
CHANGING = (
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Africa/Cairo",
)
INSTANTS = st.integers(min_value=1_500_000_000, max_value=2_000_000_000)


def choices(among: tuple[str, ...]) -> st.SearchStrategy[list[tuple[int, str]]]:
    """Seconds to wait, and the zone that is chosen then."""
    waits = st.one_of(st.integers(0, 3 * HOUR), st.integers(0, 3 * DAY), st.integers(0, 40 * DAY))
    return st.lists(st.tuples(waits, st.sampled_from(among)), max_size=25)


def lived(
    period: str, start: int, chosen: list[tuple[int, str]]
) -> tuple[list[tuple[int, int]], set[tuple[int, int]], int]:
    """The periods that begin while somebody chooses zones, those that bridge a change, and when it ends."""
    kept, now = zones.unchanged("UTC"), start
    found = [zones.span(period, zones.switches(kept, period), start)]
    bridges: set[tuple[int, int]] = set()
    for wait, zone in [*chosen, (35 * DAY, "UTC")]:
        now += wait
        known = zones.switches(kept, period)
        while found[-1][1] <= now:
            found.append(zones.span(period, known, found[-1][1]))
        bridges |= {(s.at, s.until) for s in known if 0 < s.at <= now}
        kept = zones.change(kept, zone, now)
        assert max(len(switches) for switches in kept.values()) <= 6, (
            "what is kept of a tenant is bounded"
        )
        assert zones.span(period, zones.switches(kept, period), now) == found[-1], (
            "a running period stays"
        )
    return found, bridges, now


@given(start=INSTANTS, chosen=choices(STEADY))
def test_no_more_days_begin_than_pass_however_often_the_zone_changes(
    start: int, chosen: list[tuple[int, str]]
) -> None:
    found, _, end = lived("daily", start, chosen)
    passed = -((start - end) // DAY)  # begun days count
    assert len(found) <= passed + 1


@given(
    start=INSTANTS, period=st.sampled_from(sorted(LEAST_SECONDS)), chosen=choices(STEADY + CHANGING)
)
def test_a_period_that_bridges_a_change_is_never_shorter_than_a_full_one(
    start: int, period: str, chosen: list[tuple[int, str]]
) -> None:
    found, bridges, _ = lived(period, start, chosen)
    assert all(first[1] == second[0] for first, second in pairwise(found))
    for begin, end in found:
        # Where a clock goes forward a day of one zone has less than 24 hours, but never one that bridges.
        allowed = 0 if (begin, end) in bridges else HOUR
        assert end - begin >= LEAST_SECONDS[period] - allowed


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time, as the only entry."""
    moment = [NOON]
    monkeypatch.setattr(clock, "timestamp", lambda: float(moment[0]))
    return moment


def present(of: Customer, now: int) -> Window:
    """The window of the customer's only budget, as a worker that reads it now knows it."""
    of.key.refresh_from_db()
    (found,) = of_key(of.key)
    return window(found, now)


def choose(of: Customer, zone: str) -> None:
    tenant = Tenant.objects.get(pk=of.tenant.pk)
    tenant.time_zone = zone
    tenant.save()


@pytest.mark.django_db
@pytest.mark.persistence
def test_a_tenant_that_changes_its_zone_six_times_a_day_has_its_budget_once(
    acme: Customer, at: list[int]
) -> None:
    bank.budget(acme, 20_000_000, period="daily")
    begun = {present(acme, at[0]).starts_at}
    for zone in (
        "Pacific/Kiritimati",
        "Etc/GMT+12",
        "Asia/Tokyo",
        "Pacific/Pago_Pago",
        "UTC",
        "Asia/Dhaka",
    ):
        at[0] += 100 * 60
        choose(acme, zone)
        begun.add(present(acme, at[0]).starts_at)
    assert at[0] < NOON + DAY // 2
    assert len(begun) == 1
    at[0] = NOON + DAY // 2  # midnight of the zone that was left
    bridge = present(acme, at[0])
    assert bridge.starts_at == at[0]
    assert bridge.ends_at == at[0] + DAY + 18 * HOUR  # the second midnight of Dhaka from then on


@pytest.mark.django_db
def test_a_zone_that_is_taken_back_in_time_changes_nothing(acme: Customer, at: list[int]) -> None:
    bank.budget(acme, 20_000_000, period="weekly")
    choose(acme, "Asia/Tokyo")
    choose(acme, "UTC")
    assert present(acme, MONDAY) == Window(Budget.objects.get().pk, MONDAY, MONDAY + 7 * DAY)


@pytest.mark.django_db
def test_no_way_to_write_a_zone_moves_a_running_period(acme: Customer, at: list[int]) -> None:
    bank.budget(acme, 20_000_000, period="daily")
    before = present(acme, at[0])
    Tenant.objects.update_or_create(pk=acme.tenant.pk, defaults={"time_zone": "Asia/Tokyo"})
    assert present(acme, at[0]) == before
    assert present(acme, before.ends_at or 0).ends_at == (before.ends_at or 0) + DAY + 15 * HOUR
    Tenant.objects.filter(pk=acme.tenant.pk).update(time_zone="Etc/GMT+12")
    assert present(acme, at[0]) == before


@pytest.mark.django_db
@pytest.mark.persistence
def test_a_call_from_before_a_change_is_booked_to_the_period_that_paid_for_it(
    acme: Customer, at: list[int]
) -> None:
    bank.budget(acme, 20_000_000, period="daily")
    paid_by = present(acme, at[0])
    call = bank.booked(acme, paid_by, charge_nano=7_000)
    choose(acme, "Asia/Tokyo")
    at[0] += DAY
    booking.book([call], "spool")
    assert (acme.tenant.budgets.get().windows.get().spent_nano, present(acme, at[0]).starts_at) == (
        7_000,
        paid_by.ends_at,
    )


@pytest.mark.django_db
@pytest.mark.persistence
def test_a_worker_that_has_not_heard_of_the_change_spends_of_the_same_row(
    acme: Customer, at: list[int]
) -> None:
    bank.budget(acme, 20_000_000, period="daily")
    (stale,) = of_key(acme.key)
    choose(acme, "Asia/Tokyo")
    at[0] += DAY
    heard_late, heard = window(stale, at[0]), present(acme, at[0])
    assert heard_late.place == heard.place
    first, second = (locks.lock_window(each, make=True) for each in (heard_late, heard))
    assert first is not None
    assert second is not None
    assert first.pk == second.pk
    assert BudgetWindow.objects.get().ends_at == datetime.fromtimestamp(heard.ends_at or 0, UTC)
