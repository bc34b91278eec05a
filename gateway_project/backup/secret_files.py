"""The secrets that lie outside the database: what is backed up of them, and where they are put back."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from gateway_project import quickstart
from gateway_project.backup.files import BackupFailed
from gateway_project.lib import keyring
from gateway_project.lib.env import environment
from gateway_project.lib.keyring import Keyring, KeyringError
from routing import credentials
from tenants.keys import peppers

SECRET_KEY, PEPPERS, ENCRYPTION = "secret_key", "key_peppers", "key_encryption_keys"
# By file of the data directory, the variable that takes its place.
VARIABLES = {
    SECRET_KEY: "TOLLGATE_SECRET_KEY",
    PEPPERS: "TOLLGATE_KEY_PEPPERS",
    ENCRYPTION: "TOLLGATE_KEY_ENCRYPTION_KEYS",
}


def gather() -> dict[str, str]:
    """Return what this host uses, by file, wherever it has it from."""
    found = {
        SECRET_KEY: settings.SECRET_KEY,
        PEPPERS: _text(peppers.keyring()),
        ENCRYPTION: _text(credentials.keyring()),
    }
    if quickstart.path().exists():
        found[quickstart.path().name] = quickstart.path().read_text(encoding="utf-8")
    return found


def key_ids(secrets: dict[str, str]) -> dict[str, list[str]]:
    return {name: list(ring(secrets, name)) for name in (PEPPERS, ENCRYPTION)}


def ring(secrets: dict[str, str], name: str) -> dict[str, bytes]:
    """Return the keys of a file by id. Raise BackupFailed."""
    try:
        return keyring.parse(secrets.get(name, ""), name)
    except KeyringError as error:
        raise BackupFailed(str(error)) from error


def in_the_way() -> list[Path]:
    """Return files of this host that a restore would have to replace."""
    names = (*VARIABLES, quickstart.path().name)
    return [settings.DATA_DIR / name for name in names if (settings.DATA_DIR / name).exists()]


def has_encryption_keys() -> bool:
    """Tell whether this host has key-encryption keys already; asking for them would make some."""
    is_set = environment.secret(VARIABLES[ENCRYPTION]) is not None
    return is_set or (settings.DATA_DIR / ENCRYPTION).exists()


def put_back(secrets: dict[str, str]) -> list[str]:
    """Write the files; return the names of those for which a variable is set, which stays in force."""
    kept = []
    for name, text in secrets.items():
        if name not in VARIABLES and name != quickstart.path().name:
            raise BackupFailed(f"The keys hold {name!r}, which no installation has.")
        if name in VARIABLES and environment.secret(VARIABLES[name]) is not None:
            kept.append(VARIABLES[name])
            continue
        keyring.create_private(settings.DATA_DIR / name, text)
    return kept


def _text(keys: Keyring) -> str:
    keys.reload()
    return "".join(keyring.entry(key_id, key) + "\n" for key_id, key in keys.all().items())
