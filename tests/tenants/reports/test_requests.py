"""The log of requests: whole requests, in order, page by page, whatever the filter, and nobody else's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tenants.access.access import OPERATOR, Access, access_as
from tenants.billing import end_user_sums, rollups
from tenants.keys import keys
from tenants.ledger import row_ids
from tenants.models import (
    DirtyHour,
    EndUserDay,
    EndUserHour,
    ModelDay,
    ModelHour,
    RetentionHorizon,
    SumsBackfill,
    Tenant,
    UsageRow,
)
from tenants.reports import request_volume, requests
from tenants.reports.logged_request import LoggedRequest
from tenants.reports.request_detail import find_request
from tenants.reports.request_filter import STATUSES, RequestFilter
from tenants.reports.requests import LogPlace
from tests.plugins.tiers import sampled
from tests.support import logged
from tests.support.logged import call, correction, refusal

pytestmark = [pytest.mark.django_db, pytest.mark.persistence]

NOW = datetime(2026, 10, 15, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALL = RequestFilter(NOW - timedelta(days=30), NOW + HOUR)


@pytest.fixture
def acme() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def bob() -> Tenant:
    return Tenant.objects.create(slug="bob", name="Bob")


def ids_of(rows: Sequence[LoggedRequest]) -> list[str]:
    return [row.id for row in rows]


def read_all(who: Access, asked: RequestFilter, limit: int = 50) -> list[LoggedRequest]:
    """Every request, page by page; pages go down in time."""
    found: list[LoggedRequest] = []
    place: LogPlace | None = None
    for _ in range(500):
        page = requests.read_page(who, asked, before=place, limit=limit)
        assert len(page.rows) <= limit
        found += page.rows
        if page.older is None:
            break
        assert place is None or page.older < place
        place = page.older
    else:
        raise AssertionError("the log has no end")
    keys_of = [(row.at, row.number) for row in found]
    assert keys_of == sorted(keys_of, reverse=True)
    assert len(set(ids_of(found))) == len(found)
    return found


def fallback(tenant: Tenant, at: datetime, **fields: Any) -> str:
    """A request whose first target failed, answered by the second."""
    request = logged.request_id(at)
    failed = {"status": "failed", "error_code": "upstream_error", "absorbed": True}
    call(tenant, at, request, 0, provider="first", tokens={}, charges={}, **failed, **fields)
    call(tenant, at + timedelta(seconds=1), request, 1, provider="second", **fields)
    return request


def test_a_fallback_is_one_request_everywhere(acme: Tenant) -> None:
    request = fallback(acme, NOW, duration_ms=500, ttft_ms=200)
    rollups.recompute_dirty()
    (row,) = read_all(OPERATOR, ALL)
    assert (row.id, row.status, row.attempts, row.provider) == (request, "completed", 2, "second")
    assert (row.duration_ms, row.ttft_ms) == (1_500, 1_200)
    volume = request_volume.volume(OPERATOR, ALL)
    assert volume is not None
    assert volume.total == 1
    detail = find_request(OPERATOR, request)
    assert detail is not None
    assert [each.provider for each in detail.attempts] == ["first", "second"]
    assert [each.offset_ms for each in detail.attempts] == [0, 1_000]


def test_refusals_stand_among_the_others_in_time(acme: Tenant) -> None:
    first = call(acme, NOW - 3 * HOUR)
    refused = refusal(acme, NOW - 2 * HOUR)
    last = call(acme, NOW - HOUR)
    found = read_all(OPERATOR, ALL)
    expected = [row_ids.request_id_of(row.pk) for row in (last, refused, first)]
    assert ids_of(found) == expected
    assert (found[1].status, found[1].message) == ("refused", refused.message)
    assert requests.read_page(OPERATOR, ALL).rows == tuple(found)


def test_corrections_change_the_amounts_of_their_request_and_are_none(acme: Tenant) -> None:
    row = call(acme, NOW)
    correction(row, NOW + HOUR / 2, charges={"input_fresh": -500}, tokens={"input_fresh": -5})
    (found,) = read_all(OPERATOR, ALL)
    assert (found.charge_nano, found.input_tokens, found.is_corrected) == (9_500, 15, True)
    detail = find_request(OPERATOR, found.id)
    assert detail is not None
    assert [(each.reason, each.charge_nano) for each in detail.corrections] == [("agreed", -500)]
    assert len(detail.attempts) == 1


class Filled:
    """Many requests of many kinds, and what each filter must find of them, by another way."""

    def __init__(self, tenants: Sequence[Tenant], seed: int) -> None:
        chance = random.Random(seed)
        self.rows: list[tuple[datetime, str, list[UsageRow]]] = []
        for _ in range(60):
            at = NOW - timedelta(minutes=chance.randrange(60 * 24 * 12))
            tenant = chance.choice(tenants)
            fields: dict[str, Any] = {
                "alias": chance.choice(("smart", "fast", "rare")),
                "end_user": chance.choice(("", "ann")),
                "key_public_id": chance.choice(("key0000001", "key0000002")),
            }
            request = logged.request_id(at)
            made: list[UsageRow] = []
            legs = chance.choice((1, 1, 1, 2, 3))
            for leg in range(legs):
                status = chance.choice(("completed", "failed", "incomplete", "client_gone"))
                is_absorbed = leg < legs - 1
                status = "failed" if is_absorbed else status
                more: dict[str, Any] = {
                    "provider": chance.choice(("p1", "p2")),
                    "upstream_model": chance.choice(("m1", "m2")),
                    "status": status,
                    "absorbed": is_absorbed,
                    "error_code": "upstream_cut" if status == "failed" else "",
                    "usage_source": chance.choice(("provider", "counted")),
                }
                when = at + timedelta(seconds=2 * leg)
                made.append(call(tenant, when, request, leg, **fields, **more))
            self.rows.append((at, request, made))
        self.refused = [
            refusal(
                chance.choice(tenants),
                NOW - timedelta(minutes=chance.randrange(60 * 24 * 12)),
                code=chance.choice(("model_not_found", "rate_limit_exceeded")),
                model=chance.choice(("smart", "none")),
            )
            for _ in range(15)
        ]

    def expected(self, asked: RequestFilter) -> set[str]:
        found = set()
        for _, request, calls in self.rows:
            last = calls[-1]
            same = [
                asked.tenants is None or last.tenant_id in asked.tenants,
                asked.alias in {"", last.alias},
                asked.key in {"", last.key_public_id},
                asked.end_user in {"", last.end_user},
                not asked.attempts or len(calls) > 1,
            ]
            deciding = [last] if asked.status else calls
            some = any(
                asked.matches_attempt(each) and asked.status in {"", each.status}
                for each in deciding
            )
            if all(same) and some:
                found.add(request)
        if asked.may_be_refused:
            for row in self.refused:
                same = [
                    asked.tenants is None or row.tenant_id in asked.tenants,
                    asked.alias in {"", row.model},
                    asked.key in {"", row.key_public_id},
                    asked.code in {"", row.code},
                ]
                if all(same):
                    found.add(row_ids.request_id_of(row.pk))
        return found


FILTERS: list[dict[str, Any]] = [
    {},
    {"alias": "rare"},
    {"alias": "no-such"},
    {"provider": "p1"},
    {"provider": "p1", "model": "m2"},
    {"key": "key0000002"},
    {"key": "key0000002", "alias": "smart"},
    {"code": "upstream_cut"},
    {"code": "model_not_found"},
    {"source": "counted"},
    {"source": "counted", "alias": "fast", "status": "completed"},
    {"end_user": "ann"},
    *({"status": status} for status in STATUSES),
    {"status": "failed", "provider": "p2"},
    {"status": "completed", "alias": "rare", "provider": "p2"},
    {"attempts": "retried"},
    {"attempts": "retried", "status": "completed"},
    {"attempts": "retried", "alias": "fast", "provider": "p2"},
]


@pytest.mark.parametrize("summed", ["summed", "unsummed", "half", "by key alone"])
def test_each_filter_finds_exactly_what_matches_it(acme: Tenant, bob: Tenant, summed: str) -> None:
    """Sums may be up to date, behind, or both, and pages of any size."""
    filled = Filled((acme, bob), seed=len(summed))
    if summed != "unsummed":
        if summed == "half":
            kept = list(DirtyHour.objects.order_by("hour"))[::2]
        rollups.recompute_dirty()
        if summed == "half":
            DirtyHour.objects.bulk_create(
                DirtyHour(tenant_id=mark.tenant_id, hour=mark.hour) for mark in kept
            )
    if summed == "by key alone":  # those by model are still being computed
        SumsBackfill.objects.create(sums="model", reached=NOW + HOUR)
        ModelHour.objects.all().delete()
        ModelDay.objects.all().delete()
    everybody = replace(ALL, start=NOW - timedelta(days=20))
    for number, fields in enumerate(sampled(FILTERS, default=4, ci=6)):
        for tenants in (None, frozenset({acme.pk})):
            asked = replace(everybody, tenants=tenants, **fields)
            expected = filled.expected(asked)
            for limit in (3, 50) if number % 3 else (7,):
                found = read_all(OPERATOR, asked, limit)
                assert set(ids_of(found)) == expected, (fields, tenants, limit)


def test_newer_pages_are_the_older_ones_again(acme: Tenant) -> None:
    Filled((acme,), seed=3)
    chosen: list[dict[str, Any]] = [{}, {"alias": "smart"}, {"status": "failed"}]
    for fields in chosen:
        asked = replace(ALL, **fields)
        pages = [requests.read_page(OPERATOR, asked, limit=4)]
        while pages[-1].older is not None:
            pages.append(requests.read_page(OPERATOR, asked, before=pages[-1].older, limit=4))
        pages = [page for page in pages if page.rows]
        assert pages[0].newer is None
        for earlier, later in pairwise(pages):
            assert later.newer is not None
            back = requests.read_page(OPERATOR, asked, after=later.newer, limit=4)
            assert ids_of(back.rows) == ids_of(earlier.rows)


def test_what_is_new_is_counted_from_the_place_of_the_newest(acme: Tenant) -> None:
    call(acme, NOW - HOUR)
    rows = requests.read_page(OPERATOR, ALL).rows
    place = requests.newest_place(rows, NOW)
    assert requests.count_newer(OPERATOR, ALL, place) == 0
    call(acme, NOW)
    refusal(acme, NOW + timedelta(minutes=1))
    assert requests.count_newer(OPERATOR, ALL, place) == 2
    assert requests.count_newer(OPERATOR, replace(ALL, status="refused"), place) == 1


def test_a_filter_that_finds_nothing_reads_no_row_of_the_ledger(acme: Tenant) -> None:
    for hours in range(200):
        call(acme, NOW - hours * HOUR)
    rollups.recompute_dirty()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page = requests.read_page(OPERATOR, replace(ALL, alias="no-such"))
    assert page == requests.LogPage((), None, None)
    assert not [q for q in queries if 'FROM "tenants_usagerow"' in q["sql"]]
    assert len(queries) <= 4


def test_a_page_takes_few_queries_however_rare_a_match_is(acme: Tenant) -> None:
    for hours in range(0, 28 * 24, 3):
        alias = "rare" if hours % 24 == 0 else "smart"
        call(acme, NOW - hours * HOUR, alias=alias)
    rollups.recompute_dirty()
    chosen: list[dict[str, Any]] = [
        {},
        {"alias": "rare"},
        {"alias": "rare", "status": "completed"},
        {"status": "failed"},
    ]
    for fields in chosen:
        with CaptureQueriesContext(connection) as queries:
            requests.read_page(OPERATOR, replace(ALL, **fields))
        assert len(queries) <= 8, fields


def test_nobody_reads_what_is_not_theirs(acme: Tenant, bob: Tenant) -> None:
    mine, hers, refused = call(acme, NOW), call(bob, NOW), refusal(bob, NOW)
    strangers = refusal(None, NOW)
    who = access_as(acme, "developer")
    assert ids_of(read_all(who, ALL)) == [row_ids.request_id_of(mine.pk)]
    with pytest.raises(PermissionDenied):
        requests.read_page(who, replace(ALL, tenants=frozenset({bob.pk})))
    with pytest.raises(PermissionDenied):
        request_volume.volume(who, replace(ALL, tenants=frozenset({acme.pk, bob.pk})))
    for row in (hers, refused, strangers):
        found = find_request(who, row_ids.request_id_of(row.pk))
        assert found is None
        assert find_request(OPERATOR, row_ids.request_id_of(row.pk)) is not None
    assert len(read_all(OPERATOR, ALL)) == 4


def test_tenants_never_see_what_calls_cost_the_platform(acme: Tenant) -> None:
    request = fallback(acme, NOW, held_nano=90_000, unfunded_nano=5)
    detail = find_request(access_as(acme, "owner"), request)
    assert detail is not None
    assert detail.summary.cost_nano is None
    assert {each.cost_nano for each in detail.attempts} == {None}
    assert {each.unfunded_nano for each in detail.attempts} == {None}
    whole = find_request(OPERATOR, request)
    assert whole is not None
    assert whole.summary.cost_nano == 5_000


def test_who_is_shown_aliases_only_learns_no_name_of_an_upstream(acme: Tenant) -> None:
    acme.shows_upstreams = False
    acme.save()
    request = fallback(acme, NOW)
    rollups.recompute_dirty()
    who = access_as(acme, "owner")
    detail = find_request(who, request)
    assert detail is not None
    names = {(each.provider, each.upstream_model) for each in detail.attempts}
    assert names == {("", "")}
    assert (detail.summary.provider, detail.summary.upstream_model) == ("", "")
    assert read_all(who, ALL)[0].provider == ""
    assert read_all(who, replace(ALL, provider="second")) == []
    volume = request_volume.volume(who, replace(ALL, provider="second"))
    assert volume is not None
    assert volume.total == 0
    assert len(read_all(OPERATOR, replace(ALL, provider="second"))) == 1


def test_the_volume_counts_calls_and_refusals_by_hour_and_by_day(acme: Tenant) -> None:
    for minutes in (5, 10, 70):
        call(acme, NOW - timedelta(minutes=minutes))
    refusal(acme, NOW - timedelta(minutes=5))
    rollups.recompute_dirty()
    short = replace(ALL, start=NOW - 2 * HOUR, end=NOW)
    volume = request_volume.volume(OPERATOR, short)
    assert volume is not None
    assert [(bar.called, bar.refused) for bar in volume.bars] == [(0, 0), (1, 0), (2, 1)]
    days = request_volume.volume(OPERATOR, ALL)
    assert days is not None
    assert (days.total, len(days.bars)) == (4, 31)
    assert request_volume.volume(OPERATOR, replace(ALL, end_user="ann")) is None


def test_places_are_read_as_they_are_written_and_nothing_else_is() -> None:
    place = LogPlace(NOW + timedelta(microseconds=7), 2**128 - 1)
    assert LogPlace.parse(str(place)) == place
    for text in ("", "x", "-", "1-2", f"{'f' * 15}-{'0' * 32}", f"1-{'g' * 32}", "1" * 99):
        with pytest.raises(ValueError, match=r"place|invalid"):
            LogPlace.parse(text)


def test_the_lines_of_a_charge_add_up_to_it(acme: Tenant) -> None:
    key, _ = keys.create(acme, "robot")
    row = call(acme, NOW, key_id=key.pk, charge_version=None)
    detail = find_request(OPERATOR, row_ids.request_id_of(row.pk))
    assert detail is not None
    (attempt,) = detail.attempts
    assert [(line.unit, line.quantity, line.pico) for line in attempt.lines] == [
        ("input_fresh", 20, None),
        ("output_visible", 10, None),
    ]
    assert sum(line.charge_nano for line in attempt.lines) == attempt.charge_nano


def test_what_no_index_knows_is_looked_for_a_few_weeks_a_page(acme: Tenant) -> None:
    days = (0, 1, 50, 51, 120)
    for day in days:
        at = NOW - timedelta(days=day, hours=1)
        call(acme, at, end_user="rare", error_code="idempotency_key_lost")
        call(acme, at - HOUR, end_user="other")
    span = RequestFilter(NOW - timedelta(days=150), NOW, frozenset({acme.pk}))
    expected = [NOW - timedelta(days=day, hours=1) for day in days]
    asked = replace(span, code="idempotency_key_lost")
    pages = [_read_little(asked)]
    while (place := pages[-1].older) is not None:
        pages.append(_read_little(asked, before=place))
    assert [row.at for page in pages for row in page.rows] == expected
    back = [_read_little(asked, after=LogPlace(asked.start, 0))]
    while (place := back[-1].newer) is not None:
        back.append(_read_little(asked, after=place))
    assert [row.at for page in reversed(back) for row in page.rows] == expected
    assert min(len(pages), len(back)) > 1


def test_end_users_are_looked_for_where_sums_have_them_or_people_not_told_apart(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end_user_sums, "TOLD_APART", 1)
    times = [NOW - HOUR - timedelta(days=day) for day in (0, 1, 50, 51, 120)]
    for at in times:
        call(acme, at, end_user="rare")
    for _ in range(2):  # the second of whom leads, so that “rare” is not told apart that day
        call(acme, times[1], end_user="other")
    asked = replace(ALL, start=NOW - timedelta(days=150), end_user="rare")
    assert [row.at for row in requests.read_page(OPERATOR, asked).rows] == times
    while rollups.recompute_dirty():
        pass
    assert [row.at for row in requests.read_page(OPERATOR, asked).rows] == times
    # Rows outlive the sums of the day in which the horizon lies.
    RetentionHorizon.objects.create(table="usage", before=times[3])
    for model in (EndUserHour, EndUserDay):
        model.objects.filter(starts_at__lt=times[3]).delete()
    assert [row.at for row in requests.read_page(OPERATOR, asked).rows] == times[:4]
    with CaptureQueriesContext(connection) as queries:
        assert requests.read_page(OPERATOR, replace(asked, end_user="nobody")).rows == ()
    assert len(queries) < 12


def _read_little(asked: RequestFilter, **place: LogPlace) -> requests.LogPage:
    """A page, for which few spans of time are looked through."""
    before, after = place.get("before"), place.get("after")
    with CaptureQueriesContext(connection) as queries:
        page = requests.read_page(OPERATOR, asked, before=before, after=after)
    looks = [each["sql"] for each in queries if " LIMIT " in each["sql"]]
    assert len(looks) <= requests.MOST_READS + 1  # and one for refusals
    return page
