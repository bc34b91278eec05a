"""A file is applied as a whole or not at all, twice like once, and removes only what a file made."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ValidationError

from gateway_project.lib import clock
from routing import credentials
from routing.models import Alias, AliasGrant, Credential, Provider, Target
from tenants import managed
from tenants.access.access import OPERATOR, Access
from tenants.access.rights import ROLES
from tenants.configuration.secrets import SecretsOfHost
from tenants.keys import keys
from tenants.models import ApiKey, AppliedObject, Budget, PriceVersion, RateLimit, Tenant
from tests.commands import running
from tests.plugins.cases import cases
from tests.tenants.configuration.files import apply, refusal, rows, told

pytestmark = pytest.mark.django_db

SECRET = "sk-1234567890-abcd"
HAS_SECRET = {"KEY": SECRET}
FILE = """
platform:
  providers:
    - {name: up, protocol: anthropic, base_url: "https://up.example/v1"}
  models:
    - {provider: up, name: one}
    - {provider: up, name: two}
  credentials:
    - {provider: up, secret: {env: KEY}}
  aliases:
    - {name: smart, targets: [up/one, up/two]}
  prices:
    - {alias: smart, per_million: {input: 3.00, output: "15"}}
tenants:
  - slug: acme
    name: Acme
    keys:
      - {name: ci, aliases: [smart]}
    limits:
      - {metric: requests, window: minute, amount: 60}
    budgets:
      - {name: all, amount: 25}
      - {name: ci, key: ci, amount: "0.5"}
"""


def changed(*replacements: tuple[str, str]) -> str:
    text = FILE
    for before, after in replacements:
        assert before in text
        text = text.replace(before, after)
    return text


# What is made and changed


@pytest.mark.persistence
def test_a_dry_run_tells_what_applying_does_and_saves_nothing():
    before = rows()
    dry = apply(FILE, HAS_SECRET, dry_run=True)
    assert rows() == before

    made = apply(FILE, HAS_SECRET)
    after = rows()

    assert told(dry) == told(made)
    assert made.count("created") == len(made.differences) == 11
    assert Provider.objects.get().auth_kind == "x-api-key"  # its protocol's usual one
    assert credentials.reveal(Credential.objects.get()).reveal() == SECRET
    again = apply(FILE, HAS_SECRET)
    assert (again.differences, again.unchanged, rows()) == ([], 11, after)


def test_differences_are_told_field_by_field_and_only_they_are_written(tmp_path: Path):
    apply(FILE, HAS_SECRET)
    version, budget = PriceVersion.objects.get(), Budget.objects.get(name="all")
    path = tmp_path / "gateway.yaml"
    path.write_text(
        changed(
            ("[up/one, up/two]", "[up/two]"),
            ("input: 3.00", "input: 3.000001"),
            ("{name: all, amount: 25}", "{name: all, amount: 1000000000, mode: warn}"),
            ("aliases: [smart]", "aliases: all"),
            ("env: KEY", "file: key.txt"),
        )
    )
    (tmp_path / "key.txt").write_text("sk-another-secret\n")

    dry = running.answer("apply", str(path), "--dry-run")
    text = running.text("apply", str(path))

    assert dry["changed"] == 5
    assert dry["differences"][1] == {
        "action": "changed",
        "place": "platform.aliases[0]",
        "owner": "platform",
        "section": "aliases",
        "name": "smart",
        "changes": {"targets": {"from": ["up/one", "up/two"], "to": ["up/two"]}},
    }
    assert '~ acme budgets "all"' in text
    assert '    amount: "25.00" \N{RIGHTWARDS ARROW} "1000000000.00"' in text
    assert '    secret: "***" \N{RIGHTWARDS ARROW} "***"' in text
    assert "5 changed, 6 unchanged." in text
    assert SECRET not in text
    assert "sk-another" not in text
    budget.refresh_from_db()
    assert (budget.amount_nano, budget.mode) == (10**18, "warn")
    assert Target.objects.get().provider_model.upstream_id == "two"
    assert credentials.reveal(Credential.objects.get()).reveal() == "sk-another-secret"
    latest = PriceVersion.objects.order_by("-effective_from").first()
    assert latest is not None
    assert latest.pk != version.pk
    assert sorted(latest.lines.values_list("pico_per_token", flat=True)) == [3_000_001, 15_000_000]
    assert running.answer("apply", str(path))["unchanged"] == 11


def test_a_provider_that_moves_takes_its_secret_along_only_from_the_file():
    apply(FILE, HAS_SECRET)
    moved = changed(("up.example", "elsewhere.example"))

    plan = apply(moved, HAS_SECRET)

    assert [name for _, _, name, _ in told(plan)] == ["providers", "credentials"]
    assert credentials.reveal(Credential.objects.get()).reveal() == SECRET
    unknown = apply(FILE)
    assert unknown.warnings == [
        "platform.credentials[0]: the secret is left as it is: the variable KEY is not set."
    ]
    with pytest.raises(ValueError, match="enter it again"):
        credentials.reveal(Credential.objects.get())


def test_an_alias_becomes_a_link_and_models_again():
    own = """
    providers:
      - {name: mine, protocol: chat, base_url: "https://mine.example/v1"}
    models:
      - {provider: mine, name: m}
    aliases:
      - {name: fast, %s}
