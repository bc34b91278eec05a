"""A developer and an admin of a tenant try to pay less, in the console, with every right they have."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from django.test import Client

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from routing import credentials
from routing.models import Alias, Provider, ProviderModel
from tenants.models import Budget, BudgetWindow, PriceVersion
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.console import world
from tests.console.pages import alias_form, key_form, price_form, provider_form, text, url
from tests.responses_api.accounting.conftest import Rows, budget, offer
from tests.support.live import LiveGateway
from tests.support.rows import Customer

Post = Callable[..., httpx.Response]


@pytest.fixture
def developer(gateway: LiveGateway, buyer: Customer) -> Client:
    return world.staff("developer", buyer.tenant)


@pytest.fixture
def admin(gateway: LiveGateway, buyer: Customer) -> Client:
    return world.staff("admin", buyer.tenant)


@pytest.fixture(autouse=True)
def priced(gateway: LiveGateway, buyer: Customer) -> None:
    """`good-chat` is charged with a margin, `cheap` next to nothing."""
    offer("good-chat")
    for name, pico in (("good-chat", 30_000_000), ("cheap", 1)):
        lines = [Line("input_fresh", pico), Line("output_visible", pico)]
        publishing.set_price(Subject.charge(name), lines, "test", clock.now())


def test_an_alias_of_ones_own_is_charged_and_booked_as_the_platforms(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, developer: Client
) -> None:
    made = alias_form(name="cheap", platform_alias=Alias.objects.get(name="good-chat").pk)
    assert developer.post(url(Alias, "add"), made).status_code == 302
    gateway.call(gateway.worker.forget)
    answers = [post("chat", name, stream=True) for name in ("good-chat", "cheap")]
    assert [answer.status_code for answer in answers] == [200, 200]
    asked_for, linked = sorted(booked(), key=lambda row: row.opened_at)
    assert linked.charge_nano == asked_for.charge_nano > 3 * linked.cost_nano > 0
    assert (asked_for.alias, asked_for.requested_model) == ("good-chat", "")
    assert (linked.alias, linked.requested_model) == ("good-chat", "cheap")
    listed = httpx.get(f"{gateway.base_url}/models", headers=buyer.headers).json()
    assert {"cheap", "good-chat"} <= {model["id"] for model in listed["data"]}
    assert post("chat", "cheap").json()["model"] == "cheap"


def test_a_model_of_the_platform_takes_no_alias_of_ones_own(
    gateway: LiveGateway, post: Post, booked: Rows, developer: Client
) -> None:
    model = ProviderModel.objects.get()
    target = {"position": 0, "provider_model": model.pk}
    refused = developer.post(url(Alias, "add"), alias_form(target, name="mine"))
    assert "link to one of the platform" in text(refused)
    both = alias_form(target, name="mine", platform_alias=Alias.objects.get().pk)
    assert "it has no models of its own" in text(developer.post(url(Alias, "add"), both))
    assert Alias.objects.count() == 1
    for name in ("mine", str(model), f"{model.provider.name}@{model.upstream_id}"):
        assert post("chat", name).json()["error"]["code"] == "model_not_found"
    assert booked() == []


def test_junk_as_a_credential_makes_no_call_free(
    gateway: LiveGateway, post: Post, booked: Rows, buyer: Customer, admin: Client
) -> None:
    provider = Provider.objects.get(name="sandbox-chat")
    assert provider.auth_kind == "none"
    credentials.create(provider, Secret("junk"), tenant=buyer.tenant)
    budget(buyer, 5_000_000)  # at most 41 of these calls
    gateway.call(gateway.worker.forget)
    codes = [post("chat", "good-chat").status_code for _ in range(42)]
    assert (codes[0], codes[-1]) == (200, 429)
    rows = booked()
    assert all(row.cost_nano > 0 for row in rows)
    assert BudgetWindow.objects.get().spent_nano == sum(row.charge_nano for row in rows) > 0


def test_nobody_but_an_operator_says_what_things_cost(
    buyer: Customer, admin: Client, developer: Client
) -> None:
    provider = Provider.objects.get(name="sandbox-chat")
    version = PriceVersion.objects.get(model="good-chat")
    for client in (admin, developer):
        made = client.post(url(PriceVersion, "add"), price_form(tenant=buyer.tenant.pk))
        assert made.status_code == 403
        assert client.post(url(version, "change"), price_form()).status_code == 403
        assert client.post(url(provider, "change"), provider_form()).status_code == 403
    own = provider_form(name="own", allow_tenant_credentials="")
    assert admin.post(url(Provider, "add"), own).status_code == 302
    assert Provider.objects.get(name="own").allow_tenant_credentials
    whole = Budget.objects.create(tenant=buyer.tenant, name="operator's", amount_nano=1)
    assert admin.post(url(whole, "delete"), {"post": "yes"}).status_code == 403


def test_a_link_is_granted_to_a_key_together_with_what_it_leads_to(
    buyer: Customer, developer: Client
) -> None:
    shared = Alias.objects.get(name="good-chat")
    mine = Alias.objects.create(tenant=buyer.tenant, name="mine", platform_alias=shared)
    form = {**key_form(aliases=[mine.pk]), "all_aliases": ""}
    assert developer.post(url(type(buyer.key), "add"), form).status_code == 200
    assert (mine.grants.count(), shared.grants.count()) == (1, 1)
