"""add_provider and add_alias."""

from __future__ import annotations

import pytest

from routing import credentials
from routing.models import Alias, Credential, Provider, ProviderModel
from tenants.models import Tenant
from tests.commands.running import answer, refusal, text
from tests.plugins.cases import cases

pytestmark = pytest.mark.django_db

VLLM = ("add_provider", "vllm", "--protocol", "chat", "--base-url", "http://10.0.0.5:8000/v1")


def test_add_provider_seals_the_secret_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_KEY", "the-secret-of-vllm")
    made = answer(*VLLM, "--secret-env", "VLLM_KEY", "--allow-private")
    assert made == {
        "name": "vllm",
        "protocol": "chat",
        "base_url": "http://10.0.0.5:8000/v1",
        "auth": "bearer",
        "has_credential": True,
        "warnings": [],
    }
    credential = Credential.objects.get()
    assert credentials.reveal(credential).reveal() == "the-secret-of-vllm"
    assert "the-secret-of-vllm" not in credential.sealed_secret
    assert credential.provider.allow_private_network is True


def test_add_provider_says_what_is_missing_and_never_the_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLLM_KEY", "the-secret-of-vllm")
    assert "the-secret-of-vllm" not in text(*VLLM, "--secret-env", "VLLM_KEY")
    assert "has no credential yet" in text("add_provider", "other", *VLLM[2:])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://10.0.0.5:8000/v1", "10.0.0.5 is a private address, so every call will be refused"),
        ("http://[::1]:8000/v1", "::1 is a private address"),
        ("http://vllm:8000/v1", "vllm is a private address"),
        ("http://model.prod.svc/v1", "model.prod.svc is a private address"),
        (
            "https://up.example",
            "has no version, which most servers require: probably https://up.example/v1.",
        ),
        ("https://up.example/api/", "probably https://up.example/api/v1."),
        ("https://up.example/v1/chat/completions", "must end before /chat/completions"),
        ("https://up.example/v1", ""),
        ("https://generativelanguage.googleapis.com/v1beta/openai", ""),
        ("https://api.z.ai/api/paas/v4", ""),
        ("https://api.perplexity.ai", ""),
        ("https://my.openai.azure.com/openai/v1", ""),
        ("https://8.8.8.8/v1", ""),
    ],
)
def test_add_provider_warns_of_what_would_keep_it_from_answering(url: str, said: str) -> None:
    told = ("add_provider", "up", "--protocol", "chat", "--base-url", url, "--auth", "none")

    found = answer(*told)["warnings"]

    assert len(found) == (1 if said else 0)
    assert said in "".join(found)


def test_add_provider_warns_a_person_of_a_missing_secret() -> None:
    told = text("add_provider", "up", "--protocol", "chat", "--base-url", "https://up.example/v1")
    assert "Warning: It has no credential yet: add one in the console" in told


def test_add_provider_knows_how_anthropic_takes_its_key() -> None:
    url = ("--base-url", "https://claude.example.com/v1")
    assert answer("add_provider", "claude", "--protocol", "anthropic", *url)["auth"] == "x-api-key"


def test_add_provider_says_who_is_told_of_traces() -> None:
    answer(*VLLM)
    assert Provider.objects.get(name="vllm").forward_trace_context is False
    Provider.objects.all().delete()
    answer(*VLLM, "--forward-trace-context")
    assert Provider.objects.get(name="vllm").forward_trace_context is True
    exported = text("export_config")
    assert "forward_trace_context: true" in exported


def test_add_provider_stores_quirks_and_the_tenant() -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    told = (
        "no_stream_usage=true",
        "max_tokens_field=max_tokens",
        "keepalive_seconds=3",
        "runs_on=true",
    )
    quirks = [word for quirk in told for word in ("--quirk", quirk)]
    answer(*VLLM, "--tenant", "acme", "--auth", "none", *quirks)
    provider = Provider.objects.get()
    assert provider.tenant == tenant
    assert provider.quirks == {
        "no_stream_usage": True,
        "max_tokens_field": "max_tokens",
        "keepalive_seconds": 3,
        "runs_on": True,
    }


@cases(
    ("arguments", "said"),
    [
        ((*VLLM, "--secret-env", "NOT_SET"), "secret-env: The environment variable NOT_SET is not"),
        ((*VLLM, "--quirk", "fast"), "quirk: 'fast' is not of the form name=value."),
        (
            (*VLLM, "--quirk", "keepalive_seconds=long"),
            "quirks: keepalive_seconds must be a whole number from 0 to 600.",
        ),
        ((*VLLM, "--quirk", "fast=true"), "quirks: Unknown quirk 'fast'; known are"),
        (
            (*VLLM, "--auth", "basic"),
            "auth: 'basic' is not one of bearer, x-api-key, api-key, none.",
        ),
        ((*VLLM, "--tenant", "nobody"), "tenant: There is no tenant 'nobody'."),
        (
            ("add_provider", "x", "--protocol", "grpc", "--base-url", "https://x.example/v1"),
            "protocol: 'grpc' is not one of chat, responses, anthropic.",
        ),
        (
            ("add_provider", "x", "--protocol", "chat", "--base-url", "x.example/v1"),
            "base_url: 'x.example/v1' is not an http(s) address.",
        ),
        (
            ("add_provider", "x", "--protocol", "chat", "--base-url", "https://x.example/v1\n"),
            "base_url: The base URL must not contain a space, line break",
        ),
        (
            ("add_provider", "X Y", "--protocol", "chat", "--base-url", "https://x.example/v1"),
            "name: 'X Y' is not a provider name",
        ),
    ],
)
def test_add_provider_names_what_is_wrong_and_adds_nothing(
    arguments: tuple[str, ...], said: str
) -> None:
    assert refusal(*arguments).startswith(said)
    assert not Provider.objects.exists()


