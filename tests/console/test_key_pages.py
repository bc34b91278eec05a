"""Keys are made on one page with all that bounds them, and their pages tell what became of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gateway_project.lib import clock, ids
from routing.models import Alias, AliasGrant
from tenants.billing import rollups
from tenants.keys import keys
from tenants.models import ApiKey, Budget, RateLimit, RefusedRequest, Tenant
from tests.console import world as worlds
from tests.console.pages import assert_clean, key_form, text, url
from tests.console.world import World
from tests.plugins.cases import cases
from tests.support import usage_rows

pytestmark = pytest.mark.django_db

BOUNDED = {
    "preset": "custom",
    "requests_per_minute": "30",
    "amount_nano": "12.50",
    "period": "weekly",
    "lifetime": "30",
    "allowed_networks": "10.0.0.0/8\n192.168.1.0/24",
}
BOUND_FIELDS = ("preset", "requests_per_minute", "amount_nano")


def new_key(client: Client, **fields: Any) -> ApiKey:
    answer = client.post(url(ApiKey, "add"), key_form(**fields))
    assert "tg_live_" in text(answer), text(answer)
    return ApiKey.objects.get(name="new key")


# Making one


def test_a_key_is_made_with_its_bounds_in_one_form(world: World, admin: Client):
    key = new_key(admin, **BOUNDED)

    assert [str(each) for each in key.rate_limits.all()] == ["30 requests per minute"]
    budget = key.budgets.get()
    assert (budget.name, budget.amount_nano, budget.period) == ("new key", 12_500_000_000, "weekly")
    assert key.allowed_networks == ["10.0.0.0/8", "192.168.1.0/24"]
    assert key.expires_at is not None
    assert timedelta(days=29) < key.expires_at - clock.now() <= timedelta(days=30)


def test_presets_stand_for_a_limit_and_a_budget(world: World, operator: Client):
    key = new_key(operator, tenant=world.ours.tenant.pk, preset="trial")

    assert [str(each) for each in key.rate_limits.all()] == ["20 requests per minute"]
    assert (key.budgets.get().amount_nano, key.budgets.get().period) == (5_000_000_000, "total")


def test_whoever_may_not_bound_keys_is_not_asked_to(world: World, developer: Client):
    page = text(developer.get(url(ApiKey, "add")))
    key = new_key(developer, **BOUNDED)  # as somebody would forge it

    assert not any(f'name="{name}"' in page for name in BOUND_FIELDS)
    assert not RateLimit.objects.filter(api_key=key).exists()
    assert not Budget.objects.filter(api_key=key).exists()


@cases(
    ("fields", "said"),
    [
        ({"amount_nano": "much"}, "Enter an amount in dollars"),
        ({"requests_per_minute": "0"}, "greater than or equal to 1"),
        ({"period": "yearly"}, "Select a valid choice"),
        ({"preset": "gold"}, "Select a valid choice"),
        ({"amount_nano": "9999999999999"}, "too large"),
    ],
)
def test_a_wrong_bound_is_told_and_no_key_is_made(
    fields: dict[str, str], said: str, world: World, admin: Client
):
    answer = admin.post(url(ApiKey, "add"), key_form(**{**BOUNDED, **fields}))

    assert answer.status_code == 200
    assert said in text(answer), answer.context["form"].errors
    assert not ApiKey.objects.filter(name="new key").exists()


def test_a_preset_says_how_many_calls_it_pays(world: World, admin: Client):
    now = clock.now()
    for _ in range(4):
        usage_rows.usage(world.ours.tenant, now, charges={"input_fresh": 50_000_000})
    usage_rows.usage(world.theirs.tenant, now, charges={"input_fresh": 1}, alias="zzcanary-alias")
    rollups.recompute_dirty()

    page = text(admin.get(url(ApiKey, "add")))

    # Five dollars at five cents a call.
    assert "≈ 100 calls of smart" in page
    assert "≈ 2,000 calls of smart" in page
    assert "zzcanary" not in page


def test_an_operator_first_says_for_which_tenant(world: World, operator: Client):
    asked = text(operator.get(url(ApiKey, "add")))
    page = text(operator.get(f"{url(ApiKey, 'add')}?tenant=ours"))

    assert 'name="name"' not in asked
    assert '<option value="ours">' in asked
    assert "ours-alias" in page
    assert "plat-alias" in page
    assert "zzcanary-alias" not in page


def test_an_alias_of_another_tenant_is_not_granted(world: World, operator: Client):
    chosen = key_form(tenant=world.ours.tenant.pk, all_aliases="", aliases=[world.theirs.alias.pk])

    answer = operator.post(url(ApiKey, "add"), chosen)

    assert "is not one of the available choices" in text(answer)
    assert not ApiKey.objects.filter(name="new key").exists()


def test_the_secret_comes_with_programs_that_call_what_it_may_use(world: World, admin: Client):
    chosen = key_form(all_aliases="", aliases=[world.platform.alias.pk])
    answer = admin.post(url(ApiKey, "add"), chosen)

    secret, page = answer.context["secret"], text(answer)
    texts = {each.name: each.text for each in answer.context["snippets"]}
    assert texts.keys() == {"curl", "python", "javascript", "codex", "environment"}
    for name, program in texts.items():
        assert secret in program, name
        assert "http://testserver/v1" in program, name
    assert '"plat-alias"' in texts["curl"]
    assert "no-store" in answer["Cache-Control"]
    assert "<script>" not in page


def test_programs_call_the_address_that_is_set(world: World, admin: Client, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://testserver"]
    proxied = admin.post(url(ApiKey, "add"), key_form())
    settings.API_ORIGIN = ["https://api.example.com"]
    named = admin.post(url(ApiKey, "add"), key_form())

    assert proxied.context["example"].base_url == "https://testserver/v1"
    assert named.context["example"].base_url == "https://api.example.com/v1"


def test_a_key_that_can_ask_nothing_says_so(world: World, admin: Client):
    no_scope = text(admin.post(url(ApiKey, "add"), key_form(scopes=["models"])))
    Alias.objects.update(enabled=False)
    no_alias = text(admin.post(url(ApiKey, "add"), key_form()))

    assert "has not the scope generate" in no_scope
    assert "no alias yet" in no_alias


# Changing one


def change_form(**fields: Any) -> dict[str, Any]:
    return key_form(name="ours key", **fields)


def test_ticking_an_alias_grants_it_with_what_it_leads_to(world: World, admin: Client):
    link = Alias.objects.create(
        name="link", tenant=world.ours.tenant, platform_alias=world.platform.alias
    )
    key = world.ours.key

    admin.post(url(key, "change"), change_form(all_aliases="", aliases=[link.pk]))

    granted = AliasGrant.objects.filter(api_key=key).values_list("alias__name", flat=True)
    assert sorted(granted) == ["link", "plat-alias"]
    page = text(admin.get(url(key, "change")))
    assert page.count("checked") >= 3


def test_a_page_of_a_key_has_no_box_for_json(world: World, admin: Client):
    page = text(admin.get(url(world.ours.key, "change")))

    assert "[&quot;" not in page
    assert 'type="checkbox" name="scopes"' in page


def test_only_a_revoked_key_can_be_deleted(world: World, admin: Client):
    key = world.ours.key
    before = text(admin.get(url(key, "change")))
    keys.revoke(key, "over")
    after = text(admin.get(url(key, "change")))

    assert url(key, "delete") not in before
    assert url(key, "delete") in after
    assert "over" in after


def test_a_key_tells_its_use_its_bounds_and_its_last_requests(world: World, admin: Client):
    key, now = world.ours.key, clock.now()
    usage_rows.usage(key.tenant, now, key_id=key.pk, key_public_id=key.public_id, alias="fast")
    rollups.recompute_dirty()
    refuse(key, "model_not_found", model="gpt-9")

    page = text(admin.get(url(key, "change")))

    assert "1 request and" in page
    assert "<svg" in page
    assert "ours budget" in page
    assert "1,000 requests a day" in page
    assert "told so" in page
    assert "gpt-9" in page


def test_the_pages_of_keys_take_few_queries_however_much_there_is(world: World, admin: Client):
    key, tenant = world.ours.key, world.ours.tenant

    def count(address: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert admin.get(address).status_code == 200
        return len(captured)

    pages = (
        url(ApiKey, "changelist"),
        url(key, "change"),
        url(ApiKey, "add"),
        url(Budget, "changelist"),
        url(RateLimit, "changelist"),
    )
    for page in pages:
        admin.get(page)  # content types and the like are read once a process
    few = [count(page) for page in pages]
    for number in range(5):
        other, _ = keys.create(tenant, f"key {number}", all_aliases=False)
        AliasGrant.objects.create(api_key=other, alias=world.ours.alias)
        for bound in (other, key):
            Budget.objects.create(
                tenant=tenant, api_key=bound, name=f"budget {number}", amount_nano=1
            )
        RateLimit.objects.create(
            tenant=tenant, api_key=other, metric="tokens", window="day", amount=5
        )
        refuse(other, "model_not_found")
        usage_rows.usage(tenant, key_id=key.pk)

    many = [count(page) for page in pages]

    # A restricted key is the first whose aliases are looked up.
    assert [a - b for a, b in zip(many, few, strict=True)] in ([0, 0, 0, 0, 0], [1, 0, 0, 0, 0])
    assert max(many) <= 12, many


# The first request


def refuse(key: ApiKey, code: str, model: str = "x", **fields: Any) -> RefusedRequest:
    return RefusedRequest.objects.create(
        id=ids.uuid7(),
        tenant=key.tenant,
        key_id=key.pk,
        key_public_id=key.public_id,
        at=clock.now(),
        route="responses",
        model=model,
        http_status=400,
        code=code,
        message="told so",
        **fields,
    )


def first_request(client: Client, key: ApiKey, **query: str) -> Any:
    return client.get(reverse("admin:first_request", args=(key.public_id,)), query)


def test_a_page_waits_until_a_request_was_answered(world: World, admin: Client):
    key, now = world.ours.key, clock.now()
    waiting = first_request(admin, key)
    usage_rows.usage(key.tenant, now + timedelta(seconds=1), key_id=key.pk, marked=False)
    answered = first_request(admin, key)
    later = first_request(admin, key, **{"from": "2090-01-01T00:00:00", "to": "2090-01-02"})

    assert waiting.json()["state"] == later.json()["state"] == "waiting"
    assert answered.json()["state"] == "answered"
    assert answered.json()["request"].startswith("req_")
    assert "no-store" in answered["Cache-Control"]


@pytest.mark.parametrize(
    ("code", "said", "label"),
    [
        ("invalid_api_key", "does not match this key. Was it cut?", "Rotate the key"),
        ("model_not_found", "It asked for “gpt-9”; it may use ours-alias", "Grant the alias"),
        ("model_not_priced", "“gpt-9” has no price", ""),
        ("rate_limit_exceeded", "told so", "Open the rate limits"),
        ("insufficient_quota", "told so", "Open the budgets"),
        ("insufficient_scope", "told so", "Edit the key"),
        ("request_too_large", "told so", ""),
    ],
)
def test_a_refused_request_names_cause_and_cure(
    code: str, said: str, label: str, world: World, admin: Client, viewer: Client
):
    refuse(world.ours.key, code, "gpt-9", is_claimed=code == "invalid_api_key")

    told = first_request(admin, world.ours.key).json()
    read = first_request(viewer, world.ours.key).json()

    assert told["state"] == "failed"
    assert said in told["sentence"]
    assert (told["button"] or {"label": ""})["label"] == label
    if label:
        assert admin.get(told["button"]["address"]).status_code == 200
    changing = {"Rotate the key", "Grant the alias", "Edit the key"}
    assert (read["button"] or {"label": ""})["label"] == ("" if label in changing else label)


def test_an_operator_is_led_to_the_price_that_is_missing(world: World, operator: Client):
    refuse(world.ours.key, "model_not_priced", "gpt-9")

    button = first_request(operator, world.ours.key).json()["button"]

    assert button["label"] == "Price this model"
    assert "gpt-9" in text(operator.get(button["address"]))


def test_an_ended_key_says_why_it_is_unknown(world: World, admin: Client):
    key = world.ours.key
    refuse(key, "invalid_api_key", is_claimed=True)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=clock.now())
    expired = first_request(admin, key).json()
    keys.revoke(key)
    revoked = first_request(admin, key).json()

    assert expired["sentence"] == "The key has expired."
    assert revoked["sentence"] == "The key is revoked."
    assert revoked["button"] is None


def test_what_a_provider_did_is_told_without_its_name(world: World, admin: Client):
    key, now = world.ours.key, clock.now()
    failed: dict[str, Any] = {
        "status": "failed",
        "key_id": key.pk,
        "marked": False,
        "provider": "secret-provider",
    }
    for number, code in enumerate(("upstream_timeout", "something_new")):
        at = now + timedelta(seconds=number)
        usage_rows.usage(key.tenant, at, error_code=code, **failed)
        told = first_request(admin, key)
        assert told.json()["button"]["label"] == "Look at the providers"
        assert "secret-provider" not in text(told)
    assert "“something_new”" in told.json()["sentence"]


def test_the_requests_of_another_tenants_key_are_not_told(world: World, admin: Client):
    refuse(world.theirs.key, "model_not_found", "zzcanary")

    for answer in (
        first_request(admin, world.theirs.key),
        admin.get(reverse("admin:first_request", args=("aaaaaaaaaa",))),
        admin.get(reverse("admin:first_request", args=("a\0",))),
        first_request(
            worlds.staff("owner", Tenant.objects.create(slug="c", name="C")), world.ours.key
        ),
    ):
        assert answer.status_code == 404
        assert_clean(answer)
