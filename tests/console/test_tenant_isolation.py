"""Tenant staff see, use and change what is theirs, whatever they ask the console for.

The attacks are those that work on a Django admin where only `get_queryset` is scoped, and some more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin as django_admin
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db.models import Model
from django.forms import ModelForm
from django.test import Client
from django.urls import resolve, reverse

from routing.models import Alias, AliasGrant, Credential, Provider, ProviderModel, Target
from tenants.access import ownership
from tenants.console import pages
from tenants.console.operator_admin import OperatorModelAdmin
from tenants.console.scoped_admin import TenantInline, TenantModelAdmin
from tenants.console.scoped_admin_checks import faults
from tenants.keys import keys
from tenants.ledger.row_ids import request_id_of
from tenants.models import ApiKey, KeySecret, Membership, Tenant, TenantDeletion
from tests.console import world as worlds
from tests.console.pages import (
    act,
    alias_form,
    assert_clean,
    credential_form,
    do,
    formset,
    key_form,
    provider_form,
    text,
    url,
)
from tests.console.world import CANARY, World
from tests.plugins.cases import cases, sample
from tests.plugins.tiers import sampled
from tests.support.before_walls import no_walls

pytestmark = pytest.mark.django_db

REGISTRY = django_admin.site._registry
# No living tenant has a row of a deletion; tests/tenants/deletion looks at its page.
TENANT_MODELS = [
    model for model in REGISTRY if ownership.paths(model) and model is not TenantDeletion
]
BETWEEN = sampled([r for r in worlds.ROLES if r not in {"owner", "viewer"}], default=1, ci=1)
REFUSED = {302, 400, 403, 404, 405}


# The crawl


def addresses(world: World, role: str) -> list[str]:
    """Return every page of the console, or a sample of them, as the tier wants it: an owner, who may do most,
    is shown more of them."""
    index, export, *others = all_addresses(world)
    pages = sampled(others, default=15, ci=70 if role == "owner" else 30)
    return [index, export, *pages, *sampled(list(questions(world)), default=8, ci=25)]


def some_addresses(world: World) -> list[str]:
    """Return fewer, for people of whom every page takes the same view."""
    return sampled([*all_addresses(world), *questions(world)], default=16, ci=30)


def all_addresses(world: World) -> Iterator[str]:
    """Yield the pages of lists, and of rows of every side."""
    yield reverse("admin:index")
    yield reverse("admin:tenants_auditevent_export")
    for app in {model._meta.app_label for model in REGISTRY}:
        yield reverse("admin:app_list", args=(app,))
    for model in REGISTRY:
        yield from list_addresses(model)
        yield url(model, "add")
    for row in (
        *world.ours.rows(),
        *world.theirs.rows(),
        *world.platform.rows(),
        *User.objects.all(),
    ):
        for page in ("change", "history", "delete"):
            yield url(row, page)
    yield from page_addresses(world)
    yield reverse("admin:end_support")
    yield from searches(world)


def questions(world: World) -> Iterator[str]:
    """Yield what lists and fields may be asked about each row of another tenant."""
    for model in REGISTRY:
        for row in world.theirs.rows():
            yield f"{url(model, 'changelist')}?{row._meta.model_name}__id__exact={row.pk}"
    yield from autocomplete_addresses()


def searches(world: World) -> Iterator[str]:
    """Yield searches for what is another tenant's: names by their beginning, ids whole."""
    theirs = world.theirs
    asked = (CANARY[:4], theirs.tenant.slug[:-1], theirs.key.public_id, theirs.response.pk)
    for words in (*asked, request_id_of(theirs.usage.pk), str(theirs.invoice.number)):
        for rest in ("", "&fragment=1", f"&tenant={world.ours.tenant.slug}"):
            yield f"{reverse('admin:search')}?q={words}{rest}"


def page_addresses(world: World) -> Iterator[str]:
    """Yield the pages that show no one model, of all tenants, of one's own and of another's."""
    for page in pages.registered():
        if "<" in page.path:
            continue
        address = reverse(f"admin:{page.name}")
        yield address
        for side in (world.ours, world.theirs):
            yield f"{address}?tenant={side.tenant.slug}&period=90d"


