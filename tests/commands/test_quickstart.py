"""quickstart, within the test's database."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from gateway_project import quickstart
from routing import credentials, seed
from routing.models import Alias, Credential, Provider, ProviderModel
from tenants import revision
from tenants.keys import caller
from tenants.models import ApiKey, Tenant
from tests.commands.running import answer, refusal, text
from tests.plugins.cases import cases

pytestmark = pytest.mark.django_db

SANDBOX_ALIASES = ["sandbox-chat", "sandbox-responses", "sandbox-anthropic"]


def test_the_first_boot_makes_everything_a_first_call_needs(data_dir: Path) -> None:
    made = answer("quickstart")
    assert list(made) == ["base_url", "api_key", "console_url", "username", "password", "models"]
    assert made["base_url"] == "http://127.0.0.1:8000/v1"
    assert made["console_url"] == "http://127.0.0.1:8000/console/"
    assert made["models"] == SANDBOX_ALIASES
    found = caller.find(made["api_key"])
    assert found is not None
    assert (found.tenant_slug, found.all_aliases) == ("default", True)
    operator = User.objects.get(username=made["username"])
    assert operator.is_superuser
    assert operator.check_password(made["password"])
    kept = data_dir / "quickstart.json"
    assert json.loads(kept.read_text()) == made
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_sandbox_speaks_each_protocol(settings: Settings) -> None:
    settings.SANDBOX_PORT = 8123
    answer("quickstart")
    providers = Provider.objects.order_by("pk")
    assert [
        (p.name, p.vendor, p.protocol, p.base_url, p.auth_kind, p.allow_private_network)
        for p in providers
    ] == [
        (f"sandbox-{protocol}", "sandbox", protocol, "http://127.0.0.1:8123/v1", "none", True)
        for protocol in ("chat", "responses", "anthropic")
    ]
    models = ProviderModel.objects.values_list("upstream_id", "context_window", "max_output_tokens")
    assert set(models) == {("sandbox-1", 128_000, 4096)}


def test_the_second_run_answers_the_same_and_changes_nothing() -> None:
    first = answer("quickstart")
    number = revision.current()
    assert answer("quickstart") == first
    assert revision.current() == number
    assert (ApiKey.objects.count(), Tenant.objects.count(), User.objects.count()) == (1, 1, 1)


def test_addresses_follow_the_base_url_and_are_remembered() -> None:
    first = answer("quickstart")
    moved = answer("quickstart", "--base-url", "http://127.0.0.1:9000/")
    assert moved["base_url"] == "http://127.0.0.1:9000/v1"
    assert moved["console_url"] == "http://127.0.0.1:9000/console/"
    assert moved["api_key"] == first["api_key"]
    assert answer("quickstart") == moved


def test_a_base_url_that_is_none_is_refused_before_anything_is_made() -> None:
    assert refusal("quickstart", "--base-url", "localhost:8000").startswith(
        "base-url: 'localhost:8000' is not an http(s) address"
    )
    assert "give 'http://gate.example/api/v1'" in refusal(
        "quickstart", "--base-url", "http://gate.example/api/"
    )
    assert not Tenant.objects.exists()


@cases("content", [None, "", "{}", '{"api_key": 1}'])
def test_a_lost_file_gives_a_new_key_and_password_and_says_so(
    data_dir: Path, content: str | None
) -> None:
    first = answer("quickstart")
    (data_dir / "quickstart.json").unlink()
    if content is not None:
        (data_dir / "quickstart.json").write_text(content)
    found = quickstart.ensure()
    assert (found.first_boot, found.reissued) == (False, True)
    assert found.api_key.reveal() != first["api_key"]
    assert User.objects.get().check_password(found.password.reveal())
    assert "NEW PASSWORD" in quickstart.announce(found)
    assert caller.find(first["api_key"]) is not None
    assert quickstart.ensure().reissued is False


def test_a_file_of_another_database_is_not_believed(data_dir: Path) -> None:
    first = answer("quickstart")
    ApiKey.objects.all().delete()
    Tenant.objects.all().delete()
    found = quickstart.ensure()
    assert found.first_boot is True
    assert found.api_key.reveal() != first["api_key"]


def test_a_revoked_key_is_not_brought_back() -> None:
    first = answer("quickstart")
    answer("revoke_key", ApiKey.objects.get().public_id)
    assert answer("quickstart") == first
    assert caller.find(first["api_key"]) is None


def test_the_text_holds_everything_to_copy() -> None:
    said = text("quickstart")
    kept = answer("quickstart")
    for piece in (
        kept["console_url"],
        kept["username"],
        kept["password"],
        kept["api_key"],
        f"curl -s {kept['base_url']}/chat/completions",
        f"curl -sN {kept['base_url']}/responses",
        "from openai import OpenAI",
        "[model_providers.tollgate]",
        "~/.codex/tollgate.config.toml",
        "codex exec --profile tollgate",
    ):
        assert piece in said


def test_secrets_are_not_printed_by_accident() -> None:
    found = quickstart.ensure()
    assert found.api_key.reveal() not in repr(found)
    assert found.password.reveal() not in repr(found)


def test_a_vendor_s_key_makes_provider_credential_and_aliases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-openai-0001")
    models = answer("quickstart")["models"]
    assert {"gpt-5-mini", "gpt-5-mini-chat", *SANDBOX_ALIASES} <= set(models)
    openai, chat = Provider.objects.filter(name__startswith="openai").order_by("name")
    assert (openai.protocol, chat.protocol) == ("responses", "chat")
    secrets = {credentials.reveal(row).reveal() for row in Credential.objects.all()}
    assert secrets == {"sk-test-openai-0001"}


def test_a_later_vendor_is_added_and_a_changed_key_replaces_the_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer("quickstart")
    monkeypatch.setenv("GROQ_API_KEY", "gsk-test-groq-0001")
    assert "groq-gpt-oss-120b" in answer("quickstart")["models"]
    number = revision.current()
    answer("quickstart")
    assert revision.current() == number
    monkeypatch.setenv("GROQ_API_KEY", "gsk-test-groq-0002")
    answer("quickstart")
    assert credentials.reveal(Credential.objects.get()).reveal() == "gsk-test-groq-0002"


def test_what_an_operator_changed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-test-groq-0001")
    answer("quickstart")
    Alias.objects.filter(name="groq-gpt-oss-20b").delete()
    Provider.objects.filter(name="groq").update(enabled=False, base_url="https://eu.example/v1")
    assert "groq-gpt-oss-20b" not in answer("quickstart")["models"]
    groq = Provider.objects.get(name="groq")
    assert (groq.enabled, groq.base_url) == (False, "https://eu.example/v1")


def test_a_vendor_s_key_is_not_given_to_a_provider_somebody_else_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Provider.objects.create(name="groq", protocol="chat", base_url="https://other.example/v1")
    assert seed.seed_from_environment({"GROQ_API_KEY": "gsk-test-groq-0001"}) == []
    assert not Credential.objects.exists()


def test_an_alias_that_exists_keeps_its_targets() -> None:
    Alias.objects.create(name="gpt-5-mini")
    seed.seed_from_environment({"OPENAI_API_KEY": "sk-test-openai-0001"})
    assert not Alias.objects.get(name="gpt-5-mini").targets.exists()


def test_a_vendor_s_key_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("xai-test-0000000001\n")
    environ = {"XAI_API_KEY_FILE": str(tmp_path / "key")}
    assert seed.seed_from_environment(environ) == ["xai"]
    assert credentials.reveal(Credential.objects.get()).reveal() == "xai-test-0000000001"


def test_a_contradictory_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_API_KEY", "xai-test-0000000001")
    monkeypatch.setenv("XAI_API_KEY_FILE", "/nowhere")
    assert refusal("quickstart") == (
        "Both XAI_API_KEY and XAI_API_KEY_FILE are set; keep one of them."
    )


def test_the_sandbox_follows_its_port_unless_somebody_moved_it() -> None:
    seed.seed_sandbox(8090)
    Provider.objects.filter(name="sandbox-chat").update(base_url="http://10.0.0.9:8090/v1")
    assert seed.seed_sandbox(8091) == ["sandbox-responses", "sandbox-anthropic"]
    assert seed.seed_sandbox(8091) == []
