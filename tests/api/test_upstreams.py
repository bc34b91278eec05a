"""Routes that set providers up, test them, and tell how they and their prices are doing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache

from gateway_project.lib import clock
from gateway_project.sandbox import SandboxServer
from routing import testing
from routing.models import Alias, Credential, Provider, ProviderModel, UpstreamTest
from tenants.billing import rollups
from tenants.models import PriceVersion
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.api.callers import Api, of_member, of_operator, undone
from tests.commands.conftest import sandbox as sandbox  # noqa: PLC0414  # a fixture
from tests.console.world import CANARY, World
from tests.support import rows, usage_rows

pytestmark = pytest.mark.django_db

KEY = "sandbox-key-0123456789"
PRICES = [Line("input_fresh", 3_000_000), Line("output_visible", 4_000_000)]


@pytest.fixture(autouse=True)
def no_tests_yet() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def draft(sandbox: SandboxServer, **fields: Any) -> dict[str, Any]:
    return {
        "name": "fresh",
        "protocol": "chat",
        "base_url": sandbox.base_url,
        "allow_private_network": True,
        "secret": KEY,
        **fields,
    }


def test_a_provider_is_tried_out_set_up_and_tested(sandbox: SandboxServer, operator: Api):
    tried = operator.post("providers/setup/test", draft(sandbox)).json()
    assert (tried["ok"], tried["status"], tried["error"]) == (True, 200, "")
    assert tried["models"] == ["sandbox", "sandbox-mini"]
    assert not Provider.objects.filter(name="fresh").exists()

    models = [{"upstream_id": "sandbox", "alias": "quick"}, {"upstream_id": "sandbox-mini"}]
    made = operator.post("providers/setup", draft(sandbox, models=models))
    assert made.status_code == 201, made.content
    provider = Provider.objects.get(name="fresh")
    assert made.json() == {
        "provider": provider.pk,
        "models": ["sandbox", "sandbox-mini"],
        "aliases": ["quick"],
    }
    model = ProviderModel.objects.get(provider=provider, upstream_id="sandbox")
    assert Alias.objects.get(name="quick").targets.get().provider_model == model

    tested = operator.post(f"models/{model.pk}/test").json()
    assert (tested["ok"], tested["upstream_id"], tested["error"]) == (True, "sandbox", "")
    listed = operator.post(f"providers/{provider.pk}/test").json()
    assert listed["models"] == ["sandbox", "sandbox-mini"]
    ProviderModel.objects.filter(upstream_id="sandbox-mini").delete()
    synced = operator.post(f"providers/{provider.pk}/sync").json()
    assert synced == {"added": ["sandbox-mini"], "existing": ["sandbox"]}
    [figures] = [
        each for each in operator.get("providers/figures").json()["data"] if each["name"] == "fresh"
    ]
    assert figures["credentials"] == [f"••••{KEY[-4:]}"]
    assert (figures["models"], figures["last_test"]["ok"]) == (2, True)


def test_a_known_vendor_fills_in_what_is_left_out(operator: Api):
    with undone():
        made = operator.post("providers/setup", {"vendor": "deepseek", "secret": KEY})
        assert made.status_code == 201, made.content
        provider = Provider.objects.get(name="deepseek")
        assert provider.base_url == "https://api.deepseek.com/v1"
        assert provider.quirks["reasoning_field"] == "reasoning_content"
        assert Credential.objects.filter(provider=provider).exists()


def test_what_cannot_be_set_up_names_the_field_and_leaves_nothing(
    sandbox: SandboxServer, world: World, operator: Api
):
    before = Provider.objects.count()
    for change, field in (
        ({"name": "Not a name"}, "name"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"protocol": "smtp"}, "protocol"),
        ({"quirks": {"odd": 1}}, "quirks"),
        ({"quirks": []}, "quirks"),
        ({"secret": 7}, "secret"),
        ({"tenant": "x"}, "tenant"),
        ({"allow_private_network": "yes"}, "allow_private_network"),
        ({"models": [{"upstream_id": "m", "alias": "plat-alias"}]}, "models"),
        ({"models": [{"upstream_id": "m"}, {"upstream_id": "m"}]}, "models"),
        ({"models": [{"alias": "m"}]}, "models"),
        ({"models": "m"}, "models"),
        ({"surprise": 1}, "surprise"),
    ):
        answer = operator.post("providers/setup", draft(sandbox, **change))
        assert answer.status_code == 400, (change, answer.content)
        assert field in answer.json()["errors"], (change, answer.content)
        assert KEY not in answer.content.decode()
    assert Provider.objects.count() == before
    assert not sandbox.calls


def test_the_table_of_rights_decides_who_sets_up_tests_and_prices(
    sandbox: SandboxServer, world: World
):
    """Each role, on its own tenant, another one and the platform."""
    new = {"name": "new", "protocol": "chat", "base_url": "https://new.example/v1"}
    for role in ("owner", "admin", "developer", "billing", "viewer"):
        api = of_member(role, world.ours.tenant)
        may = role in {"owner", "admin"}
        with undone():
            assert api.post("providers/setup", new).status_code == (201 if may else 403), role
        tried = api.post("providers/setup/test", new)
        assert tried.status_code == (200 if may else 403), role
        private = api.post("providers/setup/test", draft(sandbox))
        assert private.status_code == (400 if may else 403), role
        theirs = {**new, "tenant": world.theirs.tenant.pk}
        for route in ("providers/setup", "providers/setup/test"):
            assert api.post(route, theirs).status_code == 404, role
        lines = [{"token_class": "input_fresh", "pico_per_token": 1}]
        preview = {"alias": "ours-alias", "lines": lines}
        assert api.post("price-preview", preview).status_code == 403, role
        assert api.post("price-import", {"publish": True}).status_code == 403, role
        for route in ("providers/figures", "aliases/figures", "effective-prices"):
            answer = api.get(route)
            assert answer.status_code == 200, (role, route)
            assert CANARY not in answer.content.decode(), (role, route)
        for route in ("aliases/figures", "effective-prices"):
            assert api.get(f"{route}?tenant={world.theirs.tenant.pk}").status_code == 404
    assert not sandbox.calls
    auditor = of_operator("*.view")
    assert auditor.post("providers/setup", new).status_code == 403
    assert auditor.post("price-import", {"publish": True}).status_code == 403
    assert CANARY in auditor.get("effective-prices").content.decode()


def test_tests_are_counted_by_their_owner(
    world: World, operator: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(testing, "MOST_PER_MINUTE", 2)
    now = clock.now()
    monkeypatch.setattr("routing.testing.clock.now", lambda: now)
    api = of_member("admin", world.ours.tenant)
    address = f"providers/{world.ours.provider.pk}/test"

    answers = [api.post(address).status_code for _ in range(3)]

    assert answers == [200, 200, 429]
    assert operator.post(f"providers/{world.platform.provider.pk}/test").status_code == 200
    assert UpstreamTest.objects.count() == 2


def test_targets_are_put_in_order_all_of_them_or_none(world: World):
    api = of_member("developer", world.ours.tenant)
    other = rows.provider("chat", "https://o.example/v1", "o", tenant=world.ours.tenant)
    alias = rows.alias("two", (other, "a"), (other, "b"), tenant=world.ours.tenant)
    first, second = (target.pk for target in alias.targets.order_by("position"))
    theirs = world.theirs.alias.targets.get().pk

    assert api.post(f"aliases/{alias.pk}/reorder", {"targets": [second, first]}).status_code == 200
    assert [target.pk for target in alias.targets.order_by("position")] == [second, first]
    for wrong in ([second], [second, first, theirs], [second, second], ["x"], second):
        answer = api.post(f"aliases/{alias.pk}/reorder", {"targets": wrong})
        assert answer.status_code == 400, wrong
    assert [target.pk for target in alias.targets.order_by("position")] == [second, first]


def test_a_provider_in_use_is_not_deleted_and_the_aliases_are_named(world: World, operator: Api):
    refused = operator.delete(f"providers/{world.platform.provider.pk}")

    assert refused.status_code == 409
    assert "behind the aliases plat-alias" in refused.json()["detail"]
    world.platform.alias.targets.all().delete()
    assert operator.delete(f"providers/{world.platform.provider.pk}").status_code == 204


def test_figures_count_a_tenant_s_calls_and_tell_its_provider_from_the_platform_s(
    world: World, operator: Api
):
    """A tenant has named a provider and an alias like the platform's."""
    own = rows.provider("chat", "https://o.example/v1", "plat-provider", tenant=world.ours.tenant)
    rows.alias("plat-alias", (own, "plat-model"), tenant=world.ours.tenant)
    for tenant, status in ((world.ours.tenant, "failed"), (world.theirs.tenant, "completed")):
        usage_rows.usage(
            tenant,
            clock.now(),
            alias="plat-alias",
            provider="plat-provider",
            upstream_model="plat-model",
            status=status,
        )
    rollups.recompute_dirty()

    providers = operator.get("providers/figures").json()["data"]
    aliases = operator.get("aliases/figures").json()["data"]
    ours = of_member("viewer", world.ours.tenant).get("aliases/figures").json()["data"]

    named = [each for each in providers if each["name"] == "plat-provider"]
    assert {each["id"]: (each["calls"], each["failed"]) for each in named} == {
        own.pk: (1, 1),
        world.platform.provider.pk: (1, 0),
    }
    both = [each for each in aliases if each["name"] == "plat-alias"]
    assert [each["requests"] for each in both] == [1, 1]
    assert {each["targets"][0]["health"] for each in both} == {"good", "bad"}
    assert {each["price_kind"] for each in both} == {"charge", "own"}
    seen = {each["price_kind"]: each["requests"] for each in ours if each["name"] == "plat-alias"}
    assert seen == {"own": 1, "charge": 0}


