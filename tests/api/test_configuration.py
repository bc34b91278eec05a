"""The configuration as a file, by token: what there is is written, and what is written applied."""

from __future__ import annotations

from typing import Any

import pytest

from routing.models import Alias, Credential, Provider
from tenants.models import ApiKey, AuditEvent, Budget, CustomRole, Tenant
from tests.api.callers import Api, of_member, of_operator
from tests.console.world import CANARY, SECRET, World

pytestmark = pytest.mark.django_db


def apply(api: Api, text: str, query: str = "") -> Any:
    return api.client.post(
        f"/api/v1/configuration{query}", text.encode(), content_type="application/yaml"
    )


def test_what_an_operator_reads_can_be_applied_and_changes_nothing(world: World, operator: Api):
    read = operator.get("configuration")
    before = AuditEvent.objects.count()

    told = apply(operator, read.content.decode())

    assert read.headers["content-type"].startswith("application/yaml")
    assert SECRET not in read.content.decode()
    assert told.status_code == 200, told.content
    assert (told.json()["created"], told.json()["changed"], told.json()["removed"]) == (0, 0, 0)
    assert told.json()["unchanged"] > 10
    assert any("secrets of the server" in each for each in told.json()["warnings"])
    assert AuditEvent.objects.count() == before
    alone = operator.get("configuration?tenant=ours").content.decode()
    assert CANARY not in alone
    assert "ours" in alone


def test_a_dry_run_tells_and_does_nothing(world: World, operator: Api):
    text = "tenants: [{slug: new, name: New, keys: [{name: first}]}]"

    dry = apply(operator, text, "?dry_run=true&show_secrets=true").json()

    assert not Tenant.objects.filter(slug="new").exists()
    wet = apply(operator, text, "?show_secrets=true")
    assert (dry["dry_run"], dry["created"], wet.json()["created"]) == (True, 2, 2)
    assert "secret" not in dry["differences"][1]
    assert wet.json()["differences"][1]["secret"].startswith("tg_live_")
    assert wet.headers["cache-control"] == "no-store"
    again = apply(operator, text, "?show_secrets=true").json()
    assert (again["created"], again["unchanged"]) == (0, 2)
    made = AuditEvent.objects.get(action="api_key.created", tenant__slug="new")
    assert (made.actor_kind, made.actor_id) == ("token", operator.token.public_id)
    gone = apply(operator, "tenants: [{slug: new, name: New, keys: []}]", "?prune=true").json()
    assert gone["removed"] == 1
    assert not ApiKey.objects.filter(tenant__slug="new").exists()


def test_a_request_names_no_secret_of_the_server(world: World, operator: Api, monkeypatch):
    monkeypatch.setenv("TOLLGATE_CREDENTIAL_X", "sk-from-the-environment")
    name = world.platform.provider.name
    stored = Credential.objects.get(provider=world.platform.provider).sealed_secret

    for reference in ("{env: TOLLGATE_CREDENTIAL_X}", "{file: /etc/hostname}"):
        new = f"platform: {{credentials: [{{provider: {name}, name: new, secret: {reference}}}]}}"
        refused = apply(operator, new)
        assert refused.status_code == 400, refused.content
        assert "reads no secrets of the server" in refused.json()["detail"]
    old = world.platform.credential.name
    kept = f'platform: {{credentials: [{{provider: {name}, name: "{old}", secret: {{env: X}}}}]}}'
    assert apply(operator, kept).json()["unchanged"] == 1
    literal = f"platform: {{credentials: [{{provider: {name}, name: new, secret: sk-1}}]}}"
    assert "does not stand in the file" in apply(operator, literal).json()["detail"]
    assert Credential.objects.get(provider=world.platform.provider).sealed_secret == stored


