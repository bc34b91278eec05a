"""The lanes of a route: pools of credentials, what is left out, and what an upgrade keeps as it was."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError

from gateway_project.lib.secret import Secret
from routing import credentials, lanes, resolve
from routing.models import Alias, Credential, Provider, Target
from routing.policy import reasons
from routing.route import ProviderLimits, ResolvedTarget, Route
from tenants.keys import caller
from tests.plugins.cases import cases
from tests.support import rows
from tests.support.rows import Customer

pytestmark = pytest.mark.django_db

migration = import_module("routing.migrations.0007_routing_policy")


@pytest.fixture
def acme(db: None) -> Customer:
    return rows.customer("acme")


@pytest.fixture
def up(db: None) -> Provider:
    return rows.provider("chat", "https://up.example/v1", name="up", secret="sk-platform-1")


def found(of: Customer, name: str) -> Route:
    known = caller.find_by_id(of.tenant.pk, of.key.public_id)
    assert known is not None
    route = resolve.find(known, name)
    assert route is not None
    return route


def secrets(lanes_of: tuple[ResolvedTarget, ...]) -> list[str]:
    return [each.secret.reveal() if each.secret else "" for each in lanes_of]


def add(
    provider: Provider, secret: str, owner: Customer | None = None, **fields: object
) -> Credential:
    tenant = owner.tenant if owner else None
    row = credentials.create(provider, Secret(secret), tenant=tenant, name=secret)
    Credential.objects.filter(pk=row.pk).update(**fields)
    return row


def test_all_enabled_credentials_of_one_owner_are_a_pool(acme: Customer, up: Provider) -> None:
    add(up, "sk-platform-2", weight=300)
    add(up, "sk-platform-3", weight=0)
    add(up, "sk-platform-off", enabled=False)
    rows.alias("m", (up, "m-1"))
    pool = found(acme, "m").targets
    assert secrets(pool) == ["sk-platform-2", "sk-platform-1", "sk-platform-3"]
    assert [each.credential_weight for each in pool] == [300, 100, 0]
    assert all(each.is_pooled and each.name == "up/m-1" for each in pool)
    assert len({each.lane_id for each in pool}) == 3


def test_pools_never_mix_owners(acme: Customer, up: Provider) -> None:
    other = rows.customer("other")
    add(up, "sk-platform-2")
    add(up, "sk-acme-1", acme)
    add(up, "sk-acme-2", acme)
    add(up, "sk-other-1", other)
    rows.alias("m", (up, "m-1"))
    assert sorted(secrets(found(acme, "m").targets)) == ["sk-acme-1", "sk-acme-2"]
    assert secrets(found(other, "m").targets) == ["sk-other-1"]
    assert sorted(secrets(found(rows.customer("third"), "m").targets)) == [
        "sk-platform-1",
        "sk-platform-2",
    ]
    up.allow_tenant_credentials = False
    up.save()
    assert sorted(secrets(found(acme, "m").targets)) == ["sk-platform-1", "sk-platform-2"]


def test_a_secret_that_cannot_be_opened_is_no_lane_and_an_own_one_is_not_replaced(
    acme: Customer, up: Provider
) -> None:
    broken = add(up, "sk-platform-2")
    Credential.objects.filter(pk=broken.pk).update(host="elsewhere.example")
    rows.alias("m", (up, "m-1"))
    assert secrets(found(acme, "m").targets) == ["sk-platform-1"]
    own = add(up, "sk-acme-1", acme)
    Credential.objects.filter(pk=own.pk).update(host="elsewhere.example")
    (only,) = found(acme, "m").targets
    assert only.missing_credential
    assert only.secret is None


def test_a_pool_and_a_route_are_bounded(acme: Customer, up: Provider) -> None:
    for number in range(lanes.MAX_POOL + 3):
        add(up, f"sk-{number}")
    rows.alias("m", *((up, f"m-{number}") for number in range(5)))
    route = found(acme, "m")
    assert len(route.targets) == lanes.MAX_LANES
    assert {each.reason for each in route.left_out} == {reasons.TOO_MANY}
    assert len(route.left_out) == 5 * lanes.MAX_POOL - lanes.MAX_LANES


def test_what_is_disabled_is_left_out_with_its_reason(acme: Customer, up: Provider) -> None:
    down = rows.provider("chat", "https://down.example/v1", name="down", enabled=False)
    alias = rows.alias("m", (up, "m-1"), (up, "m-2"), (down, "m-3"))
    Target.objects.filter(alias=alias, position=0).update(enabled=False)
    route = found(acme, "m")
    assert [each.name for each in route.targets] == ["up/m-2"]
    assert [(each.lane.name, each.reason) for each in route.left_out] == [
        ("up/m-1", reasons.DISABLED),
        ("down/m-3", reasons.DISABLED),
    ]
    assert all(each.lane.secret is None for each in route.left_out)


def test_conditions_written_past_validation_let_no_call_through(
    acme: Customer, up: Provider
) -> None:
    alias = rows.alias("m", (up, "m-1"), (up, "m-2"))
    Target.objects.filter(alias=alias, position=0).update(when={"unknown": 1})
    route = found(acme, "m")
    assert [each.name for each in route.targets] == ["up/m-2"]
    assert [each.reason for each in route.left_out] == [reasons.WHEN]


def test_rows_become_the_policy_of_the_route(acme: Customer, up: Provider) -> None:
    up.limits = {"requests_per_minute": 5}
    up.save()
    alias = rows.alias("m", (up, "m-1"), strategy="cheapest", affinity="none", max_attempts=2)
    Target.objects.filter(alias=alias).update(when={"tags.team": "a"}, weight=7, position=3)
    route = found(acme, "m")
    assert (route.policy.strategy, route.policy.affinity, route.policy.max_attempts) == (
        "cheapest", "none", 2,
    )  # fmt: skip
    (lane,) = route.targets
    assert (lane.tier, lane.weight, lane.limits) == (3, 7, ProviderLimits(requests_per_minute=5))
    assert route.wants == {"tags"}


def test_a_link_is_routed_as_what_it_leads_to(acme: Customer, up: Provider) -> None:
    alias = rows.alias("m", (up, "m-1"), strategy="fastest")
    Alias.objects.create(name="mine", tenant=acme.tenant, platform_alias=alias)
    assert found(acme, "mine").policy.strategy == "fastest"


@cases(
    ("field", "value", "told"),
    [
        ("when", {"colour": "red"}, "Unknown condition 'colour'"),
        ("weight", 1001, "less than or equal to 1000"),
        ("limits", {"per_day": 1}, "Unknown limit 'per_day'"),
        ("limits", {"concurrency": 0}, "from 1 to"),
        ("fall_back_on", ["storms"], "'storms'"),
        ("max_attempts", 4, "less than or equal to 3"),
        ("strategy", "luckiest", "not a valid choice"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_saved(
    field: str, value: object, told: str, up: Provider
) -> None:
    alias = rows.alias("m", (up, "m-1"))
    target = alias.targets.get()
    row = next(each for each in (target, alias, up) if hasattr(each, field))
    setattr(row, field, value)
    with pytest.raises(ValidationError, match=told):
        row.full_clean()


# Upgrades


def test_an_upgrade_keeps_the_order_in_which_targets_were_tried(up: Provider) -> None:
    alias = rows.alias("equal", *((up, f"m-{number}") for number in range(4)))
    Target.objects.filter(alias=alias).update(position=0)
    apart = rows.alias("apart", (up, "m-8"), (up, "m-9"))
    Target.objects.filter(alias=apart, position=1).update(position=7)
    before = [row.pk for row in Target.objects.filter(alias=alias).order_by("position", "pk")]
    migration.number_tiers(apps, None)
    after = Target.objects.filter(alias=alias).order_by("position")
    assert [(row.pk, row.position) for row in after] == list(zip(before, range(4), strict=True))
    kept = Target.objects.filter(alias=apart).order_by("position")
    assert [row.position for row in kept] == [0, 7]


def test_an_upgrade_sends_the_newest_credential_as_before(acme: Customer, up: Provider) -> None:
    newest = add(up, "sk-platform-2")
    own = [add(up, f"sk-acme-{number}", acme) for number in range(2)]
    migration.drain_older_credentials(apps, None)
    weights = dict(Credential.objects.values_list("pk", "weight"))
    assert (weights[newest.pk], weights[own[1].pk], weights[own[0].pk]) == (100, 100, 0)
    assert sorted(weights.values()) == [0, 0, 100, 100]
    rows.alias("m", (up, "m-1"))
    assert secrets(found(acme, "m").targets)[0] == "sk-acme-1"