@pytest.mark.persistence
def test_a_preview_rates_what_the_subject_prices_and_nothing_else(world: World, operator: Api):
    """Three tenants: one with a price of its own, one with a provider of the same name."""
    tokens = {"input_fresh": 1_000_000, "output_visible": 1_000_000}
    third = rows.customer("third").tenant
    rows.provider("chat", "https://o.example/v1", "plat-provider", tenant=third)
    for tenant in (world.ours.tenant, world.theirs.tenant, third):
        usage_rows.usage(
            tenant,
            clock.now() - timedelta(days=2),
            tokens=tokens,
            charges={"input_fresh": 2_000_000_000},
            alias="plat-alias",
            provider="plat-provider",
            upstream_model="plat-model",
        )
    rollups.recompute_dirty()
    publishing.set_price(
        Subject.charge("plat-alias", world.theirs.tenant), PRICES, "test", clock.now()
    )
    lines = [
        {"token_class": "input_fresh", "pico_per_token": 2_000_000},
        {"token_class": "output_visible", "pico_per_token": 2_000_000},
    ]

    def preview(**subject: Any) -> tuple[int, int | None, int]:
        answer = operator.post("price-preview", {**subject, "lines": lines})
        assert answer.status_code == 200, answer.content
        found = answer.json()
        return found["requests"], found["before_nano"], found["after_nano"]

    assert preview(provider="plat-provider", model="plat-model") == (2, None, 8_000_000_000)
    assert preview(alias="plat-alias") == (2, 10_000_000_000, 8_000_000_000)
    theirs = preview(alias="plat-alias", tenant=world.theirs.tenant.pk)
    assert theirs == (1, 7_000_000_000, 4_000_000_000)
    assert preview(alias="*") == (1, None, 4_000_000_000)
    bad = operator.post("price-preview", {"alias": "a", "lines": lines[:1]})
    assert "no price of output_visible" in bad.json()["errors"]["lines"][0]
    assert not PriceVersion.objects.filter(book="cost").exists()


