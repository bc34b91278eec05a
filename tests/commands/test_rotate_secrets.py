"""rotate_secrets."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gateway_project.lib import keyring, sealing
from gateway_project.lib.secret import Secret
from responses_api.webhooks import endpoints
from routing import credentials
from routing.models import Credential, Provider
from tenants.models import Tenant
from tests.commands.running import answer, refusal, text

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def credential() -> Credential:
    provider = Provider.objects.create(name="up", protocol="chat", base_url="https://up.example/v1")
    return credentials.create(provider, Secret("the-upstream-secret"))


def test_a_new_key_seals_every_credential_anew(data_dir: Path, credential: Credential) -> None:
    assert answer("rotate_secrets", "--new-key") == {"key_id": "k2", "rewrapped": 1}
    credential.refresh_from_db()
    assert sealing.key_id_of(credential.sealed_secret) == "k2"
    assert credentials.reveal(credential).reveal() == "the-upstream-secret"
    file = data_dir / "key_encryption_keys"
    assert list(keyring.parse(file.read_text(), "file")) == ["k2", "k1"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_secrets_of_webhooks_are_sealed_anew_too() -> None:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    endpoint, old = endpoints.create(tenant, "https://hooks.example/in")
    new = endpoints.rotate(endpoint)

    assert answer("rotate_secrets", "--new-key") == {"key_id": "k2", "rewrapped": 3}

    endpoint.refresh_from_db()
    assert sealing.key_id_of(endpoint.sealed_secret) == "k2"
    assert sealing.key_id_of(endpoint.sealed_old_secret) == "k2"
    assert endpoints.signing_secrets(endpoint) == (new, old)


def test_repeating_it_changes_nothing() -> None:
    answer("rotate_secrets", "--new-key")
    assert answer("rotate_secrets") == {"key_id": "k2", "rewrapped": 0}
    assert "0 secret(s) sealed anew" in text("rotate_secrets")


def test_a_key_put_into_the_file_by_hand_is_taken_up(data_dir: Path) -> None:
    keyring.add_key(data_dir / "key_encryption_keys", "june")
    assert answer("rotate_secrets") == {"key_id": "june", "rewrapped": 1}


def test_keys_from_the_environment_are_not_extended(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOLLGATE_KEY_ENCRYPTION_KEYS", keyring.new_entry("given"))
    assert refusal("rotate_secrets", "--new-key").startswith(
        "new-key: The keys come from TOLLGATE_KEY_ENCRYPTION_KEYS"
    )
    assert list(keyring.parse((data_dir / "key_encryption_keys").read_text(), "file")) == ["k1"]


def test_a_credential_whose_key_is_gone_is_told_and_none_is_lost(
    data_dir: Path, credential: Credential
) -> None:
    (data_dir / "key_encryption_keys").write_text(keyring.new_entry("other"))
    assert "has no key 'k1'" in refusal("rotate_secrets")
    before = credential.sealed_secret
    credential.refresh_from_db()
    assert credential.sealed_secret == before