def test_add_provider_refuses_a_name_that_is_taken() -> None:
    answer(*VLLM)
    assert refusal(*VLLM) == "name: Provider 'vllm' already exists; choose another name."


def test_add_alias_makes_models_and_keeps_the_order() -> None:
    answer(*VLLM)
    made = answer("add_alias", "fast", "--target", "vllm/b/c", "--target", "vllm/a")
    assert made == {
        "alias": "fast",
        "targets": ["vllm/b/c", "vllm/a"],
        "link": None,
        "replaced": None,
        "new_models": ["vllm/b/c", "vllm/a"],
    }
    targets = Alias.objects.get().targets.order_by("position")
    assert [target.provider_model.upstream_id for target in targets] == ["b/c", "a"]


def test_add_alias_replaces_the_targets_of_an_existing_one_and_says_so() -> None:
    answer(*VLLM)
    answer("add_alias", "fast", "--target", "vllm/a", "--native-only")
    said = text("add_alias", "fast", "--target", "vllm/b", "--drop-unsupported")
    assert "It existed; its targets before were vllm/a." in said
    alias = Alias.objects.get()
    assert (alias.responses_mode, alias.drop_unsupported) == ("auto", True)
    assert answer("add_alias", "fast", "--target", "vllm/a")["replaced"] == ["vllm/b"]
    assert ProviderModel.objects.count() == 2


def test_add_alias_of_a_tenant_leads_to_an_alias_of_the_platform_or_to_its_own_providers() -> None:
    answer(*VLLM)
    Tenant.objects.create(slug="acme", name="Acme")
    ours = ("add_alias", "mine", "--tenant", "acme")
    said = refusal(*ours, "--target", "vllm/a")
    assert said.startswith("provider_model: 'vllm' is a provider of the platform: link to one of")
    assert not ProviderModel.objects.exists()
    assert "The platform has no alias 'fast'" in refusal(*ours, "--link", "fast")
    answer("add_alias", "fast", "--target", "vllm/a")
    assert answer(*ours, "--link", "fast")["link"] == "fast"
    assert "Give at least one" in refusal(*ours)
    assert "Give at least one" in refusal(*ours, "--link", "fast", "--target", "vllm/a")
    assert "name the tenant" in refusal("add_alias", "other", "--link", "fast")
    answer("add_provider", "own", *VLLM[2:], "--tenant", "acme")
    assert "its targets before were fast." in text(*ours, "--target", "own/a")
    assert Alias.objects.get(name="mine").platform_alias is None


def test_add_alias_of_the_platform_may_not_use_a_tenant_s_provider() -> None:
    Tenant.objects.create(slug="acme", name="Acme")
    answer(*VLLM, "--tenant", "acme")
    assert refusal("add_alias", "fast", "--target", "vllm/a").startswith(
        "target: There is no provider 'vllm'. Known providers: none yet."
    )


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (("vllm",), "target: 'vllm' is not of the form provider/model."),
        (("vllm/a", "gone/b"), "target: There is no provider 'gone'. Known providers: vllm."),
        (("vllm/a", "vllm/a"), "target: The same target is named twice."),
    ],
)
def test_add_alias_names_a_wrong_target_and_changes_nothing(
    targets: tuple[str, ...], said: str
) -> None:
    answer(*VLLM)
    answer("add_alias", "fast", "--target", "vllm/first")
    options = [option for target in targets for option in ("--target", target)]
    assert refusal("add_alias", "fast", *options).startswith(said)
    assert [str(t.provider_model) for t in Alias.objects.get().targets.all()] == ["vllm/first"]
    assert ProviderModel.objects.count() == 1


def test_add_alias_names_a_name_clients_could_not_send() -> None:
    answer(*VLLM)
    said = refusal("add_alias", "two words", "--target", "vllm/a")
    assert said.startswith("name: 'two words' is not an alias")


def test_add_alias_says_whether_responses_are_kept_and_streams_resumable() -> None:
    answer("add_provider", "vllm", "--protocol", "chat", "--base-url", "https://vllm.test/v1")
    for stores in (("--store-by-default", "false"), ("--store", "no")):
        answer("add_alias", "fast", "--target", "vllm/a", *stores, "--resumable")
        alias = Alias.objects.get()
        assert (alias.store_by_default, alias.resumable_streams) == (False, True)
        answer("add_alias", "fast", "--target", "vllm/a")
        alias.refresh_from_db()
        assert (alias.store_by_default, alias.resumable_streams) == (None, False)