@pytest.mark.persistence
def test_the_prices_that_hold_are_the_newest_and_a_tenant_s_own_win(world: World, operator: Api):
    past = clock.now() - timedelta(days=3)
    subject = Subject.cost("plat-provider", "plat-model")
    publishing.set_price(subject, [Line("input_fresh", 1), Line("output_visible", 1)], "t", past)
    publishing.set_price(subject, PRICES, "t", past + timedelta(days=1))
    coming = publishing.draft(subject, [Line("input_fresh", 9), Line("output_visible", 9)], past)
    coming.effective_from = clock.now() + timedelta(days=9)
    PriceVersion.objects.filter(pk=coming.pk).update(effective_from=coming.effective_from)
    publishing.publish(coming, "t", clock.now())
    tenant = world.ours.tenant
    publishing.set_price(Subject.charge("plat-alias", tenant), PRICES, "t", clock.now())

    everything = operator.get("effective-prices").json()["data"]
    ours = of_member("viewer", tenant).get("effective-prices").json()["data"]

    [cost] = [each for each in everything if each["provider"] == "plat-provider"]
    assert cost["price"]["input_fresh"] == "3.00"
    assert cost["price"]["output_reasoning"] == "4.00"
    by_alias = {each["model"]: each for each in ours}
    assert by_alias["plat-alias"]["price"]["input_fresh"] == "3.00"
    assert by_alias["ours-alias"]["kind"] == "own"
    assert "plat-provider" not in str(ours)
    words = operator.get("effective-prices?words=plat-prov").json()["data"]
    assert [each["provider"] for each in words] == ["plat-provider"]
    assert operator.get("effective-prices?odd=1").status_code == 400


def test_a_price_list_is_compared_and_published_by_a_program(world: World, operator: Api):
    prices = [{"lines": [["input_fresh", 2_000_000], ["output_visible", 3_000_000]]}]
    model = {"id": "plat-model", "names": {"equals": "plat-model"}, "prices": prices}
    listed = {
        "source": "ours",
        "list_date": "2026-11-01",
        "left_out": {},
        "vendors": {"plat": {"url": "https://plat", "models": [model]}},
    }

    compared = operator.post("price-import", {"list": listed}).json()
    assert (compared["published"], compared["models"][0]["state"]) == (0, "new")
    published = operator.post("price-import", {"list": listed, "publish": True}).json()
    assert published["published"] == 1
    again = operator.post("price-import", {"list": listed, "publish": True}).json()
    assert (again["published"], again["models"][0]["state"]) == (0, "unchanged")
    assert operator.post("price-import", {"list": {"source": 1}}).status_code == 400
    assert operator.post("price-import", {"publish": "yes"}).status_code == 400
    assert operator.post("price-import", {"provider": "gone"}).status_code == 400
