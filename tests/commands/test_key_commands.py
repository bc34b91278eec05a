"""create_key, rotate_key, revoke_key."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from gateway_project.lib import clock
from routing.models import Alias
from tenants.keys import caller
from tenants.models import ApiKey, Tenant
from tests.commands.running import answer, refusal, text
from tests.plugins.cases import cases

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme Corp")


def create_key(*options: str) -> dict[str, str]:
    return answer("create_key", "--tenant", "acme", "--name", "ci", *options)


def test_create_key_gives_id_and_a_key_that_works() -> None:
    made = create_key()
    assert set(made) == {"id", "key"}
    assert made["key"].startswith(f"tg_live_{made['id']}_")
    found = caller.find(made["key"])
    assert found is not None
    assert (found.key_public_id, found.tenant_slug, found.all_aliases) == (made["id"], "acme", True)


def test_create_key_makes_a_new_key_each_time() -> None:
    assert create_key()["key"] != create_key()["key"]
    assert ApiKey.objects.count() == 2


def test_create_key_takes_the_tenant_s_name_too() -> None:
    assert "Key 'ci' of 'acme'" in text("create_key", "--tenant", "Acme Corp", "--name", "ci")


def test_create_key_grants_only_the_aliases_named() -> None:
    Alias.objects.create(name="fast")
    Alias.objects.create(name="slow")
    made = create_key("--aliases", "fast, slow,fast")
    key = ApiKey.objects.get(public_id=made["id"])
    assert key.all_aliases is False
    assert sorted(grant.alias.name for grant in key.alias_grants.all()) == ["fast", "slow"]


def test_create_key_grants_the_tenant_s_own_alias_before_the_platform_s(tenant: Tenant) -> None:
    Alias.objects.create(name="fast")
    own = Alias.objects.create(name="fast", tenant=tenant)
    key = ApiKey.objects.get(public_id=create_key("--aliases", "fast")["id"])
    assert [grant.alias for grant in key.alias_grants.all()] == [own]


def test_create_key_names_an_alias_that_does_not_exist_and_makes_no_key() -> None:
    Alias.objects.create(name="fast")
    assert refusal("create_key", "--tenant", "acme", "--name", "ci", "--aliases", "fast,gone") == (
        "aliases: There is no alias 'gone'; add it with add_alias."
    )
    assert not ApiKey.objects.exists()


def test_create_key_does_not_see_another_tenant_s_alias() -> None:
    Alias.objects.create(name="theirs", tenant=Tenant.objects.create(slug="b", name="B"))
    arguments = ("--tenant", "acme", "--name", "ci", "--aliases", "theirs")
    assert refusal("create_key", *arguments).startswith("aliases: There is no alias 'theirs'")


def test_create_key_refuses_an_empty_list_of_aliases() -> None:
    assert refusal("create_key", "--tenant", "acme", "--name", "ci", "--aliases", ",") == (
        "aliases: Name at least one, or omit the option for all."
    )


def test_create_key_gives_only_the_scopes_named() -> None:
    made = create_key("--scopes", "models, generate")
    assert ApiKey.objects.get(public_id=made["id"]).scopes == ["generate", "models"]


def test_create_key_names_a_scope_that_does_not_exist_and_makes_no_key() -> None:
    said = refusal("create_key", "--tenant", "acme", "--name", "ci", "--scopes", "admin")
    assert "admin" in said
    assert not ApiKey.objects.exists()


def test_create_key_lets_the_key_expire() -> None:
    key = ApiKey.objects.get(public_id=create_key("--expires", "30d")["id"])
    assert key.expires_at is not None
    assert abs(key.expires_at - clock.now() - timedelta(days=30)) < timedelta(minutes=1)


@cases(
    ("expires", "said"),
    [
        ("soon", "expires: 'soon' is not a duration; write a whole number and a unit"),
        ("30", "expires: '30' is not a duration"),
        ("0d", "expires: The key would expire at once"),
    ],
)
def test_create_key_names_a_wrong_lifetime(expires: str, said: str) -> None:
    arguments = ("--tenant", "acme", "--name", "ci", "--expires", expires)
    assert refusal("create_key", *arguments).startswith(said)
    assert not ApiKey.objects.exists()


def test_create_key_bounds_the_key_with_it() -> None:
    limits = ("--limit", "requests:60/minute", "--limit", "concurrency:5")
    Alias.objects.create(name="fast")
    made = create_key(*limits, "--budget", "12.50", "--aliases", "fast")
    key = ApiKey.objects.get(public_id=made["id"])
    assert sorted(map(str, key.rate_limits.all())) == [
        "5 concurrent calls",
        "60 requests per minute",
    ]
    budget = key.budgets.get()
    assert (budget.name, budget.amount_nano, budget.period) == ("ci", 12_500_000_000, "monthly")
    total = ApiKey.objects.get(public_id=create_key("--budget", "5/total")["id"])
    assert total.budgets.get().period == "total"


@cases(
    ("option", "value", "said"),
    [
        ("--limit", "60", "limit: '60' is not a limit; write one like requests:60/minute."),
        ("--limit", "requests:60", "limits: Requests and tokens have a window"),
        ("--limit", "words:6/day", "limits: metric: "),
        ("--budget", "much", "budget: 'much' is not an amount"),
        ("--budget", "5/yearly", "budget: period: "),
    ],
)
def test_create_key_names_a_wrong_bound_and_makes_no_key(
    option: str, value: str, said: str
) -> None:
    told = refusal("create_key", "--tenant", "acme", "--name", "ci", option, value)
    assert told.startswith(said), told
    assert not ApiKey.objects.exists()


def test_create_key_names_an_unknown_tenant_and_those_there_are() -> None:
    assert refusal("create_key", "--tenant", "acne", "--name", "ci") == (
        "tenant: There is no tenant 'acne'. Known tenants: acme. Create one with create_tenant."
    )


def test_rotate_key_lets_old_and_new_overlap() -> None:
    made = create_key()
    rotated = answer("rotate_key", made["id"], "--overlap", "90m")
    assert set(rotated) == {"id", "key", "old_secret_ends_at"}
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    assert caller.find(made["key"]) is not None
    assert caller.find(rotated["key"]) is not None
    ends_at = datetime.fromisoformat(rotated["old_secret_ends_at"])
    assert abs(ends_at - clock.now() - timedelta(minutes=90)) < timedelta(minutes=1)


def test_rotate_key_without_overlap_ends_the_old_secret_at_once() -> None:
    made = create_key()
    rotated = answer("rotate_key", made["id"], "--overlap", "0s")
    assert caller.find(made["key"]) is None
    assert caller.find(rotated["key"]) is not None


def test_rotate_key_refuses_a_long_overlap_and_a_revoked_key() -> None:
    made = create_key()
    assert refusal("rotate_key", made["id"], "--overlap", "31d") == (
        "overlap: The overlap must be between 0 and 30 days."
    )
    answer("revoke_key", made["id"])
    assert refusal("rotate_key", made["id"]).startswith("id: The key")


def test_revoke_key_ends_the_key_and_keeps_the_first_reason() -> None:
    made = create_key()
    first = answer("revoke_key", made["id"], "--reason", "leaked")
    assert caller.find(made["key"]) is None
    assert first["reason"] == "leaked"
    assert answer("revoke_key", made["id"], "--reason", "again") == first


def test_revoke_key_refuses_an_id_that_is_none_without_quoting_it() -> None:
    said = refusal("revoke_key", "tg_live_whole_key")
    assert "The id is the part of a key between 'tg_live_' and the next '_'" in said
    assert "whole_key" not in said


def test_revoke_key_refuses_a_reason_too_long_to_keep() -> None:
    made = create_key()
    assert refusal("revoke_key", made["id"], "--reason", "x" * 201).startswith("reason: ")
    assert caller.find(made["key"]) is not None
