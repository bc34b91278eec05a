"""Usage over time is what the ledger's rows add up to, in the days of any time zone and in every grouping."""

from __future__ import annotations

import csv
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.access.access import OPERATOR, Access, access_as
from tenants.billing import rollups
from tenants.models import ApiKey, RetentionHorizon, Tenant, UsageRow
from tenants.reports import buckets, usage_csv
from tenants.reports.freshness import freshness
from tenants.reports.usage_series import SeriesQuestion, UsageSeries, usage_series
from tests.plugins.cases import cases
from tests.support import usage_rows

pytestmark = [pytest.mark.persistence, pytest.mark.django_db]

DAY = timedelta(days=1)
END = datetime(
    2026, 11, 8, 12, tzinfo=UTC
)  # clocks went back in Berlin and New York not long before
COLUMNS = {"key": "key_public_id", "model": "upstream_model"}


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def fill(tenant: Tenant, count: int = 120, days: int = 20) -> None:
    """Rows at odd times, many of them close to midnights of some zone."""
    drawn = random.Random(7)
    for number in range(count):
        at = END - days * DAY * drawn.random()
        if number % 3 == 0:
            hour, minute = drawn.choice([(18, 29), (18, 31), (18, 14), (18, 16), (22, 59), (0, 1)])
            at = at.replace(hour=hour, minute=minute)
        usage_rows.usage(
            tenant,
            min(at, END),
            alias=drawn.choice(["smart", "fast", "odd"]),
            provider=drawn.choice(["openai", "groq"]),
            upstream_model=drawn.choice(["gpt-5", "llama"]),
            key_public_id=drawn.choice(["key0000001", "key0000002", ""]),
            end_user=drawn.choice(["ann", "bob", ""]),
            charges={"input_fresh": drawn.randrange(9_000)},
            status=drawn.choice(["completed", "completed", "failed", "client_gone"]),
        )
    while rollups.recompute_dirty():
        pass


def ask(tenant: Tenant | None, days: int, by: str = "alias", **more: Any) -> UsageSeries:
    zone = more.pop("zone", "UTC")
    asked = SeriesQuestion(
        None if tenant is None else tenant.pk, END - days * DAY, END, by, zone, more
    )
    return usage_series(OPERATOR, asked, freshness(END))


def of_rows(found: UsageSeries, by: str, **filters: str) -> Counter[tuple[int, str]]:
    """Return what the rows say of charges, by bucket and group."""
    column = COLUMNS.get(by, by)
    chosen = {COLUMNS.get(name, name): value for name, value in filters.items()}
    expected: Counter[tuple[int, str]] = Counter()
    for row in UsageRow.objects.filter(**chosen):
        for place, (start, end) in enumerate(found.buckets.spans):
            if start <= row.opened_at < end:
                expected[place, getattr(row, column)] += row.charge_nano
    return expected


def of_series(found: UsageSeries) -> Counter[tuple[int, str]]:
    return Counter(
        {
            (place, group.key or ""): used.charge_nano
            for group, line in found.series
            for place, used in enumerate(line)
            if used.charge_nano
        }
    )


@cases("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu"])
def test_every_bucket_of_every_zone_is_what_its_rows_add_up_to(zone: str, tenant: Tenant):
    if not UsageRow.objects.exists():
        fill(tenant)
    for days, step in ((1, "hour"), (6, "quarter"), (20, "day"), (200, "month")):
        found = ask(tenant, days, zone=zone)
        assert found.buckets.step == step
        assert of_series(found) == +of_rows(found, "alias"), (zone, days)
        assert found.total.charge_nano == sum(of_series(found).values())
        assert found.total.charge_nano == sum(group.used.charge_nano for group in found.groups)
        begins = [start.astimezone(ZoneInfo(zone)) for start, _ in found.buckets.spans]
        if step != "hour":
            assert {(at.hour % 6, at.minute) for at in begins} == {(0, 0)}


def test_every_grouping_and_filter_adds_up_the_same_rows(tenant: Tenant):
    fill(tenant)
    for by in ("alias", "key", "model", "provider", "end_user"):
        found = ask(tenant, 20, by, zone="Asia/Kolkata")
        assert of_series(found) == +of_rows(found, by), by
        assert found.total.requests == 120
    for filters in ({"alias": "odd"}, {"key": "key0000002"}, {"end_user": "ann", "model": "llama"}):
        found = ask(tenant, 20, "provider", **filters)
        assert of_series(found) == +of_rows(found, "provider", **filters), filters
    assert ask(tenant, 20, alias="there is none").groups == []


def test_groups_beyond_the_largest_are_one_line_together(tenant: Tenant):
    for number in range(10):
        usage_rows.usage(
            tenant, END - DAY, alias=f"a{number}", charges={"input_fresh": 100 - number}
        )
    usage_rows.usage(tenant, END - DAY, alias="", charges={"input_fresh": 1})
    rollups.recompute_dirty()

    found = ask(tenant, 20)

    assert [group.key for group, _ in found.series] == [*(f"a{n}" for n in range(7)), None]
    assert found.series[-1][0].used.charge_nano == 93 + 92 + 91 + 1
    assert len(found.groups) == 11
    assert found.total.charge_nano == sum(group.used.charge_nano for group in found.groups)


def test_an_hour_whose_rows_are_gone_counts_for_the_day_that_begins_in_it(tenant: Tenant):
    """Midnight in Kolkata is at 18:30 UTC."""
    usage_rows.usage(tenant, (END - 5 * DAY).replace(hour=18, minute=10))
    rollups.recompute_dirty()
    zone = "Asia/Kolkata"
    before = ask(tenant, 20, zone=zone)
    RetentionHorizon.objects.create(table="usage", before=END - DAY)
    after = ask(tenant, 20, zone=zone)

    places = [next(place for place, _ in of_series(found)) for found in (before, after)]
    assert places[1] == places[0] + 1
    assert before.total.charge_nano == after.total.charge_nano == 10_000