"""
    apply(FILE + own % "targets: [mine/m]", HAS_SECRET)
    apply(FILE + own % "targets: [], link: smart", HAS_SECRET)
    fast = Alias.objects.get(name="fast")
    assert fast.platform_alias is not None
    assert not fast.targets.exists()
    apply(FILE + own % "targets: [mine/m], link: null", HAS_SECRET)
    fast.refresh_from_db()
    assert fast.platform_alias_id is None
    assert fast.targets.count() == 1


def test_a_revoked_key_is_not_made_again():
    apply(FILE, HAS_SECRET)
    keys.revoke(ApiKey.objects.get(), "it leaked")

    plan = apply(FILE, HAS_SECRET)

    assert plan.differences == []
    assert plan.warnings == [
        "tenants[0].keys[0] is left as it is: the key 'ci' is revoked.",
        "tenants[0].budgets[1] is left as it is: the key 'ci' is revoked.",
    ]


def test_secrets_of_new_keys_are_shown_only_on_request(tmp_path: Path):
    path = tmp_path / "keys.yaml"
    path.write_text("tenants: [{slug: a, name: A, keys: [{name: one}]}]")
    assert "tg_live_" not in running.text("apply", str(path))
    path.write_text("tenants: [{slug: a, keys: [{name: two}]}]")
    dry = running.answer("apply", str(path), "--dry-run", "--show-secrets")["differences"][0]
    assert "id" not in dry
    assert "secret" not in dry
    made, left = running.answer("apply", str(path), "--show-secrets")["differences"]
    assert (left["action"], left["name"], "secret" in left) == ("leftover", "one", False)
    assert made["secret"].startswith(f"tg_live_{made['id']}_")


# Pruning

SMALL = """
platform: {aliases: [{name: smart, targets: [up/two]}], models: [{provider: up, name: two}]}
tenants: [{slug: acme, keys: [], limits: [], budgets: [], webhooks: []}]
"""


def test_pruning_removes_what_a_file_made_and_nothing_else():
    apply(FILE, HAS_SECRET)
    acme = Tenant.objects.get()
    by_hand = managed.create(
        OPERATOR, Budget, {"tenant": acme, "name": "by hand", "amount_nano": 1}
    )

    listed = apply(SMALL)
    dry = apply(SMALL, prune=True, dry_run=True)
    assert listed.count("leftover") == dry.count("removed") == 5
    assert ApiKey.objects.exists()
    plan = apply(SMALL, prune=True)

    removed = [each for each in told(plan) if each[0] == "removed"]
    assert removed == [
        ("removed", "acme", "budgets", "ci ci"),
        ("removed", "acme", "budgets", "all"),
        ("removed", "acme", "limits", "requests minute"),
        ("removed", "acme", "keys", "ci"),
        ("removed", "platform", "models", "up one"),
    ]
    assert [each.pk for each in Budget.objects.all()] == [by_hand.row.pk]
    assert not ApiKey.objects.exists()
    assert not AliasGrant.objects.exists()
    # Sections that the file does not name, tenants and prices stay.
    assert (Provider.objects.count(), Credential.objects.count()) == (1, 1)
    assert PriceVersion.objects.count() == 1
    assert AppliedObject.objects.count() == 4
    assert apply(SMALL, prune=True).differences == []


def test_a_key_that_was_used_is_kept():
    apply(FILE, HAS_SECRET)
    ApiKey.objects.update(last_used_at=clock.now())

    [kept] = apply("tenants: [{slug: acme, keys: []}]", prune=True).differences

    assert (kept.action, kept.name) == ("kept", "ci")
    assert "revoke_key" in kept.reason


def test_nothing_that_was_made_by_hand_goes_with_what_is_pruned():
    apply(FILE, HAS_SECRET)
    acme, smart = Tenant.objects.get(), Alias.objects.get()
    link = Alias.objects.create(tenant=acme, name="by hand", platform_alias=smart)
    RateLimit.objects.create(
        tenant=acme, api_key=ApiKey.objects.get(), metric="concurrency", amount=1
    )
    in_use = "It cannot be deleted while there are targets of it."
    nothing = "{providers: [], models: [], aliases: []}"

    plan = apply(f"platform: {nothing}\ntenants: [{{slug: acme, keys: []}}]", prune=True)

    assert [(each.action, each.section, each.reason) for each in plan.differences] == [
        ("kept", "keys", "budgets and limits of it are still there"),
        ("kept", "aliases", "aliases of it are still there"),
        ("kept", "models", in_use),
        ("kept", "models", in_use),
        (
            "kept",
            "providers",
            "Models of it are behind the aliases smart: remove those targets first.",
        ),
    ]
    assert Alias.objects.filter(pk=link.pk).exists()


# What is refused

WRONG: list[tuple[str, str, str, str]] = [
    (
        "name: all, amount: 25",
        "name: all, amout: 25",
        "tenants[0].budgets[0].amout",
        "mean amount?",
    ),
    ("    budgets:", "    budget:", "tenants[0].budget", "did you mean budgets?"),
    ("platform:", "platfrom:", "platfrom", "did you mean platform?"),
    ("  aliases:", "  webhooks:", "platform.webhooks", "There is no such field; there are"),
    ("amount: 25", "amount: 0.0000000001", "tenants[0].budgets[0].amount", "nano-dollar"),
    ("amount: 25", "amount: many", "tenants[0].budgets[0].amount", "not an amount"),
    ("amount: 25", "amount: true", "tenants[0].budgets[0].amount", "Write an amount"),
    ("amount: 60", 'amount: "60"', "tenants[0].limits[0].amount", "Write a whole number."),
    ("window: minute", "window: second", "tenants[0].limits[0].window", "not a valid choice"),
    ("metric: requests, ", "", "tenants[0].limits[0].metric", "This is needed."),
    ("key: ci", "key: cd", "tenants[0].budgets[1].key", "no key 'cd'"),
    (
        "name: ci, key: ci",
        "name: all",
        "tenants[0].budgets[1]",
        "same object as tenants[0].budgets[0]",
    ),
    ("secret: {env: KEY}", f"secret: {SECRET}", "platform.credentials[0].secret", "does not stand"),
    ("env: KEY", "env: NOT_SET", "platform.credentials[0].secret", "NOT_SET is not set"),
    ("env: KEY", "env: TOLLGATE_KEY_PEPPERS", "platform.credentials[0].secret", "gateway's own"),
    ("env: KEY", "env: DATABASE_URL", "platform.credentials[0].secret", "gateway's own"),
    ("env: KEY", "file: key", "platform.credentials[0].secret", "'key' cannot be read"),
    ("up/two]", "up/three]", "platform.aliases[0].targets", "no model 'three'"),
    ("up/two]", "down/two]", "platform.aliases[0].targets", "no provider 'down'"),
    ("up/two]", "up/one]", "platform.aliases[0].targets", "twice"),
    ('"15"', '"15.0000001"', "platform.prices[0].per_million", "finer"),
    ("output:", "outputs:", "platform.prices[0].per_million", "'outputs' is not a class"),
    (', output: "15"', "", "platform.prices[0].per_million", "output"),
    ("{alias: smart, per", "{provider: up, per", "platform.prices[0]", "Name an alias"),
    ("protocol: anthropic", "protocol: soap", "platform.providers[0].protocol", "not a valid"),
    ("name: Acme", "name: Acme\n    status: gone", "tenants[0].status", "not a valid choice"),
    ("- slug: acme", "- nick: acme", "tenants[0].slug", "This is needed."),
    ("      - {name: all, amount: 25}", "      - 25", "tenants[0].budgets[0]", "Write a mapping."),
    ("    keys:\n      - {name: ci, aliases: [smart]}", "    keys: 5", "tenants[0].keys", "a list"),
    ("aliases: [smart]", "aliases: [smart, 5]", "tenants[0].keys[0].aliases", "list of texts"),
]


@cases(("before", "after", "place", "words"), WRONG)
def test_what_is_wrong_is_named_by_its_place_and_nothing_is_saved(
    before: str, after: str, place: str, words: str
):
    wrong = refusal(changed((before, after)), HAS_SECRET)
    assert place in wrong, wrong
    assert words in " ".join(wrong[place]), wrong
    assert SECRET not in str(wrong)


def test_several_of_one_name_are_not_guessed_among():
    apply(FILE, HAS_SECRET)
    Budget.objects.filter(name="ci").update(name="all", api_key=None)
    assert refusal(FILE, HAS_SECRET) == {
        "tenants[0].budgets[0]": ["2 of that name exist: rename all but one."]
    }


def test_nobody_can_have_the_gateways_own_files_sent_to_a_provider(
    settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    (settings.DATA_DIR / "keys").write_text("a")
    (tmp_path / "link").symlink_to(settings.DATA_DIR / "keys")
    (tmp_path / "peppers").write_text("a")
    monkeypatch.setenv("TOLLGATE_KEY_PEPPERS_FILE", str(tmp_path / "peppers"))
    names = ["data/keys", "link", str(settings.DATA_DIR / "keys"), "peppers", "/proc/self/environ"]
    for name in names:
        with pytest.raises(ValidationError, match="go to no provider"):
            SecretsOfHost(tmp_path).find({"file": name})


def test_an_owners_file_is_applied_with_an_owners_rights():
    apply(FILE, HAS_SECRET)
    apply("tenants: [{slug: other, name: Other}]")
    acme = Tenant.objects.get(slug="acme")
    owner = Access(grants={acme.pk: ROLES["owner"]})

    apply("tenants: [{slug: acme, name: ACME, webhooks: [{url: 'https://a.example'}]}]", who=owner)
    for text, place in (
        ("platform: {providers: []}", "platform"),
        ("tenants: [{slug: other, name: Mine}]", "tenants[0]"),
        ("tenants: [{slug: acme, status: suspended}]", "tenants[0].status"),
        ("tenants: [{slug: acme, budgets: [{name: all, amount: 99}]}]", "tenants[0].budgets[0]"),
    ):
        with pytest.raises(ValidationError) as refused:
            apply(text, who=owner)
        assert list(refused.value.message_dict) == [place]
    acme.refresh_from_db()
    assert (acme.name, acme.status) == ("ACME", "active")


# Single bounds


def test_a_budget_and_a_limit_are_set_by_one_command_each():
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    key, _ = keys.create(tenant, "ci")
    budget = ["set_budget", "--tenant", "acme", "--name", "all", "--amount"]
    limit = ["set_limit", "--tenant", "acme", "--key", key.public_id, "--metric", "tokens"]

    made = running.answer(*budget, "25", "--period", "daily")
    changed = running.answer(*budget, "30.5", "--mode", "warn")
    limits = [running.answer(*limit, "--window", "hour", "--amount", each) for each in ("5", "6")]

    assert made == {
        "id": Budget.objects.get().pk,
        "tenant": "acme",
        "key": None,
        "name": "all",
        "amount": "25.00",
        "period": "daily",
        "mode": "hard",
        "created": True,
    }
    assert changed == {**made, "amount": "30.50", "mode": "warn", "created": False}
    assert [each["created"] for each in limits] == [True, False]
    assert (RateLimit.objects.get().amount, RateLimit.objects.get().api_key) == (6, key)
    assert "amount: " in running.refusal(*budget, "x")
    assert "window" in running.refusal(*limit, "--window", "week", "--amount", "1")
    assert "amount: '-1' is not" in running.refusal(*limit, "--window", "day", "--amount=-1")
