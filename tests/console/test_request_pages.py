"""The log of requests in the console: what it shows, to whom, and that every request has one address."""

from __future__ import annotations

import html
import json
import re
import shlex
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse

from gateway_project.lib import clock
from responses_api.models import StoredResponse
from routing.reports.first_request import first_request
from tenants.access.access import access_as
from tenants.billing import rollups
from tenants.ledger import row_ids
from tenants.models import ApiKey, RefusedRequest, Tenant, UsageRow
from tests.console import world as worlds
from tests.console.pages import queries_of, url
from tests.console.world import CANARY, World
from tests.support import kept_rows, logged
from tests.support.logged import call, refusal

pytestmark = pytest.mark.django_db

MOST_QUERIES = 12


def address(row: UsageRow | RefusedRequest, query: str = "") -> str:
    return reverse("admin:request", args=[row_ids.request_id_of(row.pk)]) + query


def read(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.content[:500]
    return re.sub(r"\s+", " ", answer.content.decode())


def ago(**span: int) -> datetime:
    return clock.now() - timedelta(**span)


def requests_in(page: str) -> list[str]:
    return re.findall(
        r'class="tg-requests__open" href="/console/requests/(req_[0-9a-f]{32})/', page
    )


def told_of(page: str) -> str:
    """A page but for the id that was asked for, and the form's token."""
    page = re.sub(r"req_[0-9a-f]{32}", "req", page)
    return re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", page)


def of_key(key: ApiKey) -> dict[str, Any]:
    return {"key_id": key.pk, "key_public_id": key.public_id}


def test_the_list_shows_whole_requests_of_every_outcome(world: World):
    tenant, key = world.ours.tenant, world.ours.key
    at = ago(minutes=10)
    request = logged.request_id(at)
    failed = {"status": "failed", "error_code": "upstream_overloaded", "absorbed": True}
    call(tenant, at, request, 0, **of_key(key), **failed)
    call(tenant, at + timedelta(seconds=1), request, 1, **of_key(key), duration_ms=200)
    unpriced = call(tenant, ago(minutes=11), charge_version=None, usage_source="counted")
    refused = refusal(tenant, ago(minutes=12), key, code="insufficient_quota", http_status=429)

    page = read(worlds.operator(), reverse("admin:requests") + f"?tenant={tenant.slug}")

    ids = [request, row_ids.request_id_of(unpriced.pk), row_ids.request_id_of(refused.pk)]
    assert [each for each in requests_in(page) if each in ids] == ids
    for shown in ("2 attempts", "answered", "refused", "insufficient_quota", "unpriced", key.name):
        assert shown in page


def test_one_address_tells_of_answered_and_refused_requests(world: World):
    tenant, key = world.ours.tenant, world.ours.key
    row = call(tenant, ago(minutes=10), **of_key(key), duration_ms=1_200, held_nano=30_000)
    refused = refusal(
        tenant, ago(minutes=9), key, code="model_not_priced", message="The model 'x' has no price."
    )
    operator = worlds.operator()

    answered = read(operator, address(row))
    assert "Answered by openai/gpt-5 in 1.2 s, for $0.00001." in answered
    assert "input tokens that no cache held" in answered
    assert "$0.00003 held by budgets → $0.00001 charged" in answered
    assert "cost $0.000005, margin $0.000005" in answered
    told = read(operator, address(refused))
    assert "Refused: The model &#x27;x&#x27; has no price." in told
    assert reverse("admin:tenants_priceversion_add") in told
    assert reverse("admin:tenants_apikey_change", args=[key.pk]) in told


def test_tenants_see_neither_costs_nor_what_they_may_not_do(world: World):
    tenant, key = world.ours.tenant, world.ours.key
    row = call(tenant, ago(minutes=10), **of_key(key), cost_nano=123_456_789, unfunded_nano=77)
    refused = refusal(tenant, ago(minutes=9), key, code="invalid_api_key", is_claimed=True)
    for role in ("viewer", "billing", "owner"):
        client = worlds.staff(role, tenant)
        page = read(client, address(row))
        assert "margin" not in page
        assert "0.123456789" not in page
        told = read(client, address(refused))
        assert "its secret does not match" in told
        assert ("Open the key" in told) == (role == "owner")


def test_limits_and_budgets_are_led_to_with_their_tenant(world: World):
    tenant, key = world.ours.tenant, world.ours.key
    operator = worlds.operator()
    for code, name in (("insufficient_quota", "budget"), ("rate_limit_exceeded", "ratelimit")):
        refused = refusal(tenant, ago(minutes=9), key, code=code, http_status=429)
        page = read(operator, address(refused))
        assert f"{reverse(f'admin:tenants_{name}_changelist')}?tenant={tenant.slug}" in page


def test_a_revoked_key_is_named_as_the_cause(world: World):
    tenant, key = world.ours.tenant, world.ours.key
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=ago(hours=1))
    refused = refusal(tenant, ago(minutes=9), key, code="invalid_api_key", is_claimed=True)
    told = read(worlds.operator(), address(refused))
    assert "had been revoked on" in told


