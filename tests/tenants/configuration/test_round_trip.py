"""An export that is applied again changes nothing, and makes an empty gateway like the one it is from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.db import transaction

from gateway_project.lib import clock
from gateway_project.lib.env import Env
from gateway_project.lib.secret import Secret
from routing import credentials, grants
from routing.models import Alias, Credential, Provider, Target
from tenants.access.access import OPERATOR
from tenants.configuration import applying, document, exporting
from tenants.configuration.secrets import SecretsOfHost
from tenants.keys import keys
from tenants.models import ApiKey, Budget, PriceVersion, RateLimit, Tenant
from tenants.prices import publishing
from tenants.prices.publishing import Subject
from tenants.prices.rating import Line
from tests.console import world as worlds
from tests.console.world import World
from tests.support import rows as given
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.rows import Customer
from tests.tenants.configuration.files import apply, rows

ROOT = Path(__file__).resolve().parents[3]
ODD = 'it\'s "1e5": {no} # \n\t\u2028 \xe9 0123 \U0001f600'


def enrich(world: World) -> None:
    """Add what is hard to say in a file."""
    ours = world.ours.tenant
    link = Alias.objects.create(tenant=ours, name="team", platform_alias=world.platform.alias)
    # Of the platform's name: whoever means the platform's has to say so.
    own = given.provider("chat", "http://127.0.0.1:1/v1", name="plat-provider", tenant=ours)
    credentials.create(world.platform.provider, Secret("sk-ours-for-theirs"), tenant=ours)
    credentials.create(own, Secret("sk-ours-for-ours"), tenant=ours, name=ODD)
    given.alias("plat-alias", (own, "1e5"), (own, "no"), tenant=ours, store_by_default=False)
    Provider.objects.filter(pk=own.pk).update(quirks={"keepalive_seconds": 1e-07})
    Alias.objects.filter(pk=world.ours.alias.pk).update(enabled=False)
    grants.create_key(ours, ODD, aliases=["team", "plat-alias"], scopes=["models"])
    for name in ("gone", "ours key"):
        revoked, _ = keys.create(ours, name)
        RateLimit.objects.create(tenant=ours, api_key=revoked, metric="concurrency", amount=1)
        keys.revoke(revoked, "")
    for amount in (1, 2):
        Budget.objects.create(tenant=ours, name="twice", amount_nano=amount)
    Budget.objects.create(tenant=ours, name="0123", amount_nano=1, thresholds=[], enabled=False)
    legacy = Target(alias=link, provider_model=world.platform.model, is_legacy=True)
    legacy.alias = Alias.objects.create(tenant=ours, name="legacy")
    legacy.save()
    lines = [
        Line("input_fresh", 1),
        Line("output_visible", 1_234_567),
        Line("input_fresh", 2, above_tokens=200_000),
        Line("output_visible", 3, "flex"),
    ]
    publishing.set_price(Subject.cost("plat-provider", ODD), lines, "t", clock.now())


@pytest.mark.django_db
@pytest.mark.persistence
def test_what_is_exported_and_applied_changes_no_row_and_no_revision():
    world = worlds.make()
    enrich(world)
    text = exporting.export(OPERATOR)
    variables = dict.fromkeys(re.findall(r"\{env: (\w+)\}", text), "")
    before = rows()

    plan = apply(text, variables)

    assert plan.differences == []
    assert rows() == before
    assert plan.unchanged > 30
    assert "platform:plat-provider" in text
    assert "platform:plat-alias" in text
    assert '# budgets "twice" is left out: there are 2 of that name' in text
    assert "# keys: 2 revoked are left out." in text
    assert "# aliases: legacy leads to models of the platform" in text
    assert len(variables) == Credential.objects.count()
    for secret in (worlds.SECRET, "sk-ours"):
        assert secret not in text
    # One tenant's file is its part of the whole.
    part = exporting.export(OPERATOR, world.theirs.tenant)
    assert "\n".join(part.splitlines()[3:]) in text
    assert apply(part).differences == []


@pytest.mark.django_db
def test_an_empty_database_exports_a_file_that_says_nothing():
    assert apply(exporting.export(OPERATOR)).unchanged == 0


def test_an_export_makes_an_empty_gateway_answer(gateway: LiveGateway):
    with transaction.atomic():
        provider = given.provider(
            "chat", gateway.sandbox.base_url, name="up", secret="sk-of-the-sandbox-1"
        )
        smart = given.alias("smart", (provider, "sandbox-1"))
        acme = given.customer("acme", time_zone="Europe/Berlin")
        Alias.objects.create(tenant=acme.tenant, name="team", platform_alias=smart)
        grants.create_key(acme.tenant, "restricted", aliases=["team"])
        Budget.objects.create(tenant=acme.tenant, name="all", amount_nano=10**9)
        lines = [Line("input_fresh", 1_000_000), Line("output_visible", 4_000_000)]
        publishing.set_price(Subject.charge("smart"), lines, "t", clock.now())
        text = exporting.export(OPERATOR)
        transaction.set_rollback(True)
    assert not Tenant.objects.exists()

    plan = apply(text, {"TOLLGATE_CREDENTIAL_UP_DEFAULT": "sk-of-the-sandbox-1"})

    assert exporting.export(OPERATOR) == text
    assert credentials.reveal(Credential.objects.get()).reveal() == "sk-of-the-sandbox-1"
    assert PriceVersion.objects.get().published_at is not None
    [secret] = [each.secret for each in plan.differences if each.name == "restricted"]
    assert secret is not None
    customer = Customer(Tenant.objects.get(), ApiKey.objects.get(name="test"), secret.reveal())
    with client_of(gateway, customer) as client:
        question = {"messages": [{"role": "user", "content": "Hi"}]}
        answers = [
            client.post("/chat/completions", json={**question, "model": model}).status_code
            for model in ("team", "unknown")
        ]
    assert answers == [200, 404]


@pytest.mark.django_db
def test_the_example_of_the_docs_can_be_applied_and_is_exported_as_the_same(tmp_path: Path):
    page = (ROOT / "docs" / "configuration.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "local.key").write_text("sk-local\n")
    secrets = SecretsOfHost(tmp_path, Env({"OPENAI_API_KEY": "sk-openai"}))

    made = applying.apply(OPERATOR, document.read(example.encode()), secrets)
    again = applying.apply(OPERATOR, document.read(example.encode()), secrets)
    exported = apply(exporting.export(OPERATOR))

    assert made.count("created") == len(made.differences) > 15
    assert again.differences == exported.differences == []
    assert again.unchanged == exported.unchanged == made.count("created")
    assert again.warnings == []
