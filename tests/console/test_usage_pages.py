"""The overview and the usage page show each person theirs, in few queries, with all numbers in tables."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import reverse

from gateway_project.lib import clock
from routing import model_sync
from routing.model_sync import NoModelList
from routing.models import Provider, UpstreamTest
from tenants.billing import rollups
from tenants.models import ApiKey, Budget, BudgetWindow, EndUserDay, Tenant, UsageRow
from tests.api.callers import of_member
from tests.commands.running import answer
from tests.console import world as worlds
from tests.console.pages import queries_of, text, url
from tests.support import usage_rows

pytestmark = pytest.mark.django_db

MOST_QUERIES = 12
NANO = 10**9
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme", time_zone="Asia/Kolkata")


def use(tenant: Tenant, hours: float = 1, **fields: Any) -> None:
    usage_rows.usage(tenant, clock.now() - hours * HOUR, **fields)
    rollups.recompute_dirty()


def busy(tenant: Tenant) -> None:
    """Usage with everything that the overview tells of."""
    key = ApiKey.objects.create(tenant=tenant, name="ci", expires_at=clock.now() + HOUR)
    for number in range(9):
        use(tenant, number * 5 + 1, alias=f"alias-{number}", key_public_id=key.public_id)
    failed = {"status": "failed", "error_code": "upstream_auth_failed", "usage_source": "none"}
    use(tenant, 0.1, charges={}, **failed)
    budget = Budget.objects.create(tenant=tenant, name="b", amount_nano=NANO)
    BudgetWindow.objects.create(
        budget=budget, starts_at=clock.now() - HOUR, ends_at=clock.now() + HOUR, spent_nano=NANO
    )


def get(client: Client, name: str, **query: Any) -> str:
    answer = client.get(f"{reverse(name)}?{urlencode(query)}")
    assert answer.status_code == 200, answer
    return text(answer)


def cells(page: str) -> list[list[str]]:
    """The rows of the table below the charts, as texts."""
    table = page[page.index('class="tg-table tg-usage"') :]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table, re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in rows
    ]


def test_no_page_takes_more_than_twelve_queries(tenant: Tenant):
    busy(tenant)
    member, operator = worlds.staff("admin", tenant), worlds.operator()
    for client in (member, operator):
        for name in ("admin:overview", "admin:usage", "admin:usage_csv"):
            for query in ({}, {"tenant": "acme", "period": "90d"}, {"by": "key", "period": "90d"}):
                page = f"{reverse(name)}?{urlencode(query)}"
                asked = queries_of(client, page, MOST_QUERIES)
                assert len(asked) <= MOST_QUERIES, (page, len(asked))


def test_the_consoles_first_page_is_the_overview(tenant: Tenant):
    busy(tenant)
    member = worlds.staff("admin", tenant)
    assert reverse("admin:overview") == reverse("admin:index")
    page = get(member, "admin:index")
    assert "The budget “b” of Acme is used up, and refuses calls." in page
    assert "The key “ci” expires on" in page
    assert "openai refused the credential of a call in the last hour." in page
    assert "Margin" not in page
    assert "Margin" in get(worlds.operator(), "admin:index")


def test_the_first_steps_tick_themselves_until_a_request_was_answered(tenant: Tenant):
    owner = worlds.staff("owner", tenant)

    def done() -> list[str]:
        page = get(owner, "admin:overview")
        return re.findall(
            r"tg-step--done.*?</span> <span>(?:<a [^>]*>)?([^<]*)(?:</a>)? <span", page
        )

    assert done() == ["Signed in"]
    Provider.objects.create(
        tenant=tenant, name="own", protocol="chat", base_url="https://api.example/v1"
    )
    ApiKey.objects.create(tenant=tenant, name="mine")
    assert done() == ["Signed in", "Have a provider", "Make an API key"]
    use(tenant, status="failed", charges={}, usage_source="none")
    assert "First steps" in get(owner, "admin:overview")
    use(tenant)
    assert "First steps" not in get(owner, "admin:overview")


def test_the_first_steps_test_the_provider_that_one_may_change(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
):
    owner, viewer = worlds.staff("owner", tenant), worlds.staff("viewer", tenant)
    Provider.objects.create(name="platform", protocol="chat", base_url="https://b.example/v1")
    assert "/do/test_provider/" not in get(owner, "admin:overview")  # the platform's is not theirs
    own = Provider.objects.create(
        tenant=tenant,
        name="own",
        protocol="chat",
        base_url="https://a.example/v1",
        auth_kind="none",
    )
    address = f'action="{url(own, "change").replace("/change/", "/do/test_provider/")}"'
    assert address in get(owner, "admin:overview")
    assert "Test the provider" not in get(viewer, "admin:overview")

    monkeypatch.setattr(model_sync, "list_models", refusing)
    sent = owner.post(address[8:-1], follow=True)
    assert "It is down." in text(sent)
    assert address in get(owner, "admin:overview")
    UpstreamTest.objects.update(ok=True)
    page = get(owner, "admin:overview")
    assert address not in page
    assert "Test the provider" in page


def refusing(*_: Any) -> Any:
    raise NoModelList("it is down")


def test_the_first_page_leaves_room_for_what_runs(tenant: Tenant):
    member = worlds.staff("viewer", tenant)
    assert 'data-live-text="running-now"' in get(member, "admin:overview")
    told = member.get("/console/live/running-now/?tenant=acme")
    assert told.json() == {"text": "0 calls are running."}
    assert member.get("/console/live/running-now/?tenant=other").status_code == 404


def test_a_viewer_is_told_of_no_step_they_may_not_take(tenant: Tenant):
    page = get(worlds.staff("viewer", tenant), "admin:overview")
    assert "Make a first request" in page
    assert "Make an API key" not in page
    assert "Invite somebody" not in page


def test_the_total_stands_first_and_is_the_charts(tenant: Tenant):
    busy(tenant)
    page = get(worlds.operator(), "admin:usage", tenant="acme", period="7d")

    heading, total, *groups = cells(page)
    charge = heading.index("Charge")
    assert total[0] == "Total"
    assert len(groups) == 10
    assert total[heading.index("Requests")] == "10"
    charts = page.split("<figure")[1:4]
    for chart, expected in zip(charts, (9 * 10_000 / NANO, 10 * 30, 10), strict=True):
        values = [float(value) for value in re.findall(r'data-value="([^"]+)"', chart)]
        assert sum(values) == pytest.approx(expected)
    assert total[charge] == "$0.00009"
    assert "Others" in charts[0]
    assert "2026" in page
    assert "Asia/Kolkata" in page


def test_keys_of_one_name_are_told_apart(tenant: Tenant):
    other = Tenant.objects.create(slug="other", name="Other")
    keys = [ApiKey.objects.create(tenant=one, name="ci") for one in (tenant, other)]
    for key in keys:
        use(key.tenant, key_public_id=key.public_id)
    page = get(worlds.operator(), "admin:usage", by="key")
    for key in keys:
        assert f">ci {key.public_id}</th>" in page.split("</figure>")[0]


def test_a_filter_narrows_everything_and_can_be_taken_away(tenant: Tenant):
    busy(tenant)
    client = worlds.staff("billing", tenant)
    page = get(client, "admin:usage", alias="alias-3", period="7d")
    assert [row[0] for row in cells(page)[1:]] == ["Total", "alias-3"]
    assert "Remove the filter Alias: alias-3" in page
    nothing = get(client, "admin:usage", alias="nothing-like-it")
    assert "Nothing was used in this time." in nothing
    assert "Remove a filter, or choose a longer period." in nothing
    unknown = get(client, "admin:usage", status="failed", by="nonsense")
    assert "Sums do not know status" in unknown
    assert "Usage cannot be grouped by “nonsense” here." in unknown


def test_people_of_a_tenant_see_no_costs_and_no_upstreams_that_are_hidden(tenant: Tenant):
    use(tenant, provider="secret-provider", upstream_model="secret-model")
    Tenant.objects.update(shows_upstreams=False)
    client = worlds.staff("owner", tenant)
    for name in ("admin:overview", "admin:usage", "admin:usage_csv"):
        for by in ("", "provider", "model", "key", "end_user"):
            page = get(client, name, by=by, provider="secret-provider" if by else "")
            assert "secret-model" not in page
            assert "Cost" not in page
            assert "cost_nano" not in page
    assert "5000" in get(worlds.operator(), "admin:usage_csv", tenant="acme")


def test_stored_names_are_shown_as_text_and_never_run(tenant: Tenant):
    use(tenant, alias='<script>alert("1")</script>')
    use(tenant, alias='=HYPERLINK("https://evil.example")', end_user="@x")
    client = worlds.operator()
    for by in ("alias", "end_user"):
        page = get(client, "admin:usage", tenant="acme", by=by)
        assert "<script>alert" not in page
    rows = get(client, "admin:usage_csv", tenant="acme").splitlines()
    assert any("\"'=HYPERLINK(" in row for row in rows)
    assert UsageRow.objects.count() == 2


def test_end_users_of_a_tenant_are_told_to_nobody_else_from_rows_and_from_sums(tenant: Tenant):
    other = Tenant.objects.create(slug="other", name="Other")
    for who, name in ((tenant, "user-ann"), (other, "user-bob")):
        for days in (1, 40):  # in the days of rows, and where only sums are read
            use(who, 24 * days, end_user=name)
    assert EndUserDay.objects.filter(end_user="user-bob").count() == 2
    member, api = worlds.staff("owner", tenant), of_member("admin", tenant)

    for days in (20, 60):
        since = clock.now() - days * DAY
        shown = {"by": "end_user", "from": f"{since:%Y-%m-%d}"}
        start = f"{since:%Y-%m-%dT%H:%M:%SZ}"
        asked = {"group_by": "end_user", "start": start}
        command = ("show_usage_series", "--tenant=acme", *options(asked))
        told = [
            get(member, "admin:usage", **shown),
            get(member, "admin:usage_csv", **shown),
            api.get(f"reports/usage?{urlencode(asked)}").content.decode(),
            json.dumps(answer(*command)),
        ]
        seen = [("user-ann" in each, "user-bob" in each) for each in told]
        assert seen == [(True, False)] * 4

        shown["end_user"] = asked["end_user"] = "user-bob"
        assert "Nothing was used in this time." in get(member, "admin:usage", **shown)
        assert "\n20" not in get(member, "admin:usage_csv", **shown)  # no line of any day
        assert api.get(f"reports/usage?{urlencode(asked)}").json()["groups"] == []
        assert answer(*command, "--end-user=user-bob")["groups"] == []

    assert "Nothing you may see has the id" in get(member, "admin:search", q="user-b")
    for name in ("admin:usage", "admin:usage_csv"):
        query = urlencode({"tenant": "other", "by": "end_user"})
        assert member.get(f"{reverse(name)}?{query}").status_code == 404
    question = urlencode({"tenant": other.pk, "group_by": "end_user"})
    assert api.get(f"reports/usage?{question}").status_code == 404


def options(asked: dict[str, str]) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