def test_a_tenants_token_reads_and_writes_its_tenant_alone(world: World):
    owner = of_member("owner", world.ours.tenant)

    text = owner.get("configuration").content.decode()

    assert "slug: ours" in text
    for hidden in (CANARY, "plat-provider", "platform:\n", SECRET):
        assert hidden not in text
    assert apply(owner, text).json()["changed"] == 0
    made = apply(owner, "tenants: [{slug: ours, keys: [{name: by file}]}]")
    assert made.json()["created"] == 1
    assert ApiKey.objects.get(name="by file").tenant == world.ours.tenant
    for foreign in (
        f"tenants: [{{slug: {CANARY}, keys: [{{name: mine}}]}}]",
        "tenants: [{slug: nobody, name: Nobody}]",
    ):
        answer = apply(owner, foreign)
        assert answer.status_code == 400
        assert answer.json()["errors"] == {"tenants[0]": ["You may not do this."]}
    platforms = apply(owner, "platform: {aliases: [{name: mine, targets: []}]}")
    assert platforms.json()["errors"] == {"platform": ["You may not do this."]}
    assert owner.get(f"configuration?tenant={CANARY}").status_code == 404
    assert owner.get("configuration?tenant=nobody").status_code == 404
    assert not ApiKey.objects.filter(name="mine").exists()
    assert not Alias.objects.filter(name="mine").exists()


def test_a_file_does_no_more_than_the_token_may(world: World):
    developer = of_member("developer", world.ours.tenant)
    narrow = of_member("admin", world.ours.tenant, "keys.*", "tenant.view")
    viewer = of_member("viewer", world.ours.tenant)

    whole_tenants = "tenants: [{slug: ours, budgets: [{name: b, amount: 5}]}]"
    roles = "tenants: [{slug: ours, roles: [{name: r, permissions: [keys.view]}]}]"
    private = (
        "tenants: [{slug: ours, providers: [{name: p, base_url: 'http://10.0.0.1/v1', protocol: chat,"
        " allow_private_network: true}]}]"
    )
    owner = of_member("owner", world.ours.tenant)
    for api, text in (
        (developer, whole_tenants), (developer, roles), (developer, private),
        (owner, whole_tenants), (owner, private), (narrow, roles),
        (owner, "tenants: [{slug: ours, prices: [{alias: ours-alias, per_million: {input: 0}}]}]"),
        (owner, "tenants: [{slug: ours, shows_upstreams: false}]"),
        (developer, "tenants: [{slug: ours, name: Other}]"),
    ):  # fmt: skip
        answer = apply(api, text)
        assert answer.status_code == 400, (text, answer.content)
    assert apply(viewer, "tenants: []").status_code == 403
    text = narrow.get("configuration").content.decode()
    assert "ours key" in text
    for hidden in ("ours role", "ours-provider:", "budgets", "webhooks", "credentials"):
        assert hidden not in text
    assert not Budget.objects.filter(name="b").exists()
    assert not Provider.objects.filter(name="p").exists()
    assert not CustomRole.objects.filter(name="r").exists()


def test_a_tenants_file_holds_up_others_for_a_moment_only(world: World):
    """All is one transaction, in which nobody else changes any configuration."""
    owner = of_member("owner", world.ours.tenant)
    keys = ", ".join(f"{{name: k{number}}}" for number in range(300))

    answer = apply(owner, f"tenants: [{{slug: ours, keys: [{keys}]}}]")

    assert answer.status_code == 400
    assert "at most 200 objects" in answer.json()["detail"]
    assert not ApiKey.objects.filter(name="k1").exists()


def test_what_cannot_be_read_is_refused_with_its_place(world: World, operator: Api):
    for text, words in (
        ("", "empty"), ("[", "not YAML"), ("\xff", "mapping"), ("a: &x 1", "Anchors"),
        ("tenants: 5", "Write a list"), ("nothing: {}", "no such field"),
        ("tenants: [{slug: ours, kees: []}]", "did you mean keys"),
    ):  # fmt: skip
        answer = apply(operator, text)
        assert answer.status_code == 400, text
        assert words in answer.json()["detail"], (text, answer.content)
    for query in ("?dry_run=yes", "?more=1", "?tenant=ours"):
        assert apply(operator, "tenants: []", query).status_code == 400, query
    assert operator.get("configuration?x=1").status_code == 400
    auditor = of_operator("*.view")
    assert "ours" in auditor.get("configuration").content.decode()
    assert apply(auditor, "tenants: []").status_code == 403
