"""The console's pages do what they say, for operators and tenant staff."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from gateway_project.lib import clock
from responses_api.models import Conversation, StoredResponse, WebhookDelivery, WebhookEndpoint
from responses_api.webhooks import endpoints, events
from routing.models import Alias, Credential, Provider, ProviderModel, Target
from tenants import revision
from tenants.access.access import OPERATOR
from tenants.billing import credits as prepaid
from tenants.billing import rollups
from tenants.keys import caller, keys
from tenants.members import invitations, members, roles
from tenants.models import (
    ApiKey,
    BillingPeriod,
    CreditTransaction,
    CustomRole,
    Invitation,
    Invoice,
    Membership,
    SupportSession,
    Tenant,
    UsageDay,
    UsageHour,
    UsageRow,
)
from tests.console import world as worlds
from tests.console.pages import (
    action_address,
    alias_form,
    credential_form,
    do,
    key_form,
    provider_form,
    text,
    url,
)
from tests.console.world import World
from tests.plugins.cases import cases
from tests.plugins.tiers import sampled
from tests.support import kept_rows, usage_rows

pytestmark = pytest.mark.django_db

KEY = re.compile(r"tg_live_\w+")


# Opening


def test_every_list_can_be_searched_and_sorted(world: World, operator: Client):
    addresses = [
        f"{url(model, 'changelist')}?q=ours&o={column}"
        for model, page in django_admin.site._registry.items()
        for column in range(1, len(page.list_display) + 1)
    ]
    for address in sampled(addresses, default=12, ci=36):
        assert operator.get(address).status_code == 200, address


def test_a_list_says_whose_a_row_is(world: World, operator: Client):
    page = text(operator.get(url(Provider, "changelist")))

    assert "ours tenant" in page
    assert "Platform" in page


def test_lists_are_filtered_by_tenant(world: World, operator: Client):
    for model in (
        ApiKey,
        Provider,
        Credential,
        Alias,
        Membership,
        StoredResponse,
        Conversation,
        WebhookEndpoint,
        WebhookDelivery,
        UsageRow,
        UsageHour,
        BillingPeriod,
        Invoice,
        CreditTransaction,
    ):
        question = f"?tenant__id__exact={world.ours.tenant.pk}"
        answer = operator.get(url(model, "changelist") + question)
        assert {row.tenant for row in answer.context["cl"].result_list} == {world.ours.tenant}


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("state=active", {"ours key", "later"}),
        ("state=expired", {"over"}),
        ("state=revoked", {"gone"}),
        ("all_aliases__exact=0", {"over"}),
    ],
)
def test_keys_are_filtered_by_status_and_aliases(
    question: str, names: set[str], world: World, developer: Client
):
    tenant, now = world.ours.tenant, clock.now()
    day = timedelta(days=1)
    keys.create(tenant, "later", expires_at=now + day)
    keys.create(tenant, "over", expires_at=now - day, all_aliases=False)
    keys.revoke(keys.create(tenant, "gone", expires_at=now - day)[0])

    answer = developer.get(f"{url(ApiKey, 'changelist')}?{question}")

    assert {key.name for key in answer.context["cl"].result_list} == names


# Query counts


def more(world: World, number: int) -> None:
    """Further rows on every list, each with relations of its own."""
    for n in range(number):
        tenant = Tenant.objects.create(slug=f"t{n}", name=f"Tenant {n}")
        user = User.objects.create_user(f"user{n}")
        members.add_member(OPERATOR, tenant, user, "viewer")
        keys.create(tenant, f"key {n}", created_by=user)
        provider = Provider.objects.create(
            name=f"provider-{n}", tenant=tenant, protocol="chat", base_url="https://a.example/v1"
        )
        Credential.objects.create(provider=provider, tenant=tenant, sealed_secret="v1.a.b.c")
        model = ProviderModel.objects.create(provider=provider, upstream_id=f"model-{n}")
        alias = Alias.objects.create(name=f"alias-{n}", tenant=tenant)
        Target.objects.create(alias=alias, provider_model=model)
        kept_rows.response(tenant)
        kept_rows.conversation(tenant, "Hello")
        usage_rows.usage(tenant, key_public_id=f"key{n}")
        rollups.recompute_dirty()
        prepaid.grant(tenant.pk, 5, "order")
        period = BillingPeriod.objects.create(
            tenant=tenant,
            starts_at=usage_rows.AT,
            ends_at=clock.now() + timedelta(days=9),
            time_zone="UTC",
        )
        Invoice.objects.create(tenant=tenant, period=period)
        endpoints.create(tenant, "https://hooks.example/in")
        events.enqueue(tenant.pk, f"resp_{n}", "completed")
        role = roles.create_role(OPERATOR, tenant, "own", ["keys.view"], created_by=user)
        invitations.invite(OPERATOR, tenant, role, created_by=user)
        SupportSession.objects.create(
            tenant=tenant, operator=user, operator_name="o", reason="r", ends_at=clock.now()
        )


def queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return len(captured)


LISTS = (
    Tenant,
    Membership,
    ApiKey,
    Provider,
    Credential,
    ProviderModel,
    Alias,
    StoredResponse,
    Conversation,
    WebhookEndpoint,
    WebhookDelivery,
    UsageRow,
    UsageHour,
    UsageDay,
    BillingPeriod,
    Invoice,
    CreditTransaction,
    CustomRole,
    Invitation,
    SupportSession,
)


def test_pages_take_as_many_queries_for_ten_rows_as_for_two(world: World, operator: Client):
    searched = "app_label=routing&model_name=target&field_name=provider_model&term="
    lists = [url(model, "changelist") for model in sampled(LISTS, default=6, ci=12)]
    addresses = [
        *lists,
        f"{reverse('admin:autocomplete')}?{searched}",
        url(ProviderModel, "add"),  # with choices
    ]
    for address in addresses:
        operator.get(address)  # content types and the like are read once a process
    few = {address: queries(operator, address) for address in addresses}

    more(world, 10)

    many = {address: queries(operator, address) for address in addresses}
    assert many == few
    assert {address: few[address] for address in lists if few[address] > 12} == {}


def test_a_person_s_roles_are_read_once_a_page(world: World, admin: Client):
    with CaptureQueriesContext(connection) as captured:
        admin.get(url(Alias, "changelist"))

    asked = [q["sql"] for q in captured if q["sql"].startswith('SELECT "tenants_membership"')]
    assert len(asked) == 1


# Keys


def authenticates(secret: str) -> bool:
    return caller.find(secret) is not None


def secret_on(answer: Any) -> str:
    [found] = set(KEY.findall(text(answer)))  # once by itself, and in programs to copy
    return str(found)


def test_a_developer_creates_a_key(world: World, developer: Client):
    answer = developer.post(url(ApiKey, "add"), key_form(scopes=["models"]))

    found = caller.find(secret_on(answer))
    assert found is not None
    assert found.tenant_id == world.ours.tenant.pk
    assert found.scopes == {"models"}
    assert ApiKey.objects.filter(created_by__username="developer-staff").count() == 1


def test_an_operator_creates_a_key_for_a_tenant(world: World, operator: Client):
    refused = operator.post(url(ApiKey, "add"), key_form())
    answer = operator.post(url(ApiKey, "add"), key_form(tenant=world.theirs.tenant.pk))

    assert "This field is required" in text(refused)
    assert authenticates(secret_on(answer))


def test_the_page_of_a_new_key_offers_no_button_that_would_pass_by_its_secret(
    world: World, developer: Client
):
    page = text(developer.get(url(ApiKey, "add")))

    assert 'name="_save"' in page
    assert "_addanother" not in page
    assert "_continue" not in page


def test_a_key_is_restricted_to_the_aliases_it_is_granted(world: World, developer: Client):
    chosen = key_form(all_aliases="", aliases=[world.ours.alias.pk])

    developer.post(url(ApiKey, "add"), chosen)

    key = ApiKey.objects.get(name="new key")
    assert not key.all_aliases
    assert [grant.alias for grant in key.alias_grants.all()] == [world.ours.alias]


def test_changing_a_key_shows_no_secret(world: World, developer: Client):
    answer = developer.post(url(world.ours.key, "change"), key_form(name="renamed"), follow=True)

    world.ours.key.refresh_from_db()
    assert world.ours.key.name == "renamed"
    assert not KEY.search(text(answer))


def test_rotating_asks_first(world: World, developer: Client):
    answer = developer.get(action_address(world.ours.key, "rotate"))

    assert answer.status_code == 200
    assert "24 hours" in text(answer)
    assert world.ours.key.secrets.count() == 1


def test_rotating_shows_the_new_secret_and_lets_the_old_one_overlap(
    world: World, developer: Client
):
    old = keys.add_secret(world.ours.key).reveal()

    new = secret_on(do(developer, world.ours.key, "rotate"))

    assert authenticates(new)
    assert authenticates(old)
    ends = [s.expires_at for s in world.ours.key.secrets.all() if s.expires_at is not None]
    assert len(ends) == 2
    for end in ends:
        assert timedelta(hours=23) < end - clock.now() <= timedelta(hours=24)


def test_a_revoked_key_is_not_rotated(world: World, developer: Client):
    keys.revoke(world.ours.key)

    answer = do(developer, world.ours.key, "rotate")

    assert answer.status_code == 302
    assert world.ours.key.secrets.count() == 1
    page = text(developer.get(url(world.ours.key, "change")))
    assert action_address(world.ours.key, "rotate") not in page


def test_revoking_asks_first(world: World, developer: Client):
    answer = developer.get(action_address(world.ours.key, "revoke"))

    assert answer.status_code == 200
    assert "for good" in text(answer)
    world.ours.key.refresh_from_db()
    assert world.ours.key.revoked_at is None


def test_revoking_ends_the_key_and_keeps_the_reason(world: World, developer: Client):
    secret = keys.add_secret(world.ours.key).reveal()
    before = revision.current()

    answer = do(developer, world.ours.key, "revoke", reason="leaked")

    assert answer.status_code == 302
    assert not authenticates(secret)
    assert revision.current() > before
    page = text(developer.get(url(world.ours.key, "change")))
    assert "leaked" in page
    assert "Revoked" in text(developer.get(url(ApiKey, "changelist")))
    assert "Revoked: leaked" in text(developer.get(url(world.ours.key, "history")))


def test_a_reason_that_is_too_long_is_asked_for_again(world: World, developer: Client):
    answer = do(developer, world.ours.key, "revoke", reason="x" * 201)

    assert "at most 200 characters" in text(answer)
    world.ours.key.refresh_from_db()
    assert world.ours.key.revoked_at is None


def test_several_keys_are_revoked_at_once_also_from_a_filtered_list(world: World, operator: Client):
    chosen = {"action": "revoke_chosen", "post": "yes", "select_across": "1"}
    chosen_ids = [key.pk for key in ApiKey.objects.all()]

    operator.post(
        f"{url(ApiKey, 'changelist')}?state=active",
        {**chosen, "_selected_action": chosen_ids},
    )

    assert not ApiKey.objects.filter(revoked_at=None).exists()
    assert "2 keys revoked" in text(operator.get(url(ApiKey, "changelist")))


# Everything else


def test_a_change_through_a_page_raises_the_revision(world: World, admin: Client):
    before = revision.current()

    admin.post(url(world.ours.alias, "change"), alias_form(name="renamed-alias"))

    assert revision.current() > before


def test_an_operator_makes_a_platform_alias_over_a_platform_model(world: World, operator: Client):
    operator.post(url(Provider, "add"), provider_form(tenant=""))
    provider = Provider.objects.get(name="new-provider")
    operator.post(
        url(ProviderModel, "add"),
        {"provider": provider.pk, "upstream_id": "gpt", "capabilities": ["tools"]},
    )
    target = {"position": 1, "provider_model": provider.provider_models.get().pk}
    operator.post(url(Alias, "add"), alias_form(target, tenant=""))

    alias = Alias.objects.get(name="new-alias")
    assert (alias.tenant, provider.tenant) == (None, None)
    assert [(t.position, t.provider_model.upstream_id) for t in alias.targets.all()] == [(1, "gpt")]


def test_targets_are_listed_in_the_order_they_are_tried(world: World, operator: Client):
    for position, name in ((2, "third"), (1, "second")):
        model = ProviderModel.objects.create(provider=world.ours.provider, upstream_id=name)
        Target.objects.create(alias=world.ours.alias, provider_model=model, position=position)

    page = text(operator.get(url(world.ours.alias, "change")))

    assert page.index("ours-model") < page.index("second") < page.index("third")


def test_a_name_taken_in_the_tenant_is_refused(world: World, admin: Client):
    answer = admin.post(url(Alias, "add"), alias_form(name="ours-alias"))

    assert answer.status_code == 200
    assert "already exists" in text(answer)


def test_a_name_taken_for_the_platform_is_refused(world: World, operator: Client):
    answer = operator.post(url(Alias, "add"), alias_form(name="plat-alias", tenant=""))

    assert answer.status_code == 200
    assert "errornote" in text(answer)


def test_a_model_renamed_to_one_the_provider_has_is_refused(world: World, admin: Client):
    ProviderModel.objects.create(provider=world.ours.provider, upstream_id="other")

    answer = admin.post(
        url(world.ours.model, "change"), {"upstream_id": "other", "capabilities": []}
    )

    assert answer.status_code == 200
    assert "already exists" in text(answer)


@cases(
    ("model", "form", "message"),
    [
        (ApiKey, key_form(scopes=["admin"]), "admin is not one of the available choices"),
        (ApiKey, key_form(allowed_networks="10.0.0.0/99"), "is not a network"),
        (ApiKey, key_form(all_aliases=""), "Choose at least one"),
        (ApiKey, key_form(all_aliases="", aliases=["x"]), "is not a valid value"),
        (ApiKey, key_form(lifetime="31"), "Select a valid choice"),
        (
            Provider,
            provider_form(quirks_keepalive_seconds="601"),
            "keepalive_seconds: how long a connection may be idle and be used again: Ensure this value is",
        ),
        (
            Provider,
            provider_form(limits_concurrency="0"),
            "Calls at the same time: Ensure this value",
        ),
        (Provider, provider_form(quirks_thinking="hard"), "Select a valid choice"),
        (Provider, provider_form(name="Not A Name"), "is not a provider name"),
        (Provider, provider_form(base_url="ftp://a"), "is not an http(s) address"),
        (Alias, alias_form(name="not an alias"), "is not an alias"),
        (Credential, credential_form(provider=""), "This field is required"),
    ],
)
def test_a_form_says_what_is_wrong(
    model: type[Model], form: dict[str, Any], message: str, world: World, admin: Client
):
    answer = admin.post(url(model, "add"), form)

    assert answer.status_code == 200
    assert message in text(answer)


def test_a_model_s_capabilities_are_checked(world: World, admin: Client):
    form = {"provider": world.ours.provider.pk, "upstream_id": "m", "capabilities": ["fly"]}

    assert "fly is not one of the available choices" in text(
        admin.post(url(ProviderModel, "add"), form)
    )


def test_emptied_json_fields_mean_nothing_rather_than_null(world: World, admin: Client):
    admin.post(url(ApiKey, "add"), key_form(scopes=[], allowed_networks=""))
    admin.post(url(Provider, "add"), provider_form(quirks_system_role="", limits_concurrency=""))

    key = ApiKey.objects.get(name="new key")
    assert (key.scopes, key.allowed_networks) == ([], [])
    assert Provider.objects.get(name="new-provider").quirks == {}


def test_what_a_row_was_made_for_is_shown_and_not_asked_again(world: World, operator: Client):
    for row in (world.ours.key, world.ours.provider, world.ours.credential, world.ours.alias):
        page = text(operator.get(url(row, "change")))
        assert "ours tenant" in page
        assert 'id="id_tenant"' not in page


def test_the_menu_leads_to_what_one_may_open(world: World, developer: Client, operator: Client):
    own, all_of_it = (text(c.get(reverse("admin:index"))) for c in (developer, operator))

    assert url(ApiKey, "changelist") in own
    assert url(Provider, "changelist") in own
    # Settings opens at its first tab, which leads on.
    users = reverse("admin:auth_user_changelist")
    own, all_of_it = (text(c.get(url(Tenant, "changelist"))) for c in (developer, operator))
    assert users not in own
    assert users in all_of_it


def test_the_whole_way_to_a_working_key_is_open_to_tenant_staff(world: World):
    client = worlds.staff("owner", world.ours.tenant)

    client.post(url(Provider, "add"), provider_form())
    provider = Provider.objects.get(name="new-provider")
    client.post(url(Credential, "add"), credential_form(provider=provider.pk))
    client.post(
        url(ProviderModel, "add"),
        {"provider": provider.pk, "upstream_id": "m", "capabilities": []},
    )
    target = {"position": 0, "provider_model": provider.provider_models.get().pk}
    client.post(url(Alias, "add"), alias_form(target))
    answer = client.post(url(ApiKey, "add"), key_form())

    assert authenticates(secret_on(answer))
    assert {row.tenant for row in (provider, *Alias.objects.filter(name="new-alias"))} == {
        world.ours.tenant
    }
