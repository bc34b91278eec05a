"""Windows follow each other without a gap in every zone, also where the clock is changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from tenants.budgets import zones
from tenants.budgets.terms import BudgetTerms
from tenants.budgets.windows import Window, window
from tests.plugins.cases import cases

HOUR = 3600
PERIODS = ("daily", "weekly", "monthly", "total")
# Among them zones whose clock skips or repeats midnight, that skipped a day, and with half-hour changes.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
)
INSTANTS = st.integers(
    min_value=int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()),
    max_value=int(datetime(2038, 1, 1, tzinfo=UTC).timestamp()),
)


def in_zone(period: str, zone: str) -> BudgetTerms:
    """The terms of a budget whose tenant never had another zone."""
    return BudgetTerms(1, period, zones.switches(zones.unchanged(zone), period), is_hard=True)


def at(zone: str, period: str, *moment: int) -> Window:
    """The window that the local moment lies in."""
    local = datetime(*moment, tzinfo=ZoneInfo(zone))  # type: ignore[misc, arg-type]
    return window(in_zone(period, zone), local.timestamp())


def hours(of: Window) -> float:
    assert of.ends_at is not None
    return (of.ends_at - of.starts_at) / HOUR


def days(of: Window, zone: str) -> tuple[date, date]:
    assert of.ends_at is not None
    begin, end = (datetime.fromtimestamp(at, ZoneInfo(zone)) for at in (of.starts_at, of.ends_at))
    return begin.date(), end.date()


@cases(
    ("zone", "day", "length"),
    [
        ("Europe/Berlin", (2026, 3, 28), 24),
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("America/New_York", (2026, 3, 8), 23),
        ("America/New_York", (2026, 11, 1), 25),
        ("Australia/Lord_Howe", (2026, 10, 4), 23.5),
        ("Australia/Lord_Howe", (2026, 4, 5), 24.5),
        ("UTC", (2026, 3, 29), 24),
    ],
)
def test_a_day_has_the_hours_its_clock_gives_it(
    zone: str, day: tuple[int, int, int], length: float
) -> None:
    assert hours(at(zone, "daily", *day, 12)) == length


def test_where_midnight_is_skipped_the_day_begins_when_the_clock_goes_on() -> None:
    zone = "America/Sao_Paulo"  # on 2018-11-04 the clock went from 23:59:59 to 01:00
    before, day = at(zone, "daily", 2018, 11, 3, 12), at(zone, "daily", 2018, 11, 4, 12)
    assert before.ends_at == day.starts_at
    assert datetime.fromtimestamp(day.starts_at, ZoneInfo(zone)).hour == 1
    assert (hours(before), hours(day)) == (24, 23)


def test_where_midnight_comes_twice_the_day_begins_with_the_first() -> None:
    zone = "America/Havana"  # on 2026-11-01 the clock goes from 01:00 back to 00:00
    day = at(zone, "daily", 2026, 11, 1, 12)
    assert hours(day) == 25
    assert datetime.fromtimestamp(day.starts_at, ZoneInfo(zone)).fold == 0


def test_a_day_that_never_was_has_no_window() -> None:
    zone = "Pacific/Apia"  # 2011-12-30 was skipped
    before = at(zone, "daily", 2011, 12, 29, 12)
    after = at(zone, "daily", 2011, 12, 31, 12)
    assert before.ends_at == after.starts_at
    assert hours(before) == hours(after) == 24


def test_a_week_begins_on_monday_and_a_clock_change_makes_it_shorter() -> None:
    zone = "Europe/Berlin"
    week = at(zone, "weekly", 2026, 3, 29, 23)
    assert days(week, zone) == (date(2026, 3, 23), date(2026, 3, 30))
    assert hours(week) == 7 * 24 - 1
    assert at(zone, "weekly", 2026, 3, 30, 0).starts_at == week.ends_at


@cases(
    ("moment", "first", "following"),
    [
        ((2026, 2, 28, 23), date(2026, 2, 1), date(2026, 3, 1)),
        ((2028, 2, 29, 12), date(2028, 2, 1), date(2028, 3, 1)),
        ((2026, 12, 31, 23), date(2026, 12, 1), date(2027, 1, 1)),
        ((2026, 1, 1, 0), date(2026, 1, 1), date(2026, 2, 1)),
    ],
)
def test_a_month_ends_where_the_next_begins(
    moment: tuple[int, ...], first: date, following: date
) -> None:
    assert days(at("Europe/Berlin", "monthly", *moment), "Europe/Berlin") == (first, following)


def test_a_total_has_no_end() -> None:
    assert at("Europe/Berlin", "total", 2026, 3, 29, 12) == Window(1, 0, None)


@given(zone=st.sampled_from(ZONES), period=st.sampled_from(PERIODS), instant=INSTANTS)
def test_every_instant_lies_in_one_window_whose_neighbours_touch_it(
    zone: str, period: str, instant: int
) -> None:
    terms = in_zone(period, zone)
    found = window(terms, instant)
    assert found.holds(instant)
    if found.ends_at is None:
        return
    assert window(terms, found.starts_at) == found
    assert window(terms, found.ends_at - 1) == found
    assert window(terms, found.starts_at - 1).ends_at == found.starts_at
    assert window(terms, found.ends_at).starts_at == found.ends_at
    longest = {"daily": 1, "weekly": 7, "monthly": 31}[period]
    assert timedelta(seconds=found.ends_at - found.starts_at) <= timedelta(days=longest, hours=2)