def test_no_name_of_an_upstream_where_aliases_only_are_shown(world: World):
    tenant = world.ours.tenant
    Tenant.objects.filter(pk=tenant.pk).update(shows_upstreams=False)
    row = call(tenant, ago(minutes=10), provider="hiddenprovider", upstream_model="hiddenmodel")
    told = "The gateway has no usable credential for the provider 'hiddenprovider'."
    refused = refusal(
        tenant, ago(minutes=9), world.ours.key, code="upstream_auth_failed", message=told
    )
    rollups.recompute_dirty()
    client = worlds.staff("owner", tenant)
    key = url(world.ours.key, "change")
    for path in (address(row), address(refused), reverse("admin:requests"), key):
        page = read(client, path)
        assert "hiddenprovider" not in page
        assert "hiddenmodel" not in page
    assert "could not be asked" in read(client, address(refused))
    assert "hiddenprovider" in read(worlds.operator(), address(refused))
    first = first_request(
        access_as(Tenant.objects.get(pk=tenant.pk), "owner"), world.ours.key, ago(days=1)
    )
    assert first.sentence == "What answers this alias could not be asked."
    filtered = read(client, reverse("admin:requests") + "?provider=hiddenprovider")
    assert requests_in(filtered) == []


def test_nobody_opens_a_request_of_another_tenant(world: World):
    theirs, strangers = world.theirs.tenant, refusal(None, ago(minutes=9))
    rows: list[UsageRow | RefusedRequest] = [
        call(theirs, ago(minutes=10), alias=f"{CANARY}-alias"),
        refusal(theirs, ago(minutes=9), world.theirs.key, message=f"{CANARY} said"),
        strangers,
    ]
    for role in ("owner", "viewer"):
        client = worlds.staff(role, world.ours.tenant)
        unknown = read(client, reverse("admin:request", args=["req_" + "0" * 32]), 404)
        for row in rows:
            page = read(client, address(row), 404)
            assert CANARY not in page
            assert told_of(page) == told_of(unknown)
        listed = read(client, reverse("admin:requests") + "?period=90d")
        assert CANARY not in listed
    assert read(worlds.operator(), address(strangers))


def test_hostile_addresses_are_no_error(world: World):
    operator = worlds.operator()
    for query in (
        "before=x", "after=-", "before=" + "f" * 14 + "-" + "f" * 32, "after=0-" + "0" * 32,
        "status=nothing", "code=%00", "alias=" + "a" * 400, "from=9999-12-31&to=1", "period=x",
        "before=1-%F0%9F%92%A9", "before=1--" + "0" * 30 + "1", "place=1--" + "0" * 30 + "1",
        "key='%20OR%201=1", "model=<script>alert(1)</script>",
    ):  # fmt: skip
        for name in ("requests", "requests_new"):
            page = operator.get(f"{reverse(f'admin:{name}')}?{query}")
            assert page.status_code == 200, query
            assert b"<script>alert" not in page.content
    for odd in ("req_", "x", "req_" + "g" * 32, "req_" + "f" * 32, "..", "%00", "'", "é"):
        assert operator.get(f"/console/requests/{odd}/").status_code == 404, odd


def test_text_from_clients_is_shown_as_text_and_quoted_for_shells(world: World):
    hostile = "x'; rm -rf ~; echo '<img src=x onerror=alert(1)>"
    refused = refusal(world.ours.tenant, ago(minutes=9), model=hostile, message=hostile)
    page = worlds.operator().get(address(refused)).content.decode()
    assert "<img src=x" not in page
    (snippet,) = re.findall(r"<pre[^>]*>(curl .*?)</pre>", page, re.DOTALL)
    words = shlex.split(html.unescape(snippet).replace("\\\n", " "))
    assert json.loads(words[-1])["model"] == hostile


