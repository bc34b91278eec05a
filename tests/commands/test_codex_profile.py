"""codex_profile."""

from __future__ import annotations

import tomllib

import pytest

from routing.models import Alias
from tests.commands.running import answer, refusal, text

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def alias() -> Alias:
    return Alias.objects.create(name="openai/gpt-5")


def test_both_files_are_toml_of_the_two_file_form() -> None:
    made = answer("codex_profile", "openai/gpt-5", "--base-url", "https://gate.example/v1")
    assert made["config_path"] == "~/.codex/config.toml"
    assert made["profile_path"] == "~/.codex/tollgate.config.toml"
    assert tomllib.loads(made["config_toml"]) == {
        "model_providers": {
            "tollgate": {
                "name": "Tollgate",
                "base_url": "https://gate.example/v1",
                "env_key": "TOLLGATE_API_KEY",
                "wire_api": "responses",
            }
        }
    }
    assert tomllib.loads(made["profile_toml"]) == {
        "model_provider": "tollgate",
        "model": "openai/gpt-5",
    }
    assert made["env_key"] == "TOLLGATE_API_KEY"
    assert made["command"].startswith("codex exec --profile tollgate ")


def test_the_base_url_ends_in_v1() -> None:
    wrong = ("codex_profile", "openai/gpt-5", "--base-url", "https://gate.example")
    assert refusal(*wrong) == (
        "base-url: 'https://gate.example' does not end in /v1; give 'https://gate.example/v1'."
    )
    right = answer("codex_profile", "openai/gpt-5", "--base-url", "https://gate.example/x/v1/")
    assert 'base_url = "https://gate.example/x/v1"' in right["config_toml"]


def test_websockets_are_offered_on_request() -> None:
    made = answer("codex_profile", "openai/gpt-5", "--websockets")
    provider = tomllib.loads(made["config_toml"])["model_providers"]["tollgate"]
    assert provider["supports_websockets"] is True
    assert "websockets" not in answer("codex_profile", "openai/gpt-5")["config_toml"]


def test_a_person_sees_both_names_and_no_legacy_profile() -> None:
    said = text("codex_profile", "openai/gpt-5")
    assert "~/.codex/config.toml" in said
    assert "~/.codex/tollgate.config.toml" in said
    assert "[profiles" not in said


def test_an_unknown_alias_and_a_wrong_address_are_named() -> None:
    assert refusal("codex_profile", "gone") == (
        "alias: There is no alias 'gone'; add it with add_alias."
    )
    assert refusal("codex_profile", "openai/gpt-5", "--base-url", "gate.example").startswith(
        "base-url: 'gate.example' is not"
    )