def list_addresses(model: type[Model]) -> Iterator[str]:
    page = url(model, "changelist")
    yield page
    yield f"{page}?_facets=True"
    yield f"{page}?q={CANARY[:6]}"
    yield f"{page}?all=&_popup=1"


def autocomplete_addresses() -> Iterator[str]:
    for model in apps.get_models():
        for field in model._meta.get_fields():
            query = f"app_label={model._meta.app_label}&model_name={model._meta.model_name}"
            yield f"{reverse('admin:autocomplete')}?{query}&field_name={field.name}&term="


@pytest.mark.parametrize(
    "role",
    # Those who may do most and least; CI crawls as another one, too, the proof as everybody.
    ["owner", "viewer", *(pytest.param(role, marks=pytest.mark.long) for role in BETWEEN)],
)
def test_no_page_shows_another_tenant_to_tenant_staff(role: str, world: World):
    client = worlds.staff(role, world.ours.tenant)

    answers = {address: client.get(address) for address in addresses(world, role)}

    hidden = (
        CANARY,
        "plat credential",
        "plat.example",
    )  # of the platform's, what is its own affair
    shown = {address: text(answer).lower() for address, answer in answers.items()}
    assert [address for address, page in shown.items() if any(map(page.__contains__, hidden))] == []
    assert {answer.status_code for answer in answers.values()} <= {200, 302, 403, 404, 405}
    assert client.get(url(world.platform.credential, "change")).status_code in {403, 404}


