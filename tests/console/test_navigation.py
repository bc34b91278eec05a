"""The menu leads to every page that one may open, and to no other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.test import Client
from django.urls import reverse

from routing.models import Alias
from tenants.console import navigation, pages
from tenants.ledger.row_ids import request_id_of
from tenants.models import ApiKey, ApiToken, Membership, Tenant
from tests.console import world as worlds
from tests.console.pages import text, url
from tests.console.world import CANARY, World
from tests.plugins.cases import cases, sample
from tests.plugins.tiers import sampled

pytestmark = pytest.mark.django_db


def found(client: Client, words: str, **asked: str) -> Any:
    return client.get(reverse("admin:search"), {"q": words, **asked})


def test_every_page_of_a_model_is_in_the_menu() -> None:
    tabs = [tab for entry in navigation.ENTRIES for tab in entry.tabs]
    targets = [name for tab in tabs for name in (tab.target, tab.rows) if name]
    models = {model._meta.label_lower for model in django_admin.site._registry}

    assert models - set(targets) == set()
    assert len(targets) == len(set(targets))


def test_the_menu_has_what_a_role_may_open_and_nothing_else(world: World, operator: Client) -> None:
    billing = worlds.staff("billing", world.ours.tenant)

    menu = billing.get(reverse("admin:index")).context["menu"]
    shown = {tab.address for entry in menu for tab in entry.tabs}
    everything = operator.get(reverse("admin:index")).context["menu"]

    assert reverse("admin:tenants_invoice_changelist") in shown
    assert not any("/auth/user/" in each or "storedresponse" in each for each in shown)
    opened = sampled(sorted(shown), default=8, ci=16)
    assert {billing.get(address).status_code for address in opened} == {200}
    assert len(shown) < sum(len(entry.tabs) for entry in everything)


def test_the_menu_shows_where_one_is_on_pages_below_its_tabs_too(
    world: World, operator: Client
) -> None:
    request_id = request_id_of(world.ours.usage.pk)
    for address, entry in (
        (reverse("admin:index"), "Overview"),
        (reverse("admin:request", args=(request_id,)), "Requests"),
        (reverse("admin:stop_request", args=(request_id,)), "Requests"),
        (url(world.ours.response, "change"), "Responses"),
        (url(world.ours.key, "history"), "Keys"),
        (reverse("admin:price_import"), "Models"),
    ):
        menu = operator.get(address, follow=True).context["menu"]
        assert [str(each.label) for each in menu if each.is_open] == [entry], address


def test_a_row_of_the_platforms_says_so(world: World, operator: Client) -> None:
    page = text(operator.get(url(world.platform.provider, "change")))
    assert "Platform" in page.split("Base URL")[0].split("</nav>")[-1]
    assert "Authentication" in page


def test_search_leads_to_an_id_and_lists_names_by_their_beginning(
    world: World, operator: Client
) -> None:
    ours = world.ours
    for words in (ours.key.public_id, f"tg_live_{ours.key.public_id}_{'x' * 38}"):
        answer = found(operator, words)
        assert (answer.status_code, answer["Location"]) == (302, url(ours.key, "change"))
        assert "no-store" in answer["Cache-Control"]
    assert found(operator, ours.response.pk)["Location"] == url(ours.response, "change")
    request_id = request_id_of(ours.usage.pk)
    assert found(operator, request_id)["Location"] == reverse("admin:request", args=(request_id,))
    assert found(operator, request_id, tenant=CANARY).status_code == 200
    listed = text(found(operator, "OURS"))
    for row in (ours.key, ours.alias, ours.tenant, ours.provider):
        assert url(row, "change") in listed
    assert url(world.theirs.key, "change") not in listed
    assert "Nothing you may see" in text(found(operator, "no such thing"))
    for number in range(7):
        Alias.objects.create(name=f"many-{number}")
    assert text(found(operator, "many-", fragment="1")).count("/routing/alias/") == 5


def test_search_shows_a_pasted_keys_public_part_alone(world: World, operator: Client) -> None:
    secret = f"tg_live_0000000000_{'s' * 38}"

    assert "s" * 38 not in text(found(operator, secret))


def test_search_finds_nothing_of_others_and_nothing_of_a_tenant_one_has_left(world: World) -> None:
    client = worlds.staff("admin", world.ours.tenant, world.theirs.tenant)
    assert url(world.theirs.key, "change") in text(found(client, CANARY))
    assert url(world.theirs.key, "change") not in text(found(client, CANARY, tenant="ours"))

    Membership.objects.filter(tenant=world.theirs.tenant, user__username="admin-staff").delete()

    theirs = world.theirs
    for words in (CANARY, theirs.key.public_id, theirs.response.pk, str(theirs.tenant.slug)):
        answer = found(client, words)
        assert answer.status_code == 200
        assert "/change/" not in text(answer)
    assert found(client, CANARY, tenant=CANARY).status_code == 404


@sample(default=4, ci=6)
@cases(
    "words", ["", "\0", "x" * 5000, "%", "_", "req_zz", "req_" + "f" * 32, "'\"<b>", "-1", "9" * 40]
)
def test_search_takes_any_words(words: str, world: World, operator: Client) -> None:
    for rest in ({}, {"fragment": "1"}, {"page": "x"}, {"period": "x", "from": "\0"}):
        answer = found(operator, words, **rest)
        assert answer.status_code == 200
        assert "<b>" not in text(answer)


def test_times_are_in_the_zone_of_what_is_shown(world: World, operator: Client) -> None:
    ours = world.ours
    ApiToken.objects.filter(pk=ours.token.pk).update(
        expires_at=datetime(2036, 1, 1, 23, 4, 5, tzinfo=UTC)
    )
    Tenant.objects.filter(pk=ours.tenant.pk).update(time_zone="Asia/Tokyo")

    def shown(query: str = "", zone: str = "") -> str:
        operator.cookies["tollgate_zone"] = zone
        return text(operator.get(f"{url(ApiToken, 'changelist')}{query}"))

    assert "2036-01-02 08:04:05" in shown("?tenant=ours", "Europe%2FBerlin")
    assert "Asia/Tokyo" in shown("?tenant=ours")
    assert "2036-01-02 00:04:05" in shown(zone="Europe%2FBerlin")
    for wrong in ("", "nowhere", "..%2F..%2Fetc%2Fpasswd", "x" * 5000, "%00", "UTC%0D%0A"):
        assert "2036-01-01 23:04:05" in shown(zone=wrong)
    assert "2036-01-02 08:04:05" in text(
        worlds.staff("viewer", ours.tenant).get(url(ApiToken, "changelist"))
    )


def test_a_page_without_a_right_is_refused_with_a_way_back(world: World) -> None:
    viewer = worlds.staff("viewer", world.ours.tenant)

    refused, nowhere = viewer.get(url(ApiKey, "add")), viewer.get("/console/nowhere/")

    assert (refused.status_code, nowhere.status_code) == (403, 404)
    for answer in (refused, nowhere):
        assert "To the console" in text(answer)
    assert Tenant.objects.get(pk=world.ours.tenant.pk).name not in text(nowhere)


def test_pages_are_registered_once() -> None:
    names = [page.name for page in pages.registered()]

    assert "search" in names
    with pytest.raises(ValueError, match="name or path"):
        pages.console_page(next(page for page in pages.registered() if page.name == "search"))
