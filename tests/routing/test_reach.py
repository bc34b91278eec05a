"""The operator's rows decide what a tenant reaches, and at which price."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import transaction
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gateway_project.lib.secret import Secret
from routing import credentials, grants, price_setting, resolve
from routing.models import Alias, AliasGrant, Credential, Provider, ProviderModel, Target
from routing.route import Route
from tenants.keys import caller
from tenants.models import ApiKey, Tenant
from tenants.prices import publishing
from tenants.prices.history import FREE, History
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.plugins.tiers import examples
from tests.support import rows
from tests.support.rows import Customer

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 1, tzinfo=UTC)
COST = 5


@pytest.fixture
def acme(db: None) -> Customer:
    return rows.customer("acme")


@pytest.fixture
def up(db: None) -> Provider:
    """A provider of the platform whose model costs us something."""
    provider = rows.provider("chat", "https://up.example/v1", name="up", secret="sk-ours")
    publish(Subject.cost("up", "m-1"), COST)
    return provider


def publish(subject: Subject, pico: int) -> None:
    lines = [Line("input_fresh", pico), Line("output_visible", 4 * pico)]
    publishing.publish(publishing.draft(subject, lines, NOW), "test", NOW)


def link(name: str, to: Alias, of: Customer, **fields: object) -> Alias:
    made = Alias(name=name, tenant=of.tenant, platform_alias=to, **fields)
    made.full_clean()
    made.save()
    return made


def found(of: Customer, name: str) -> Route | None:
    known = caller.find_by_id(of.tenant.pk, of.key.public_id)
    assert known is not None
    return resolve.find(known, name)


def price(history: History) -> int | None:
    terms = history.at(NOW.timestamp())
    return None if terms is None else terms.step("default", 0).picos[0]


def charge(of: Customer, name: str) -> int | None:
    route = found(of, name)
    assert route is not None
    (target,) = route.targets
    return price(target.charge)


# Links


def test_a_link_costs_what_its_platform_alias_does_whatever_it_is_called(
    acme: Customer, up: Provider
) -> None:
    dear = rows.alias("dear", (up, "m-1"))
    rows.alias("cheap", (up, "m-2"))
    publish(Subject.charge("dear"), 300)
    publish(Subject.charge("cheap"), 1)
    publish(Subject.charge("mine", acme.tenant), 2)
    publish(Subject.charge("*"), 3)
    for name in ("cheap", "mine", "other", "up/m-1"):
        link(name, dear, acme)
        assert charge(acme, name) == 300
        route = found(acme, name)
        assert route is not None
        assert (route.alias, route.requested_model) == ("dear", name)
        assert [target.name for target in route.targets] == ["up/m-1"]
    publish(Subject.charge("dear", acme.tenant), 250)
    assert charge(acme, "cheap") == charge(acme, "dear") == 250


def test_a_link_has_what_either_alias_says(acme: Customer, up: Provider) -> None:
    strict = rows.alias("strict", (up, "m-1"), responses_mode="native_only", store_by_default=False)
    link("mine", strict, acme, drop_unsupported=True)
    route = found(acme, "mine")
    assert route is not None
    assert (route.native_only, route.drop_unsupported, route.store_by_default) == (
        True,
        True,
        False,
    )


def test_a_link_is_gone_while_its_platform_alias_is_disabled(acme: Customer, up: Provider) -> None:
    target = rows.alias("target", (up, "m-1"))
    link("mine", target, acme)
    Alias.objects.filter(pk=target.pk).update(enabled=False)
    assert found(acme, "mine") is None
    target.delete()
    assert not Alias.objects.exists()


def test_a_restricted_key_needs_to_be_granted_a_link_and_what_it_leads_to(
    acme: Customer, up: Provider
) -> None:
    cheap, dear = rows.alias("cheap", (up, "m-1")), rows.alias("dear", (up, "m-2"))
    mine = link("mine", cheap, acme)
    key, _ = grants.create_key(acme.tenant, "restricted", aliases=["mine"])
    restricted = Customer(acme.tenant, key, "")
    assert found(restricted, "mine") is not None
    mine.platform_alias = dear
    mine.save()
    assert found(restricted, "mine") is None
    assert found(acme, "mine") is not None
    AliasGrant.objects.filter(alias=mine).delete()
    assert found(restricted, "cheap") is not None
    assert found(restricted, "mine") is None


def test_links_are_one_level_deep_and_lead_to_the_platform(acme: Customer, up: Provider) -> None:
    shared = rows.alias("shared", (up, "m-1"))
    own = rows.alias("own", (up, "m-2"), tenant=acme.tenant)
    theirs = rows.alias("theirs", tenant=rows.customer("other").tenant)
    for wrong in (own, theirs, link("first", shared, acme)):
        with pytest.raises(ValidationError, match="Choose an alias of the platform"):
            link("second", wrong, acme)
    with pytest.raises(ValidationError, match="leads to models"):
        Alias(name="of-platform", platform_alias=shared).full_clean()
    # Written past all checks, it leads nowhere.
    Alias.objects.create(name="second", tenant=acme.tenant, platform_alias=own)
    assert found(acme, "second") is None


# Models of the platform without one of its aliases


def test_a_tenants_alias_does_not_reach_a_model_of_the_platform(
    acme: Customer, up: Provider
) -> None:
    mine = rows.alias("mine", (up, "m-1"), tenant=acme.tenant)
    for allowed in (False, True):
        acme.tenant.allow_direct_targets = allowed
        acme.tenant.save()
        route = found(acme, "mine")
        assert route is not None
        assert route.targets == ()
        with pytest.raises(ValidationError, match="is a provider of the platform: link to one"):
            Target(alias=mine, provider_model=ProviderModel.objects.get()).full_clean()


def test_an_alias_from_before_links_works_at_the_operators_price_and_leads_nowhere_else(
    acme: Customer, up: Provider
) -> None:
    mine = rows.alias("cheap", (up, "m-1"), tenant=acme.tenant)
    Target.objects.update(is_legacy=True)
    publish(Subject.charge("cheap"), 1)
    assert charge(acme, "cheap") == COST
    rows.alias("dear", (up, "m-1"))
    rows.alias("dearer", (up, "m-1"))
    publish(Subject.charge("dearer"), 400)
    assert charge(acme, "cheap") == 400
    publish(Subject.charge("dear"), 300)
    assert charge(acme, "cheap") == 300
    publish(Subject.charge("up/m-1"), 200)
    assert charge(acme, "cheap") == 200
    target = mine.targets.get()
    target.full_clean()
    target.provider_model = ProviderModel.objects.create(provider=up, upstream_id="m-9")
    with pytest.raises(ValidationError, match="is a provider of the platform"):
        target.full_clean()


def test_existing_aliases_become_links_where_one_alias_of_the_platform_has_the_model(
    acme: Customer, up: Provider
) -> None:
    one = rows.alias("one", (up, "m-1"), (up, "m-2"))
    rows.alias("first", (up, "m-3"))
    rows.alias("second", (up, "m-3"))
    rows.alias("off", (up, "m-4"), enabled=False)
    own = rows.provider("chat", "https://own.example/v1", name="own", tenant=acme.tenant)
    for name, *targets in (
        ("linked", (up, "m-1")), ("linked-twice", (up, "m-2"), (up, "m-1")), ("of-two", (up, "m-3")),
        ("of-none", (up, "m-5")), ("of-disabled", (up, "m-4")), ("mixed", (own, "m"), (up, "m-1")),
        ("own", (own, "m")),
    ):  # fmt: skip
        rows.alias(name, *targets, tenant=acme.tenant)
    restricted = Customer(
        acme.tenant, ApiKey.objects.create(tenant=acme.tenant, all_aliases=False), ""
    )
    AliasGrant.objects.create(api_key=restricted.key, alias=Alias.objects.get(name="linked"))

    import_module("routing.migrations.0004_existing_links").make_links(apps, None)

    links = Alias.objects.filter(platform_alias=one).values_list("name", flat=True)
    assert sorted(links) == ["linked", "linked-twice"]
    legacy = Target.objects.filter(is_legacy=True).values_list("alias__name", flat=True)
    assert sorted(legacy) == ["mixed", "of-disabled", "of-none", "of-two"]
    assert found(restricted, "linked") is not None
    reached = {name: found(acme, name) for name in ("linked", "of-two", "of-none", "mixed", "own")}
    assert {name: [t.name for t in route.targets] for name, route in reached.items() if route} == {
        "linked": ["up/m-1", "up/m-2"],
        "of-two": ["up/m-3"],
        "of-none": ["up/m-5"],
        "mixed": ["own/m", "up/m-1"],
        "own": ["own/m"],
    }


NAMES = ("cheap", "dear", "mine", "up/m-1", "up@m-1", "up/m-2")


@pytest.mark.long
@given(
    rows_of_acme=st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.sampled_from(("cheap", "dear", "own", "", "")),
            st.lists(st.sampled_from(("up/m-1", "up/m-2", "own/m-1")), max_size=2, unique=True),
        ),
        max_size=4,
        unique_by=lambda row: row[0],
    ),
    charged=st.lists(st.sampled_from((*NAMES, "*")), unique=True, max_size=5),
    shadows=st.booleans(),
    credential=st.booleans(),
)
@settings(  # an example is small, and takes too long to be made smaller
    max_examples=examples(15),
    phases=[Phase.generate],
)
def test_whatever_a_tenant_writes_what_is_the_platforms_costs_it_what_it_costs_everybody(
    acme: Customer,
    up: Provider,
    rows_of_acme: list[tuple[str, str, list[str]]],
    charged: list[str],
    shadows: bool,
    credential: bool,
) -> None:
    """Even with rows that no form would write. A stranger asks for the name the call is booked under."""
    with transaction.atomic():
        Tenant.objects.update(allow_direct_targets=True)
        stranger = rows.customer("stranger", allow_direct_targets=True)
        own = rows.provider(
            "chat", "https://own.example/v1", "up" if shadows else "own", tenant=acme.tenant
        )
        models = {
            name: ProviderModel.objects.create(provider=of, upstream_id=name.rpartition("/")[2])
            for name, of in (("up/m-1", up), ("up/m-2", up), ("own/m-1", own))
        }
        known = {"own": rows.alias("own", tenant=acme.tenant)}
        for name in ("cheap", "dear"):
            known[name] = rows.alias(name, (up, "m-1" if name == "dear" else "m-2"))
        if credential:
            Provider.objects.filter(pk=up.pk).update(auth_kind="none")
            credentials.create(up, Secret("junk"), tenant=acme.tenant)
        for pico, name in enumerate(charged, 100):
            is_acmes = name in {"mine", "up@m-1"}  # names the platform has not given
            publish(Subject.charge(name, acme.tenant if is_acmes else None), pico)
        for name, linked, targets in rows_of_acme:
            alias = Alias.objects.create(
                name=name, tenant=acme.tenant, platform_alias=known.get(linked)
            )
            for target in targets:
                Target.objects.create(alias=alias, provider_model=models[target])
        for name in NAMES:
            _compare(acme, stranger, own, name)
        transaction.set_rollback(True)


def _compare(acme: Customer, stranger: Customer, own: Provider, name: str) -> None:
    route = found(acme, name)
    if route is None:
        return
    others = found(stranger, route.alias)
    seen = {} if others is None else {t.name: (t.cost, t.charge) for t in others.targets}
    for target in route.targets:
        if target.base_url == own.base_url:
            assert (target.cost, target.list_price) == (FREE, None)
        else:
            assert seen[target.name] == (target.cost, target.charge)


# Credentials and providers of a tenant


def test_a_credential_is_the_tenants_own_only_where_it_is_sent(
    acme: Customer, up: Provider
) -> None:
    rows.alias("shared", (up, "m-1"))
    publish(Subject.charge("shared"), 300)

    def target() -> tuple[bool, bool, int | None]:
        route = found(acme, "shared")
        assert route is not None
        (only,) = route.targets
        assert (only.list_price is not None) == only.owns_credential
        assert only.list_price is None or price(only.list_price) == COST
        return only.owns_credential, only.cost == FREE, price(only.cost)

    theirs = credentials.create(up, Secret("junk"), tenant=acme.tenant)
    assert target() == (True, True, None)
    Credential.objects.filter(pk=theirs.pk).update(host="elsewhere")  # so it cannot be opened
    assert target() == (False, False, COST)
    Credential.objects.filter(pk=theirs.pk).update(host=up.host, enabled=False)
    assert target() == (False, False, COST)
    Credential.objects.filter(pk=theirs.pk).update(enabled=True)
    Provider.objects.filter(pk=up.pk).update(allow_tenant_credentials=False)
    assert target() == (False, False, COST)
    up.refresh_from_db()
    with pytest.raises(ValidationError, match="does not accept tenants' credentials"):
        credentials.create(up, Secret("junk"), tenant=acme.tenant)
    Provider.objects.filter(pk=up.pk).update(allow_tenant_credentials=True, auth_kind="none")
    assert target() == (False, False, COST)


def test_the_fee_of_a_tenants_own_provider_does_not_depend_on_names_it_chose(
    acme: Customer,
) -> None:
    acme.tenant.allow_direct_targets = True
    acme.tenant.save()
    own = rows.provider("chat", "https://own.example/v1", name="own", tenant=acme.tenant)
    publish(Subject.charge("*"), 7)
    for name in ("shared", "mine", "own/m-1"):
        publish(Subject.charge(name), 1)
        publish(Subject.charge(name, acme.tenant), 2)
        rows.alias(name, (own, "m-1"), tenant=acme.tenant)
    assert [charge(acme, name) for name in ("shared", "mine", "own/m-1", "own@m-1")] == [7] * 4
    publish(Subject.charge("*", acme.tenant), 4)
    assert charge(acme, "mine") == 4
    named = {(version.model, version.tenant) for version in price_setting.uncharged()}
    assert named == {
        (name, who) for name in ("shared", "mine", "own/m-1") for who in (None, acme.tenant)
    }