def test_a_staff_flag_without_a_membership_opens_nothing(world: World):
    user = User.objects.create_user("nobody", is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    client = worlds.signed_in(user)

    answers = {address: client.get(address) for address in some_addresses(world)}

    assert [address for address, answer in answers.items() if answer.content] == []
    assert {answer.status_code for answer in answers.values()} == {302}
    assert {answer["Location"].split("?")[0] for answer in answers.values()} == {
        reverse("admin:login")
    }


def test_every_page_sends_strangers_to_the_sign_in(world: World):
    stranger = Client()

    answers = [stranger.get(address) for address in some_addresses(world)]

    assert {answer.status_code for answer in answers} == {302}
    assert {answer["Location"].split("?")[0] for answer in answers} == {reverse("admin:login")}


@sample(default=8, ci=14)
@cases("model", TENANT_MODELS)
def test_tenant_staff_see_their_own_rows(model: type[Model], world: World, viewer: Client):
    [own] = [row for row in world.ours.rows() if isinstance(row, model)]

    assert url(own, "change") in text(viewer.get(url(model, "changelist")))
    assert viewer.get(url(own, "change")).status_code == 200


# Registration


def test_every_model_with_a_path_to_a_tenant_is_shown_by_a_scoped_page():
    for model, page in REGISTRY.items():
        expected = TenantModelAdmin if ownership.paths(model) else OperatorModelAdmin
        assert isinstance(page, expected), model
        assert all(issubclass(inline, TenantInline) for inline in page.inlines), model
        assert list(faults(page)) == [], model


def test_every_model_with_a_path_to_a_tenant_is_found():
    found = {model.__name__ for model in apps.get_models() if ownership.paths(model)}

    assert found >= {
        "Tenant", "Membership", "ApiKey", "KeySecret", "Provider", "Credential", "ProviderModel",
        "Alias", "Target", "AliasGrant", "StoredResponse", "StoredItem", "Run", "EventChunk",
        "Conversation", "ConversationItem", "StoredCompletion", "IdempotentCall",
        "WebhookEndpoint", "WebhookDelivery", "CustomRole", "Invitation", "SupportSession",
    }  # fmt: skip
    assert not found & {
        "User",
        "Group",
        "Permission",
        "LogEntry",
        "Session",
        "Revision",
        "PeriodicJob",
        "PlatformRole",
    }


@pytest.mark.parametrize(
    "model",
    [Tenant, ApiKey, KeySecret, ProviderModel, Target, AliasGrant],
    ids=lambda m: m.__name__,
)
def test_a_stock_page_on_tenants_rows_is_an_error(model: type[Model]):
    page = django_admin.ModelAdmin(model, django_admin.site)

    assert [error.id for error in faults(page)] == ["tenants.E001"]


def test_a_stock_page_on_other_rows_is_an_error():
    assert [e.id for e in faults(django_admin.ModelAdmin(User, django_admin.site))] == [
        "tenants.E002"
    ]


def test_a_stock_inline_is_an_error():
    class Inline(django_admin.TabularInline):
        model = Membership

    class Page(OperatorModelAdmin):
        inlines = (Inline,)

    assert [error.id for error in faults(Page(User, django_admin.site))] == ["tenants.E003"]


@pytest.mark.parametrize(
    "item",
    [
        "provider",
        "provider__name",
        ("provider", django_admin.RelatedFieldListFilter),
        ("provider", django_admin.RelatedOnlyFieldListFilter),
        ("provider__name", django_admin.AllValuesFieldListFilter),
    ],
)
def test_a_stock_filter_by_a_relation_is_an_error(item: Any):
    class Page(TenantModelAdmin):
        list_filter = (item,)

    assert [error.id for error in faults(Page(Credential, django_admin.site))] == ["tenants.E004"]


def test_a_stock_form_is_an_error():
    class Page(TenantModelAdmin):
        form = ModelForm

    assert [error.id for error in faults(Page(Credential, django_admin.site))] == ["tenants.E005"]


def test_manage_py_check_finds_a_stock_page(monkeypatch: pytest.MonkeyPatch):
    site = django_admin.AdminSite()
    site.register(Tenant)

    with pytest.raises(BaseException, match=r"tenants\.E001"):
        call_command("check")


# The attacks


def test_list_filters_do_not_name_other_tenants(world: World, admin: Client):
    for model in sampled(TENANT_MODELS, default=8, ci=14):
        assert_clean(admin.get(url(model, "changelist")))
    assert "ours-provider" in text(admin.get(url(Credential, "changelist")))


def test_selects_of_forms_do_not_name_other_tenants(world: World):
    client = worlds.staff("owner", world.ours.tenant, _third_tenant())

    pages = [url(model, "add") for model in TENANT_MODELS]
    pages += [url(row, "change") for row in world.ours.rows()]
    for address in sampled(pages, default=14, ci=28):
        assert_clean(client.get(address))


def test_a_select_prefilled_from_the_address_does_not_name_other_tenants(
    world: World, admin: Client
):
    for model, row in ((ProviderModel, world.theirs.provider), (Credential, world.theirs.provider)):
        assert_clean(admin.get(url(model, "add") + f"?provider={row.pk}"))


@pytest.mark.usefixtures("hostile_routes")
def test_a_raw_id_of_another_tenant_is_refused_and_not_named(world: World, admin: Client):
    target = Target.objects.get(alias=world.ours.alias)
    posted = {"alias": world.ours.alias.pk, "position": 0, "provider_model": world.theirs.model.pk}

    answer = admin.post(url(target, "change"), posted)

    assert answer.status_code == 200
    assert "Select a valid choice" in text(answer)
    assert_clean(answer)
    target.refresh_from_db()
    assert target.provider_model == world.ours.model


@pytest.mark.usefixtures("hostile_routes")
def test_a_raw_id_of_our_own_is_named(world: World, admin: Client):
    target = Target.objects.get(alias=world.ours.alias)

    assert "ours-provider/ours-model" in text(admin.get(url(target, "change")))


@pytest.mark.usefixtures("hostile_routes")
def test_a_list_edited_in_place_takes_no_row_of_another_tenant(world: World, admin: Client):
    ours, theirs = (Target.objects.get(alias=s.alias) for s in (world.ours, world.theirs))
    rows = formset(
        "form",
        {"id": ours.pk, "provider_model": world.theirs.model.pk, "position": 7},
        {"id": theirs.pk, "provider_model": world.ours.model.pk, "position": 7},
        initial=2,
    )

    answer = admin.post(url(Target, "changelist"), {**rows, "_save": "Save"})

    assert_clean(answer)
    assert list(Target.objects.filter(position=7)) == []


@pytest.mark.usefixtures("hostile_routes")
def test_a_list_edited_in_place_links_no_two_tenants_even_for_staff_of_both(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
):
    both = worlds.staff("admin", world.ours.tenant, world.theirs.tenant)
    ours = Target.objects.get(alias=world.ours.alias)
    listed = Target.objects.order_by("alias__name", "position")
    rows = formset(
        "form",
        *(
            {"id": t.pk, "position": t.position, "provider_model": world.theirs.model.pk}
            for t in listed
        ),
        initial=listed.count(),
    )

    for client in (both, operator):
        assert "same tenant" in text(client.post(url(Target, "changelist"), {**rows, "_save": "x"}))
    # Where a form forgets, the database refuses, and that is no server error.
    monkeypatch.setattr(ownership, "stray_link", lambda _row: None)
    monkeypatch.setattr(Target, "clean", lambda _self: None)
    answer = both.post(url(Target, "changelist"), {**rows, "_save": "x"}, follow=True)
    assert "Nothing was saved" in text(answer)

    ours.refresh_from_db()
    assert ours.provider_model == world.ours.model


@pytest.mark.usefixtures("hostile_routes")
def test_saving_as_new_takes_neither_a_strangers_row_nor_its_inline_rows(
    world: World, admin: Client
):
    inline = {"id": world.theirs.model.pk, "upstream_id": "mine-now"}
    posted = {
        "name": "a-copy",
        "_saveasnew": "Save as new",
        **formset("credentials"),
        **formset("provider_models", inline, initial=1),
    }

    for row in (world.theirs.provider, world.ours.provider):
        assert_clean(admin.post(url(row, "change"), posted, follow=True))

    assert set(Provider.objects.filter(name="a-copy").values_list("tenant", flat=True)) <= {
        world.ours.tenant.pk
    }
    world.theirs.model.refresh_from_db()
    assert world.theirs.model.provider == world.theirs.provider
    assert world.theirs.model.upstream_id != "mine-now"


@pytest.mark.usefixtures("hostile_routes")
def test_no_address_of_a_list_tells_of_other_tenants(world: World, admin: Client):
    """Popups, orders, searches and days; and nobody guesses at columns through them."""
    theirs = world.theirs
    queries = [
        "_popup=1&_to_field=sealed_secret",
        "_popup=1&_to_field=id",
        f"o=1.2.-3&q={CANARY[:5]}",
        f"q={CANARY[:5]}&_facets=True",
        f"provider_model__provider__name__startswith={CANARY[0]}",
        f"alias__id__exact={theirs.alias.pk}",
        f"provider_model__id__exact={theirs.model.pk}",
        "created_at__year=2026",
        "p=0&all=1&e=1",
    ]
    for model in (Target, Provider):
        for query in queries:
            answer = admin.get(f"{url(model, 'changelist')}?{query}", follow=True)
            assert answer.status_code in {200, 400, 403}, query
            assert CANARY not in text(answer).lower(), query


def test_an_autocomplete_field_of_another_tenant_is_refused_and_not_named(
    world: World, admin: Client
):
    answer = admin.post(url(Credential, "add"), credential_form(provider=world.theirs.provider.pk))

    assert answer.status_code == 200
    assert "Select a valid choice" in text(answer)
    assert_clean(answer)
    assert not Credential.objects.filter(name="new credential").exists()


def test_an_inline_takes_no_row_of_another_tenant(world: World, admin: Client):
    target = {"position": 0, "provider_model": world.theirs.model.pk}

    answer = admin.post(url(Alias, "add"), alias_form(target))

    assert answer.status_code == 200
    assert_clean(answer)
    assert not Alias.objects.filter(name="new-alias").exists()


@pytest.mark.usefixtures("hostile_routes")
def test_an_inline_makes_no_row_of_the_platform(world: World, admin: Client):
    posted = {
        "name": "ours-provider",
        **formset("credentials", {"name": "for everybody", "tenant": ""}),
        **formset("provider_models"),
    }

    answer = admin.post(url(world.ours.provider, "change"), posted)

    [credentials, _] = answer.context["inline_admin_formsets"]
    assert "same tenant" in str(credentials.formset.errors)
    assert not Credential.objects.filter(name="for everybody").exists()


def test_an_inline_does_not_change_a_row_of_another_tenant(world: World, admin: Client):
    theirs = Target.objects.get(alias=world.theirs.alias)
    row = {"id": theirs.pk, "alias": world.ours.alias.pk, "position": 7, "DELETE": "on"}
    posted = {**alias_form(name="ours-alias"), **formset("targets", row, initial=1)}

    answer = admin.post(url(world.ours.alias, "change"), posted)

    assert_clean(answer)
    theirs.refresh_from_db()
    assert (theirs.position, theirs.alias) == (0, world.theirs.alias)


def test_a_posted_tenant_is_ignored(world: World, admin: Client):
    posted = provider_form(tenant=world.theirs.tenant.pk)

    assert admin.post(url(Provider, "add"), posted).status_code == 302
    assert Provider.objects.get(name="new-provider").tenant == world.ours.tenant


def test_a_posted_tenant_does_not_move_a_row(world: World, admin: Client):
    posted = provider_form(name="ours-provider", tenant=world.theirs.tenant.pk)

    assert admin.post(url(world.ours.provider, "change"), posted).status_code == 302
    world.ours.provider.refresh_from_db()
    assert world.ours.provider.tenant == world.ours.tenant


def test_staff_of_several_tenants_choose_among_theirs_only(world: World):
    third = _third_tenant()
    client = worlds.staff("admin", world.ours.tenant, third)

    refused = client.post(url(Provider, "add"), provider_form(tenant=world.theirs.tenant.pk))
    platform = client.post(url(Provider, "add"), provider_form(tenant=""))
    taken = client.post(url(Provider, "add"), provider_form(tenant=third.pk))

    assert "Select a valid choice" in text(refused)
    assert platform.status_code == 403
    assert taken.status_code == 302
    assert [p.tenant for p in Provider.objects.filter(name="new-provider")] == [third]


def test_rows_of_two_tenants_are_not_linked_even_by_staff_of_both(world: World, operator: Client):
    both = worlds.staff("admin", world.ours.tenant, world.theirs.tenant)
    target = {"position": 0, "provider_model": world.theirs.model.pk}
    alias = alias_form(target, tenant=world.ours.tenant.pk)
    credential = credential_form(tenant=world.ours.tenant.pk, provider=world.theirs.provider.pk)

    for client in (both, operator):
        assert "same tenant" in text(client.post(url(Alias, "add"), alias))
        assert "same tenant" in text(client.post(url(Credential, "add"), credential))
    assert not Alias.objects.filter(name="new-alias").exists()
    assert not Credential.objects.filter(name="new credential").exists()


def test_forms_refuse_such_links_also_where_a_model_forgot_to(
    world: World, operator: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Credential, "clean", lambda _self: None)
    posted = credential_form(tenant=world.ours.tenant.pk, provider=world.theirs.provider.pk)

    assert "same tenant" in text(operator.post(url(Credential, "add"), posted))
    assert not Credential.objects.filter(name="new credential").exists()


def test_a_platform_alias_takes_no_model_of_a_tenant(world: World, operator: Client):
    target = {"position": 0, "provider_model": world.theirs.model.pk}

    answer = operator.post(url(Alias, "add"), alias_form(target, tenant=""))

    assert "same tenant" in text(answer)
    assert not Alias.objects.filter(name="new-alias").exists()


@pytest.fixture
def entangled(world: World) -> World:
    """Rows of tenant B that hang on ours, as the database takes them no more."""
    theirs = Credential.objects.filter(pk=world.theirs.credential.pk)
    with no_walls():
        theirs.update(provider=world.ours.provider)
        Target.objects.filter(alias=world.theirs.alias).update(provider_model=world.ours.model)
    return world


def test_the_delete_page_does_not_name_what_others_hang_on_a_row(entangled: World, admin: Client):
    for row in (entangled.ours.provider, entangled.ours.model):
        answer = admin.get(url(row, "delete"))
        assert answer.status_code == 200
        assert "not yours" in text(answer)
        assert_clean(answer)


def test_deleting_a_row_does_not_delete_what_others_hang_on_it(entangled: World, admin: Client):
    provider = entangled.ours.provider
    Target.objects.all().delete()

    one_by_one = admin.post(url(provider, "delete"), {"post": "yes"})
    by_action = act(admin, Provider, "delete_selected", provider, post="yes")

    for answer in (one_by_one, by_action):
        assert_clean(answer)
    assert Provider.objects.filter(pk=provider.pk).exists()
    assert Credential.objects.filter(pk=entangled.theirs.credential.pk).exists()


@pytest.mark.usefixtures("hostile_routes")
def test_deleting_in_an_inline_does_not_touch_what_others_hang_on_it(
    entangled: World, admin: Client
):
    model = {"id": entangled.ours.model.pk, "provider": entangled.ours.provider.pk}
    posted = {
        "name": "ours-provider",
        **formset("credentials"),
        **formset(
            "provider_models", {**model, "upstream_id": "ours-model", "DELETE": "on"}, initial=1
        ),
    }

    answer = admin.post(url(entangled.ours.provider, "change"), posted)

    assert "used by something that is not yours" in text(answer)
    assert_clean(answer)
    assert ProviderModel.objects.filter(pk=entangled.ours.model.pk).exists()


def test_a_row_entangled_with_another_tenant_is_not_shown(entangled: World, world: World):
    """Their row uses ours: neither side may learn of it."""
    client = worlds.staff("owner", world.theirs.tenant)

    answer = client.get(url(Credential, "changelist"))

    assert re.search(r"\bours\b", text(answer)) is None


def test_deleting_our_own_works(world: World, admin: Client):
    assert admin.post(url(world.ours.key, "delete"), {"post": "yes"}).status_code == 403
    keys.revoke(world.ours.key)  # only what is over is deleted
    assert admin.post(url(world.ours.key, "delete"), {"post": "yes"}).status_code == 302
    assert act(admin, Alias, "delete_selected", world.ours.alias, post="yes").status_code == 302
    assert not ApiKey.objects.filter(pk=world.ours.key.pk).exists()
    assert not Alias.objects.filter(pk=world.ours.alias.pk).exists()


def test_there_is_no_view_on_site_redirect(world: World, operator: Client):
    kind = ContentType.objects.get_for_model(Tenant)
    address = f"/console/r/{kind.pk}/{world.theirs.tenant.pk}/"

    assert operator.get(address).status_code == 404
    assert resolve(address).url_name is None  # the page for addresses there are not


@cases(
    ("model", "question"),
    [
        (Credential, "provider__base_url__startswith=https://zz"),
        (Credential, "sealed_secret__startswith=v1"),
        (Provider, "credentials__sealed_secret__startswith=v1"),
        (Provider, "credentials__id__gte=0"),
        (Provider, "base_url__startswith=https://pl"),
        (ApiKey, "secrets__digest__startswith=a"),
        (ApiKey, "created_by__password__startswith=p"),
        (Membership, "user__password__startswith=p"),
        (Alias, "targets__provider_model__provider__name__startswith=z"),
    ],
)
def test_lists_answer_no_questions_about_hidden_columns(
    model: type[Model], question: str, world: World, admin: Client
):
    answer = admin.get(f"{url(model, 'changelist')}?{question}")
    assert (answer.status_code, answer["location"]) == (302, url(model, "changelist"))


def test_a_row_is_not_reached_by_another_column(world: World, admin: Client):
    slug = url(Tenant(pk=CANARY), "change") + "?_to_field=slug"

    assert admin.get(slug).status_code in REFUSED
    assert_clean(admin.get(slug.replace(CANARY, "nothing")))


def test_autocomplete_finds_what_may_be_chosen(world: World, admin: Client, operator: Client):
    """A tenant's alias reaches what the platform offers as a link, not by its models."""
    query = "app_label=routing&model_name=target&field_name=provider_model&term=model"

    ours, all_there_are = (
        {
            each["text"]
            for each in client.get(f"{reverse('admin:autocomplete')}?{query}").json()["results"]
        }
        for client in (admin, operator)
    )

    assert ours == {"ours-provider/ours-model"}
    assert all_there_are > {"ours-provider/ours-model", "plat-provider/plat-model"}


def test_actions_do_not_reach_rows_of_other_tenants(world: World, admin: Client):
    for action in ("revoke_chosen", "delete_selected"):
        assert_clean(act(admin, ApiKey, action, world.theirs.key, post="yes"))
        assert_clean(act(admin, ApiKey, action, world.theirs.key, post="yes", select_across="1"))
    for action in ("revoke", "rotate"):
        answer = do(admin, world.theirs.key, action)
        assert answer.status_code == 404
        assert_clean(answer)

    world.theirs.key.refresh_from_db()
    assert world.theirs.key.revoked_at is None
    assert world.theirs.key.secrets.count() == 1


def test_recent_actions_of_a_tenant_one_has_left_are_not_shown(world: World):
    client = worlds.staff("admin", world.theirs.tenant)
    client.post(url(Provider, "add"), provider_form(name=f"{CANARY}-made"))
    client.get(reverse("admin:index"))  # reads the message that it was made
    left = Membership.objects.get(user__username="admin-staff")
    left.delete()
    Membership.objects.create(user=left.user, tenant=world.ours.tenant, role="admin")

    assert_clean(client.get(reverse("admin:index")))


# The platform's rows


def test_tenant_staff_use_the_platforms_rows(world: World, admin: Client):
    link = alias_form(platform_alias=world.platform.alias.pk)
    credential = credential_form(provider=world.platform.provider.pk)
    chosen = key_form(all_aliases="", aliases=[world.platform.alias.pk])

    assert admin.post(url(Alias, "add"), link).status_code == 302
    assert admin.post(url(Credential, "add"), credential).status_code == 302
    assert admin.post(url(ApiKey, "add"), chosen).status_code == 200

    assert Alias.objects.get(name="new-alias").platform_alias == world.platform.alias
    assert Credential.objects.get(name="new credential").tenant == world.ours.tenant
    assert AliasGrant.objects.get(api_key__name="new key").alias == world.platform.alias


def test_tenant_staff_do_not_change_the_platforms_rows(world: World, admin: Client):
    for row in (world.platform.provider, world.platform.model, world.platform.alias):
        assert admin.get(url(row, "change")).status_code == 200
        assert admin.post(url(row, "change"), {"name": "taken-over"}).status_code == 403
        assert admin.post(url(row, "delete"), {"post": "yes"}).status_code == 403
        assert admin.get(url(row, "history")).status_code == 403
        act(admin, type(row), "delete_selected", row, post="yes")
        assert type(row).objects.filter(pk=row.pk).exists()


def test_tenant_staff_do_not_add_models_to_the_platforms_providers(world: World, admin: Client):
    posted = {"provider": world.platform.provider.pk, "upstream_id": "more", "capabilities": []}

    answer = admin.post(url(ProviderModel, "add"), posted)

    assert "Select a valid choice" in text(answer)
    assert not ProviderModel.objects.filter(upstream_id="more").exists()


# Roles


def test_who_pays_does_not_read_what_was_said(world: World):
    client = worlds.staff("billing", world.ours.tenant)

    for row in (world.ours.response, world.ours.conversation):
        assert client.get(url(row, "change")).status_code == 403
        assert client.get(url(type(row), "changelist")).status_code == 403


@pytest.mark.parametrize("role", ["viewer", "billing"])
def test_readers_cannot_rotate_or_revoke(role: str, world: World):
    client = worlds.staff(role, world.ours.tenant)

    for action in ("rotate", "revoke"):
        assert do(client, world.ours.key, action).status_code == 403
    act(client, ApiKey, "revoke_chosen", world.ours.key, post="yes")

    world.ours.key.refresh_from_db()
    assert world.ours.key.revoked_at is None
    assert world.ours.key.secrets.count() == 1


def test_a_role_holds_only_where_it_was_given(world: World):
    client = worlds.staff("admin", world.ours.tenant)
    reader = _third_tenant()
    Membership.objects.create(
        tenant=reader, user=User.objects.get(username="admin-staff"), role="viewer"
    )
    key = ApiKey.objects.create(tenant=reader, name="read only")

    assert client.get(url(key, "change")).status_code == 200
    assert client.post(url(key, "change"), key_form()).status_code == 403
    chosen = act(client, ApiKey, "revoke_chosen", key, world.ours.key, post="yes")
    assert chosen.status_code == do(client, key, "revoke").status_code == 403
    assert client.post(url(Provider, "add"), provider_form(tenant=reader.pk)).status_code == 302
    assert not Provider.objects.filter(tenant=reader).exists()
    assert not ApiKey.objects.exclude(revoked_at=None).exists()


@pytest.mark.parametrize(("own", "granted"), [("admin", "owner"), ("owner", "owner")])
def test_nobody_grants_a_role_above_their_own(own: str, granted: str, world: World):
    client = worlds.staff(own, world.ours.tenant)

    client.post(url(world.ours.member, "change"), {"role": granted})

    world.ours.member.refresh_from_db()
    assert world.ours.member.role == (granted if own == "owner" else "developer")


def test_nobody_raises_their_own_role(world: World, admin: Client):
    own = Membership.objects.get(user__username="admin-staff")

    answer = admin.post(url(own, "change"), {"role": "owner"})

    assert "Select a valid choice" in text(answer)
    own.refresh_from_db()
    assert own.role == "admin"


def test_an_admin_does_not_touch_an_owner(world: World, admin: Client):
    worlds.staff("owner", world.ours.tenant)
    owner = Membership.objects.get(role="owner")

    assert admin.post(url(owner, "change"), {"role": "viewer"}).status_code == 403
    assert admin.post(url(owner, "delete"), {"post": "yes"}).status_code == 403
    act(admin, Membership, "delete_selected", owner, post="yes")
    owner.refresh_from_db()
    assert owner.role == "owner"


def test_an_owner_here_grants_no_more_than_their_role_there(world: World):
    client = worlds.staff("owner", world.ours.tenant)
    there = _third_tenant()
    Membership.objects.create(
        tenant=there, user=User.objects.get(username="owner-staff"), role="admin"
    )
    posted = {"tenant": there.pk, "user": world.ours.member.user_id, "role": "owner"}

    assert client.post(url(Membership, "add"), posted).status_code == 403
    assert not Membership.objects.filter(tenant=there, role="owner").exists()


def test_members_are_chosen_among_colleagues(world: World, admin: Client):
    stranger = world.theirs.member.user_id

    answer = admin.post(url(Membership, "add"), {"user": stranger, "role": "viewer"})

    assert "Select a valid choice" in text(answer)
    assert_clean(answer)
    assert not Membership.objects.filter(tenant=world.ours.tenant, user=stranger).exists()


def test_a_membership_is_not_handed_to_another_person_or_tenant(world: World, admin: Client):
    other = User.objects.get(username="admin-staff")
    posted = {"tenant": world.theirs.tenant.pk, "user": other.pk, "role": "viewer"}

    assert admin.post(url(world.ours.member, "change"), posted).status_code == 302
    world.ours.member.refresh_from_db()
    assert world.ours.member.tenant == world.ours.tenant
    assert world.ours.member.user.username == "ours-member"


def test_users_are_for_operators_whatever_permissions_were_given(world: World):
    client = worlds.staff("owner", world.ours.tenant)
    user = User.objects.get(username="owner-staff")
    user.user_permissions.set(Permission.objects.all())

    for page in (url(user, "change"), reverse("admin:auth_user_password_change", args=(user.pk,))):
        assert client.get(page).status_code == 403
        assert client.post(page, {"is_superuser": "on"}).status_code == 403
    for page in ("admin:auth_user_add", "admin:auth_user_changelist"):
        assert client.get(reverse(page)).status_code == 403
    user.refresh_from_db()
    assert not user.is_superuser


def test_permissions_left_over_from_before_give_nothing(world: World):
    client = worlds.staff("viewer", world.ours.tenant)
    User.objects.get(username="viewer-staff").user_permissions.set(Permission.objects.all())

    assert client.post(url(world.ours.key, "change"), key_form()).status_code == 403
    assert client.get(url(Provider, "add")).status_code == 403


def test_what_operators_decide_is_not_for_owners(world: World):
    client = worlds.staff("owner", world.ours.tenant)
    tenant = {
        "name": "Renamed",
        "time_zone": "Europe/Berlin",
        "slug": "other",
        "status": "suspended",
        "retention_days": "30",
    }

    posted = {**tenant, "allow_direct_targets": "on"}
    told = client.post(url(world.ours.tenant, "change"), posted, follow=True)
    assert "Budgets count in Europe/Berlin from their next period on: daily ones from" in text(told)
    client.post(url(Provider, "add"), provider_form(allow_private_network="on"))

    world.ours.tenant.refresh_from_db()
    assert world.ours.tenant.name == "Renamed"
    assert world.ours.tenant.slug == "ours"
    assert world.ours.tenant.status == Tenant.Status.ACTIVE
    assert not world.ours.tenant.allow_direct_targets
    assert not Provider.objects.get(name="new-provider").allow_private_network


def _third_tenant() -> Tenant:
    return Tenant.objects.create(slug="third", name="third tenant")
