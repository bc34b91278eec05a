"""Rows are made, changed and removed by three functions, whoever asks and through whatever door."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from gateway_project.lib import clock
from gateway_project.lib.actor import Actor, acting
from responses_api.models import StoredItem, StoredResponse, WebhookEndpoint
from routing import credentials
from routing.models import Alias, AliasGrant, Credential, Provider, ProviderModel, Target
from tenants import managed, revision
from tenants.access.access import OPERATOR, Access
from tenants.access.rights import AUDITOR, ROLES
from tenants.keys import caller
from tenants.managed.resource import all_resources
from tenants.models import (
    ApiKey,
    Budget,
    ConsoleSession,
    CreditTransaction,
    ExternalIdentity,
    IdentityDomain,
    Membership,
    PriceVersion,
    RateLimit,
    Tenant,
    UsageRow,
)
from tests.console import world as worlds
from tests.console.world import World
from tests.plugins.cases import cases
from tests.support.before_walls import no_walls

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    return worlds.make()


def role(name: str, *tenants: Tenant) -> Access:
    return Access(grants={tenant.pk: ROLES[name] for tenant in tenants})


def wrong_fields(refused: Any) -> set[str]:
    return set(refused.value.message_dict)


def test_what_an_admin_makes_is_of_their_tenant(world: World):
    ours = role("admin", world.ours.tenant)

    provider = managed.create(ours, Provider, _provider(name="mine")).row
    model = managed.create(ours, ProviderModel, {"provider": provider, "upstream_id": "m"}).row
    alias = managed.create(ours, Alias, {"name": "fast"}).row
    target = managed.create(ours, Target, {"alias": alias.pk, "provider_model": model.pk}).row
    key = managed.create(ours, ApiKey, {"name": "k", "all_aliases": False})
    grant = managed.create(ours, AliasGrant, {"api_key": key.row, "alias": alias}).row

    assert {provider.tenant_id, alias.tenant_id, key.row.tenant_id} == {world.ours.tenant.pk}
    assert (target.provider_model, grant.alias) == (model, alias)
    assert key.secret is not None
    assert caller.find(key.secret.reveal()) is not None


def test_secrets_go_in_sealed_and_come_out_once(world: World):
    ours = role("admin", world.ours.tenant)
    given = {"provider": world.ours.provider.pk, "secret": "sk-1234567890abcd", "name": "second"}

    made = managed.create(ours, Credential, given)
    endpoint = managed.create(ours, WebhookEndpoint, {"url": "https://x.example/hook"})

    assert made.secret is None
    assert credentials.reveal(made.row).reveal() == "sk-1234567890abcd"
    assert endpoint.secret is not None
    assert endpoint.secret.reveal().startswith("whsec_")
    managed.change(ours, made.row, {"secret": "sk-another-secret-9999"})
    made.row.refresh_from_db()
    assert credentials.reveal(made.row).reveal() == "sk-another-secret-9999"
    assert made.row.last_four == "9999"


def test_a_key_remembers_the_person_who_made_it(world: World):
    user = world.ours.member.user
    with acting(Actor("person", str(user.pk), user.username)):
        key = managed.create(role("developer", world.ours.tenant), ApiKey, {"name": "k"}).row

    assert ApiKey.objects.get(pk=key.pk).created_by == user


@cases("right", ["add", "change", "delete"])
def test_every_right_is_asked_for_by_the_table(world: World, right: str):
    """Ask for each role and each kind of row: refused, unless the table has the cell."""
    managed_as = {resource.model: resource for resource in all_resources()}
    for name, held in ROLES.items():
        who = role(name, world.ours.tenant)
        for row in world.ours.rows():
            resource = managed_as.get(type(row))
            if resource is None or (isinstance(row, Tenant) and right == "add"):
                continue
            allowed = right in resource.rights and (resource.area, right) in held
            if isinstance(row, PriceVersion):
                allowed = False  # it is published
            if isinstance(row, Membership):
                allowed = allowed and ROLES[row.role] <= held
            assert resource.may(who, right, row) is allowed, (name, right, row)  # type: ignore[arg-type]


def test_rows_of_another_tenant_are_neither_changed_nor_removed(world: World):
    who = role("owner", world.ours.tenant)

    for row in (world.theirs.key, world.theirs.alias, world.theirs.budget, world.theirs.response):
        with pytest.raises(PermissionDenied):
            managed.change(who, row, {})
        with pytest.raises(PermissionDenied):
            managed.remove(who, row)


def test_a_link_to_what_one_may_not_see_is_answered_like_one_to_nothing(world: World):
    who = role("admin", world.ours.tenant)
    links: list[tuple[Any, dict[str, Any], str, Any, Any]] = [
        (Credential, {"secret": "s"}, "provider", world.theirs.provider.pk, 10**6),
        (
            Budget,
            {"name": "b", "amount_nano": 1},
            "api_key",
            world.theirs.key.public_id,
            "aaaaaaaaaa",
        ),
        (Target, {"alias": world.ours.alias.pk}, "provider_model", world.theirs.model.pk, 10**6),
        (AliasGrant, {"api_key": world.ours.key.public_id}, "alias", world.theirs.alias.pk, 10**6),
        (Membership, {"role": "viewer"}, "user", world.theirs.member.user_id, 10**6),
        (ApiKey, {"name": "k"}, "tenant", world.theirs.tenant.pk, 10**6),
    ]
    for model, values, name, foreign, unknown in links:
        told = []
        for key in (foreign, unknown, True, "x\0", 10**30, [1], "zz"):
            with pytest.raises(ValidationError) as refused:
                managed.create(who, model, {**values, name: key})
            told.append(refused.value.message_dict[name][0].replace(repr(key), "it"))
        assert len(set(told)) == 1, told


def test_an_operator_too_links_nothing_across_tenants(world: World):
    crossed: list[tuple[Any, dict[str, Any]]] = [
        (AliasGrant, {"api_key": world.ours.key, "alias": world.theirs.alias}),
        (Target, {"alias": world.ours.alias, "provider_model": world.theirs.model}),
        (
            Credential,
            {"tenant": world.ours.tenant, "provider": world.theirs.provider, "secret": "s"},
        ),
    ]
    for model, values in crossed:
        with pytest.raises(ValidationError):
            managed.create(OPERATOR, model, values)


def test_every_wrong_field_is_named_at_once(world: World):
    who = role("admin", world.ours.tenant)
    given = {"name": 5, "enabled": "yes", "store_by_default": 1, "responses_mode": "x", "no": 1}

    with pytest.raises(ValidationError) as refused:
        managed.create(who, Alias, given)

    assert wrong_fields(refused) == set(given)


def test_values_no_database_holds_are_refused_by_field(world: World):
    who = OPERATOR
    tenant = world.ours.tenant
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (ApiKey, {"tenant": tenant, "name": "a\0b"}, "name"),
        (ApiKey, {"tenant": tenant, "name": "\ud800"}, "name"),
        (ApiKey, {"tenant": tenant, "name": "k", "scopes": ["\0"]}, "scopes"),
        (ApiKey, {"tenant": tenant, "name": "k", "scopes": None}, "scopes"),
        (
            ApiKey,
            {"tenant": tenant, "name": "k", "expires_at": "9999-12-31T23:59:59Z"},
            "expires_at",
        ),
        (ApiKey, {"tenant": tenant, "name": "k", "expires_at": "2030-01-01"}, "expires_at"),
        (
            ApiKey,
            {"tenant": tenant, "name": "k", "expires_at": "2030-01-01T00:00:00"},
            "expires_at",
        ),
        (Budget, {"tenant": tenant, "name": "b", "amount_nano": 2**63}, "amount_nano"),
        (Budget, {"tenant": tenant, "name": "b", "amount_nano": True}, "amount_nano"),
        (RateLimit, {"tenant": tenant, "metric": "tokens", "window": "day", "amount": 0}, "amount"),
        (Provider, _provider(name="p", quirks={"\0": 1}), "quirks"),
        (ProviderModel, {"upstream_id": "m"}, "provider"),
        (Credential, {"provider": world.platform.provider}, "secret"),
        (
            CreditTransaction,
            {"tenant": tenant, "reference": "r", "amount_cents": 0},
            "amount_cents",
        ),
    ]
    for model, values, name in wrong:
        with pytest.raises(ValidationError) as refused:
            managed.create(who, model, values)
        assert wrong_fields(refused) == {name}, values


def test_what_is_set_once_or_by_operators_may_be_sent_back_but_not_changed(world: World):
    who = role("owner", world.ours.tenant)
    tenant, provider, key = world.ours.tenant, world.ours.provider, world.ours.key

    changed = managed.change(who, tenant, {"name": "New", "slug": tenant.slug, "status": "active"})

    assert changed.name == "New"
    for row, values in (
        (tenant, {"status": "suspended"}),
        (provider, {"allow_private_network": not provider.allow_private_network}),
        (key, {"tenant": None}),
        (world.ours.credential, {"provider": world.platform.provider.pk}),
    ):
        with pytest.raises(ValidationError) as refused:
            managed.change(who, row, values)
        assert wrong_fields(refused) == set(values)


def test_a_role_is_given_up_to_ones_own_and_not_taken_from_those_above(world: World):
    who = role("admin", world.ours.tenant)
    with pytest.raises(PermissionDenied):
        managed.change(who, world.ours.member, {"role": "owner"})
    managed.change(who, world.ours.member, {"role": "admin"})
    Membership.objects.update(role="owner")
    with pytest.raises(PermissionDenied):
        managed.change(who, world.ours.member, {"role": "viewer"})
    with pytest.raises(PermissionDenied):
        managed.remove(who, world.ours.member)


def test_bounds_of_a_whole_tenant_are_the_operators(world: World):
    values = {"metric": "requests", "window": "minute", "amount": 5}

    with pytest.raises(PermissionDenied):
        managed.create(role("owner", world.ours.tenant), RateLimit, values)
    made = managed.create(OPERATOR, RateLimit, {**values, "tenant": world.ours.tenant}).row

    with pytest.raises(PermissionDenied):
        managed.change(role("owner", world.ours.tenant), made, {"amount": 10})


def test_nothing_is_written_where_nothing_differs(world: World):
    before = revision.current()

    managed.change(OPERATOR, world.ours.alias, {"name": world.ours.alias.name, "enabled": True})

    assert revision.current() == before


def test_a_row_in_use_says_by_what(world: World):
    with pytest.raises(ValidationError) as refused:
        managed.remove(OPERATOR, world.ours.model)
    assert "targets" in str(refused.value.messages)

    with pytest.raises(ValidationError) as conflict:
        managed.create(OPERATOR, Alias, {"name": world.platform.alias.name})
    assert "already has an alias" in str(conflict.value.messages)


def test_who_removes_what_others_use_is_told_nothing_of_them(world: World):
    with no_walls():
        Credential.objects.update(
            provider=world.ours.provider
        )  # a stray link from before the walls

    with pytest.raises(ValidationError) as refused:
        managed.remove(role("owner", world.ours.tenant), world.ours.provider)

    assert "not yours" in str(refused.value.messages)
    assert worlds.CANARY not in str(refused.value.messages)


def test_a_response_goes_with_its_items(world: World):
    managed.remove(role("admin", world.ours.tenant), world.ours.response)

    assert not StoredResponse.objects.filter(tenant=world.ours.tenant).exists()
    assert not StoredItem.objects.filter(tenant=world.ours.tenant).exists()
    assert StoredItem.objects.filter(tenant=world.theirs.tenant).exists()


def test_a_link_is_granted_with_the_alias_it_leads_to(world: World):
    who = role("admin", world.ours.tenant)
    link = managed.create(who, Alias, {"name": "l", "platform_alias": world.platform.alias.pk}).row

    managed.create(who, AliasGrant, {"api_key": world.ours.key, "alias": link})

    granted = AliasGrant.objects.get(api_key=world.ours.key, alias=world.platform.alias)
    with pytest.raises(ValidationError):
        managed.remove(who, granted)


def test_a_draft_of_prices_takes_its_lines_with_it(world: World):
    line = {"token_class": "input_fresh", "pico_per_token": 5}
    values = {
        "book": "charge", "model": "fast", "effective_from": "2030-01-01T00:00:00Z", "lines": [line],
    }  # fmt: skip

    draft = managed.create(OPERATOR, PriceVersion, values).row
    managed.change(OPERATOR, draft, {"lines": [{**line, "pico_per_token": 6}]})

    assert [each.pico_per_token for each in draft.lines.all()] == [6]
    with pytest.raises(ValidationError):
        managed.change(OPERATOR, draft, {"lines": [line, line]})
    with pytest.raises(PermissionDenied):
        managed.change(OPERATOR, world.ours.price, {"source": "x"})
    with pytest.raises(PermissionDenied):
        managed.create(role("owner", world.ours.tenant), PriceVersion, values)


def test_credit_is_granted_once_per_reference(world: World):
    values = {"tenant": world.ours.tenant, "reference": "o-1", "amount_cents": 500, "is_paid": True}

    first, again = (managed.create(OPERATOR, CreditTransaction, values).row for _ in range(2))

    assert first.pk == again.pk
    with pytest.raises(PermissionDenied):
        managed.create(role("billing", world.ours.tenant), CreditTransaction, values)


def test_an_auditor_sees_everything_but_what_was_said_and_changes_nothing(world: World):
    auditor = Access(platform=AUDITOR)
    IdentityDomain.objects.create(provider=world.ours.identity, domain="ours.example")
    user, later = world.ours.member.user, clock.now() + timedelta(hours=1)
    ConsoleSession.objects.create(session_key="a" * 40, user=user, expire_date=later)
    ExternalIdentity.objects.create(issuer="https://login.example", subject="s", user=user)

    for resource in all_resources():
        seen = resource.visible(auditor, resource.model._default_manager.all())
        may_see = resource.model not in {StoredResponse, type(world.ours.conversation)}
        assert (seen.count() > 0) is may_see, resource.model
    with pytest.raises(PermissionDenied):
        managed.change(auditor, world.ours.key, {"name": "x"})


def test_costs_are_shown_to_the_platforms_people_only(world: World):
    usage = next(each for each in all_resources() if each.model is UsageRow)

    assert "cost_nano" in usage.hidden(role("owner", world.ours.tenant), world.ours.usage)
    assert not usage.hidden(OPERATOR, world.ours.usage)


def _provider(**values: Any) -> dict[str, Any]:
    return {"protocol": "chat", "base_url": "https://new.example/v1", **values}