def test_keys_and_tenants_are_called_by_their_names(tenant: Tenant):
    key = ApiKey.objects.create(tenant=tenant, name="ci")
    usage_rows.usage(tenant, END - DAY, key_public_id=key.public_id)
    rollups.recompute_dirty()
    [group] = ask(tenant, 20, "key").groups
    assert (group.key, group.label, group.chooses) == (key.public_id, "ci", key.public_id)
    [group] = ask(None, 20, "tenant").groups
    assert (group.key, group.label, group.chooses) == (str(tenant.pk), "Acme", "acme")


def test_a_tenants_people_see_theirs_without_costs_and_what_they_are_not_shown_is_refused(
    tenant: Tenant,
):
    other = Tenant.objects.create(slug="other", name="Other", shows_upstreams=False)
    for one in (tenant, other):
        usage_rows.usage(one, END - DAY)
    rollups.recompute_dirty()
    viewer, guest = access_as(tenant, "viewer"), access_as(other, "viewer")

    def asked(who: Access, tenant_id: int | None, by: str = "alias", days: int = 20) -> UsageSeries:
        question = SeriesQuestion(tenant_id, END - days * DAY, END, by)
        return usage_series(who, question, freshness(END))

    assert asked(OPERATOR, None).total.cost_nano == 10_000
    for found in (asked(viewer, tenant.pk), asked(viewer, None)):
        assert (found.total.requests, found.total.cost_nano) == (1, None)
        assert found.groups[0].used.cost_nano is None
    for who, tenant_id, by in (
        (viewer, other.pk, "alias"),
        (guest, other.pk, "model"),
        (guest, None, "provider"),
        (Access(), None, "alias"),
    ):
        with pytest.raises(PermissionDenied):
            asked(who, tenant_id, by)
    for who, tenant_id, by, days in (
        (OPERATOR, None, "end_user", 20),
        (viewer, tenant.pk, "end_user", 401),
        (viewer, tenant.pk, "alias", 401),
        (viewer, tenant.pk, "alias", -1),
    ):
        with pytest.raises(ValidationError):
            asked(who, tenant_id, by, days)
    filtered = SeriesQuestion(tenant.pk, END - 32 * DAY, END, filters={"end_user": "ann"})
    with pytest.raises(ValidationError):
        usage_series(viewer, filtered, freshness(END))


def test_it_is_one_statement_whatever_is_asked(tenant: Tenant):
    fill(tenant, 5)
    known = freshness(END)
    asked = SeriesQuestion(tenant.pk, END - 90 * DAY, END, "alias", "Asia/Kolkata")
    with CaptureQueriesContext(connection) as queries:
        usage_series(OPERATOR, asked, known)
    assert len(queries) == 1


def test_the_csv_has_every_group_and_no_cell_that_a_spreadsheet_would_run(tenant: Tenant):
    names = [f"alias-{number}" for number in range(9)]
    hostile = ["=cmd()", "+1", "-1", "@sum", "\tx", 'a "quoted", one']
    for name in (*names, *hostile):
        usage_rows.usage(tenant, END - 15 * DAY, alias=name)
    rollups.recompute_dirty()
    asked = SeriesQuestion(tenant.pk, END - 20 * DAY, END)

    def read(who: Access) -> list[dict[str, str]]:
        return list(
            csv.DictReader("".join(usage_csv.pieces(who, asked, freshness(END))).splitlines())
        )

    rows = read(OPERATOR)
    assert len(rows) == 15
    assert {row["alias"] for row in rows} == {
        *names, "'=cmd()", "'+1", "'-1", "'@sum", "'\tx", 'a "quoted", one',
    }  # fmt: skip
    assert sum(int(row["charge_nano"]) for row in rows) == 150_000
    assert {row["cost_nano"] for row in rows} == {"5000"}
    assert "cost_nano" not in read(access_as(tenant, "billing"))[0]


def test_the_csv_adds_up_to_what_its_page_shows(tenant: Tenant):
    """The page reads long spans of all tenants by day of UTC, and so does the file."""
    fill(tenant, days=40)
    known = freshness(END)
    for asked_of, days, by in ((tenant.pk, 35, "key"), (None, 35, "key"), (None, 35, "alias")):
        asked = SeriesQuestion(asked_of, END - days * DAY, END, by, "Asia/Kolkata")
        shown = usage_series(OPERATOR, asked, known)
        lines = csv.DictReader("".join(usage_csv.pieces(OPERATOR, asked, known)).splitlines())
        charges: Counter[str] = Counter()
        for line in lines:
            charges[line["starts_at"]] += int(line["charge_nano"])
        expected = {
            start.isoformat(): sum(used[place].charge_nano for _, used in shown.series)
            for place, (start, _) in enumerate(shown.buckets.spans)
        }
        assert +charges == {at: nano for at, nano in expected.items() if nano}, (asked_of, by)


def test_no_bucket_is_empty_of_time_or_overlaps_another():
    """Clocks that go back or forward, at midnight too, and every length of span."""
    for zone in ("Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Africa/Cairo"):
        for days in (1, 5, 60, 399):
            for month in (3, 4, 10, 11):
                end = datetime(2026, month, 9, 7, 5, tzinfo=UTC)
                found = buckets.divide(end - days * DAY, end, zone)
                assert found.start <= end - days * DAY < found.end
                assert found.end >= end
                assert all(start < until for start, until in found.spans)
                assert len(found) <= 130
