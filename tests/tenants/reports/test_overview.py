"""The overview sets a span beside the one before it, and says what needs whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway_project.lib import clock
from responses_api.models import WebhookDelivery
from responses_api.webhooks import endpoints
from tenants.access.access import OPERATOR, Access, access_as
from tenants.billing import rollups
from tenants.models import (
    ApiKey,
    Budget,
    BudgetWindow,
    DirtyHour,
    RefusalHour,
    SpoolPosition,
    SumsBackfill,
    Tenant,
)
from tenants.reports.freshness import MARKS_OF_A_BACKLOG, freshness
from tenants.reports.overview import Overview, overview
from tenants.reports.usage_series import SeriesQuestion
from tests.support import usage_rows

pytestmark = [pytest.mark.persistence, pytest.mark.django_db]

NOW = datetime(2026, 11, 8, 12, 20, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NANO = 10**9


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme", time_zone="Europe/Berlin")


def look(who: Access, tenant: Tenant | None = None, days: int = 1) -> Overview:
    asked = SeriesQuestion(None if tenant is None else tenant.pk, NOW - days * DAY, NOW)
    return overview(who, asked, NOW)


def use(tenant: Tenant, *at: datetime, **fields: Any) -> None:
    for each in at:
        usage_rows.usage(tenant, each, **fields)
    rollups.recompute_dirty()


def kinds(found: Overview) -> list[tuple[str, str]]:
    return [(one.kind, one.level) for one in found.attention]


def test_a_span_is_set_beside_one_of_the_same_length_before_it(tenant: Tenant):
    use(tenant, NOW - HOUR, NOW - 2 * HOUR, duration_ms=1_000, ttft_ms=300)
    use(tenant, NOW - 2 * HOUR, status="failed", provider="groq", usage_source="none", charges={})
    use(tenant, NOW - DAY - 5 * HOUR, duration_ms=50)
    use(tenant, NOW - 3 * DAY)

    found = look(OPERATOR)

    assert (found.now.used.requests, found.before.used.requests) == (3, 1)
    assert (found.now.used.answered, found.now.used.errors) == (2, 1)
    assert found.now.used.success_percent == pytest.approx(66.7, abs=0.1)
    assert found.now.used.charge_nano == found.by_alias.total.charge_nano == 20_000
    assert found.now.used.margin_nano == 10_000
    assert found.now.latency.duration_p50 == pytest.approx(1_000, rel=0.2)
    assert found.now.latency.first_token_p95 == pytest.approx(300, rel=0.2)
    assert found.before.latency.first_token_p95 is None
    [openai] = found.providers  # groq's failure is older than the hour before this one
    assert (openai.name, openai.used.calls, openai.success_percent) == ("openai", 1, 100.0)


def test_refused_requests_are_counted_in_the_hour_they_came_in(tenant: Tenant):
    for at, count, owner in (
        (NOW - HOUR, 4, tenant),
        (NOW - HOUR, 1, None),  # of a key that nobody has
        (NOW - DAY - 2 * HOUR, 2, tenant),
    ):
        hour = at.replace(minute=0)
        RefusalHour.objects.create(tenant=owner, starts_at=hour, code="x", refusals=count)
    for who, asked, now in ((OPERATOR, None, 5), (access_as(tenant, "viewer"), tenant, 4)):
        found = look(who, asked)
        assert (sum(found.refused), found.refused[-2], found.refused_before) == (now, now, 2)


def test_a_tenants_people_see_no_cost_and_no_provider_that_is_hidden(tenant: Tenant):
    use(tenant, NOW - HOUR)
    found = look(access_as(tenant, "billing"), tenant)
    assert (found.now.used.cost_nano, found.now.used.margin_nano) == (None, None)
    assert [one.name for one in found.providers] == ["openai"]
    tenant.shows_upstreams = False
    assert look(access_as(tenant, "owner"), tenant).providers == []


def test_where_all_is_well_nothing_needs_anybody(tenant: Tenant):
    use(tenant, NOW - HOUR)
    ApiKey.objects.create(tenant=tenant, name="later", expires_at=NOW + 8 * DAY)
    assert look(OPERATOR).attention == []


def test_everything_that_needs_somebody_is_told_to_whom_it_concerns(tenant: Tenant):
    key = ApiKey.objects.create(tenant=tenant, name="ci", expires_at=NOW + 6 * DAY)
    ApiKey.objects.create(tenant=tenant, name="gone", expires_at=NOW + DAY, revoked_at=NOW)
    use(tenant, NOW - HOUR, charge_version=None, charges={}, alias="preview")
    use(
        tenant,
        NOW - timedelta(minutes=5),
        status="failed",
        error_code="upstream_auth_failed",
        usage_source="none",
        charges={},
    )
    endpoint, _ = endpoints.create(tenant, "https://hooks.example/x")
    WebhookDelivery.objects.create(
        tenant=tenant, endpoint=endpoint, event_id="evt_1", event_type="response.completed",
        response_id="resp_1", payload=b"{}", state="given_up", created_at=NOW - DAY,
    )  # fmt: skip
    budget(tenant, 85)
    SpoolPosition.objects.create(spool="a", host="h", watermark_at=NOW - 2 * HOUR)

    found = look(OPERATOR)
    assert kinds(found) == [
        ("ledger_lag", "bad"),
        ("refused_credential", "bad"),
        ("unpriced", "warn"),
        ("expiring_key", "warn"),
        ("full_budget", "warn"),
        ("given_up_delivery", "warn"),
    ]
    told = {one.kind: one for one in found.attention}
    assert told["expiring_key"].object_id == str(key.pk)
    assert "preview" in told["unpriced"].text
    assert "https://hooks.example/x" in told["given_up_delivery"].text
    assert "openai" in told["refused_credential"].text

    own = kinds(look(access_as(tenant, "admin"), tenant))
    assert [kind for kind, _ in own] == [
        "refused_credential", "expiring_key", "full_budget", "given_up_delivery",
    ]  # fmt: skip
    other = Tenant.objects.create(slug="other", name="Other")
    assert kinds(look(access_as(other, "owner"), other)) == []


def test_a_provider_that_leaves_calls_unanswered_is_named_to_who_may_see_it(tenant: Tenant):
    failed = {"status": "failed", "usage_source": "none", "charges": {}}
    use(tenant, *[NOW - HOUR] * 9, provider="steady")
    use(tenant, NOW - HOUR, provider="steady", **failed)  # a tenth is no trouble
    use(tenant, *[NOW - HOUR] * 3, provider="groq")
    use(tenant, *[NOW - HOUR] * 2, provider="groq", **failed)
    use(tenant, *[NOW - HOUR] * 4, provider="rare", **failed)  # too few to say
    use(tenant, *[NOW - DAY] * 9, provider="yesterday", **failed)

    for found in (look(OPERATOR), look(access_as(tenant, "admin"), tenant)):
        assert kinds(found) == [("failing_provider", "bad")]
        assert "groq did not answer 2 of 5 calls" in found.attention[0].text
    tenant.shows_upstreams = False
    assert kinds(look(access_as(tenant, "admin"), tenant)) == []


def budget(tenant: Tenant, percent: int, **fields: Any) -> Budget:
    row = Budget.objects.create(
        tenant=tenant, name=f"to {percent}", amount_nano=100 * NANO, **fields
    )
    window: dict[str, datetime | None] = {"starts_at": NOW - 20 * DAY, "ends_at": NOW + 10 * DAY}
    if row.period == Budget.Period.TOTAL:
        window = {
            "starts_at": datetime(1970, 1, 1, tzinfo=UTC),
            "ends_at": None,
        }
    BudgetWindow.objects.create(budget=row, spent_nano=percent * NANO, **window)
    return row


def test_budgets_are_told_of_the_fullest_first_with_the_day_on_which_they_end(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(clock, "now", lambda: NOW)
    for days in range(7):
        use(tenant, NOW - days * DAY, charges={"input_fresh": 2 * NANO})
    whole = budget(tenant, 90)
    used, warned = budget(tenant, 100), budget(tenant, 130, mode=Budget.Mode.WARN)
    budget(tenant, 79)
    budget(tenant, 99, enabled=False)
    BudgetWindow.objects.create(  # a period that is over
        budget=whole, starts_at=NOW - 50 * DAY, ends_at=NOW - 20 * DAY, spent_nano=99 * NANO
    )

    told = look(OPERATOR).attention

    assert [(one.object_id, one.level) for one in told] == [
        (str(used.pk), "bad"), (str(warned.pk), "warn"), (str(whole.pk), "warn"),
    ]  # fmt: skip
    assert "2026-11-13" in told[2].text  # ten dollars are left, about two go a day


def test_how_far_figures_reach_is_read_by_one_query(tenant: Tenant):
    SpoolPosition.objects.create(spool="a", host="h", watermark_at=NOW - HOUR)
    SpoolPosition.objects.create(spool="b", host="h", watermark_at=NOW - DAY, is_done=True)
    SumsBackfill.objects.create(sums="model", reached=NOW - 3 * DAY)
    DirtyHour.objects.bulk_create(
        [DirtyHour(tenant_id=tenant.pk, hour=NOW) for _ in range(MARKS_OF_A_BACKLOG + 1)]
    )
    with CaptureQueriesContext(connection) as queries:
        found = freshness(NOW)
    assert len(queries) == 1
    assert (found.as_of, found.sums_from) == (NOW - HOUR, NOW - 3 * DAY)
    assert found.unsummed == MARKS_OF_A_BACKLOG
    assert found.is_behind(NOW)


def test_the_overview_takes_seven_queries(tenant: Tenant):
    use(tenant, NOW - HOUR)
    budget(tenant, 85)
    with CaptureQueriesContext(connection) as queries:
        look(OPERATOR, days=90)
    assert len(queries) == 7
