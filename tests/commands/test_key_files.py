"""A host whose key files are not those of the database is told so before it makes or serves anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from gateway_project import preflight
from gateway_project.lib import keyring
from gateway_project.lib.secret import Secret
from responses_api.webhooks import endpoints
from routing import credentials
from routing.models import Credential, Provider
from tenants.keys import fingerprints, peppers
from tenants.models import KeyFingerprint, KeySecret, Tenant
from tests.commands.conftest import forget_keyrings
from tests.commands.running import answer, refusal

pytestmark = pytest.mark.django_db

FILES = ("key_peppers", "key_encryption_keys")


def replace(data_dir: Path, name: str, *entries: str) -> None:
    """Give this host another key file, and have processes begin anew."""
    (data_dir / name).write_text("\n".join(entries))
    forget_keyrings()


@pytest.fixture
def used(data_dir: Path) -> dict[str, str]:
    """The key files of a host that has used the database."""
    answer("quickstart")
    preflight.refuse_unfit()
    return {name: (data_dir / name).read_text() for name in FILES}


def test_another_host_with_other_keys_is_refused_and_makes_nothing(
    data_dir: Path, used: dict[str, str]
) -> None:
    counts = KeySecret.objects.count(), Credential.objects.count()
    for name in FILES:
        for foreign in (keyring.new_entry("k1"), keyring.new_entry("other")):
            replace(data_dir, name, foreign)
            with pytest.raises(preflight.Unfit, match="if those are lost for good, run manage"):
                preflight.refuse_unfit()
            with pytest.raises(CommandError, match="This host cannot read"):
                call_command("serve", "--port", "0")
        replace(data_dir, name, used[name])
    replace(data_dir, "key_peppers", keyring.new_entry("k1"))
    assert refusal("create_key", "--tenant", "default", "--name", "x").startswith(
        "This host cannot"
    )
    replace(data_dir, "key_peppers", used["key_peppers"])
    replace(data_dir, "key_encryption_keys", keyring.new_entry("k1"))
    provider = Provider.objects.create(name="p", protocol="chat", base_url="https://up.example/v1")
    with pytest.raises(fingerprints.ForeignKeys):
        credentials.create(provider, Secret("sk-test-0123456789"))
    with pytest.raises(fingerprints.ForeignKeys):
        endpoints.create(Tenant.objects.get(), "https://hooks.example/")
    assert (KeySecret.objects.count(), Credential.objects.count()) == counts


def test_a_rotation_keeps_every_host(data_dir: Path, used: dict[str, str]) -> None:
    for name in FILES:
        new = keyring.new_entry("k2")
        replace(data_dir, name, new, used[name])  # this host has the new key first
        preflight.refuse_unfit()
        replace(data_dir, name, used[name])  # another does not have it yet
        preflight.refuse_unfit()
        replace(data_dir, name, new)  # and later the old one is dropped
        preflight.refuse_unfit()
        replace(data_dir, name, keyring.new_entry("k2"))
        with pytest.raises(preflight.Unfit, match="the key 'k2' of"):
            preflight.refuse_unfit()
        replace(data_dir, name, used[name])
    # Another host had a k2, so that a new one gets another name.
    assert answer("rotate_secrets", "--new-key")["key_id"] == "k3"
    assert fingerprints.known_ids(fingerprints.ENCRYPTION) == ["k1", "k2", "k3"]


def test_lost_keys_are_given_up_on_purpose_only(data_dir: Path, used: dict[str, str]) -> None:
    for name in FILES:
        replace(data_dir, name, keyring.new_entry("k1"))
    assert "run manage.py accept_keys" in refusal("serve", "--quickstart", "--port", "0")
    assert answer("accept_keys") == {"pepper": ["k1"], "encryption": ["k1"]}
    preflight.refuse_unfit()
    for name in FILES:
        replace(data_dir, name, used[name])
    with pytest.raises(preflight.Unfit):
        preflight.refuse_unfit()


def test_fingerprints_do_not_hold_the_keys(used: dict[str, str]) -> None:
    digests = list(KeyFingerprint.objects.values_list("digest", flat=True))
    keys = [*peppers.keyring().all().values(), *credentials.keyring().all().values()]
    assert len(set(digests)) == len(digests) == 2
    assert not any(key.hex() in digests for key in keys)


def test_a_database_older_than_its_fingerprints_is_proven_by_a_stored_secret(
    data_dir: Path, used: dict[str, str]
) -> None:
    provider = Provider.objects.create(name="p", protocol="chat", base_url="https://up.example/v1")
    credentials.create(provider, Secret("sk-test-0123456789"))
    KeyFingerprint.objects.all().delete()
    replace(data_dir, "key_encryption_keys", keyring.new_entry("k1"))
    with pytest.raises(preflight.Unfit, match="cannot read the stored credentials"):
        preflight.refuse_unfit()
    assert not KeyFingerprint.objects.exists()
    replace(data_dir, "key_encryption_keys", used["key_encryption_keys"])
    preflight.refuse_unfit()
    assert KeyFingerprint.objects.count() == 2