def test_older_and_newer_lead_through_all_of_them_and_keep_the_filter(world: World):
    tenant = world.ours.tenant
    made = [call(tenant, ago(minutes=number + 1), alias="paged") for number in range(120)]
    client = worlds.operator()
    seen: list[str] = []
    path = reverse("admin:requests") + "?alias=paged"
    for _ in range(3):
        page = read(client, path)
        assert "alias=paged" in page
        seen += requests_in(page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        if older is None:
            break
        path = reverse("admin:requests") + older[1].replace("&amp;", "&")
    assert seen == [row_ids.request_id_of(row.pk) for row in made]


def test_the_next_request_follows_the_filter(world: World):
    tenant = world.ours.tenant
    rows = [
        call(tenant, ago(minutes=number + 1), alias=alias)
        for number, alias in enumerate(("one", "other", "one"))
    ]
    page = read(worlds.operator(), address(rows[0], "?alias=one"))
    (older,) = re.findall(r'rel="next"[^>]* href="/console/requests/(req_\w+)/', page)
    assert older == row_ids.request_id_of(rows[2].pk)


def test_what_is_new_is_told_in_a_word(world: World):
    tenant = world.ours.tenant
    client = worlds.operator()
    page = read(client, reverse("admin:requests") + "?alias=fresh")
    (poll,) = re.findall(r'data-poll="([^"]+)"', page)
    poll = poll.replace("&amp;", "&")
    assert client.get(poll).json() == {"count": 0, "text": ""}
    call(tenant, clock.now(), alias="fresh")
    call(tenant, clock.now(), alias="other")
    assert client.get(poll).json() == {"count": 1, "text": "1 new"}


def test_pages_take_few_queries(world: World):
    tenant, key = world.ours.tenant, world.ours.key
    rows = [call(tenant, ago(minutes=number + 1), **of_key(key)) for number in range(60)]
    client = worlds.operator()
    query = f"?tenant={tenant.slug}"
    for path in (
        reverse("admin:requests") + query,
        reverse("admin:requests") + f"{query}&alias=smart&period=90d",
        reverse("admin:requests") + f"{query}&key={key.public_id}&status=completed",
        address(rows[5], query),
    ):
        told = [sql[:150] for sql in queries_of(client, path, MOST_QUERIES)]
        assert len(told) <= MOST_QUERIES, told
        assert not [sql for sql in told if "OFFSET" in sql], told


def test_the_page_of_a_ledger_row_and_its_search_lead_to_the_request(world: World):
    row = call(world.ours.tenant, ago(minutes=10))
    page = read(worlds.operator(), reverse("admin:tenants_usagerow_change", args=[row.pk]))
    assert reverse("admin:request", args=[row_ids.request_id_of(row.pk)]) in page


def test_what_is_stored_of_it_is_linked_for_those_who_may_read_it(world: World):
    tenant, key = world.ours.tenant, world.ours.key
    at = ago(minutes=10)
    row = call(tenant, at, **of_key(key), alias="storing", duration_ms=1_000)
    stored = kept_rows.response(tenant, said="Hello", model="storing")
    other = kept_rows.response(tenant, said="Hello", model="storing")
    for each, tokens in ((stored, 20), (other, 21)):
        StoredResponse.objects.filter(pk=each.pk).update(
            key_public_id=key.public_id,
            created_at=at + timedelta(seconds=1),
            body=json.dumps({"usage": {"input_tokens": tokens, "output_tokens": 10}}).encode(),
        )
    page = read(worlds.staff("developer", tenant), address(row))
    assert reverse("admin:responses_api_storedresponse_change", args=[stored.pk]) in page
    assert other.pk not in page
    assert stored.pk not in read(worlds.staff("billing", tenant), address(row))
    nothing = read(worlds.staff("viewer", tenant), address(call(tenant, ago(minutes=5))))
    assert "Nothing is stored of it" in nothing


def test_instants_are_those_of_the_tenants_zone(world: World):
    tenant = world.ours.tenant
    Tenant.objects.filter(pk=tenant.pk).update(time_zone="Asia/Kolkata")
    row = call(tenant, ago(minutes=10))
    local = row.opened_at.astimezone(ZoneInfo("Asia/Kolkata"))
    client = worlds.operator()
    assert f"{local:%m-%d %H:%M:%S}" in read(
        client, reverse("admin:requests") + f"?tenant={tenant.slug}"
    )
    assert f"{local:%Y-%m-%d %H:%M:%S}" in read(client, address(row))
