"""Seal the secrets of a data directory with a passphrase: scrypt, then AES-256-GCM.

The file is JSON that says how the key was derived; all of that is authenticated with the secrets, and so is
the name of the backup, so that the keys of one cannot pass for those of another.
"""

from __future__ import annotations

import base64
import binascii

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Struct, structs

from gateway_project.backup.files import BackupFailed
from gateway_project.lib import ids
from gateway_project.lib.secret import Secret

NAME = "keys.sealed"
LEAST_PASSPHRASE = 12
# 128 MiB and a third of a second for each guess.
COST, BLOCK_SIZE, PARALLEL = 2**17, 8, 1
# Whoever can write the file must not choose how much memory reading it takes.
MOST_COST = 2**20


def name_apart(backup: str) -> str:
    """Return the name of the file where the keys of all backups are stored apart."""
    return f"{backup}.{NAME}"


class SealedKeys(Struct, frozen=True):
    """The file: how its key is derived, and what is sealed with it, in base64."""

    format: str
    backup: str
    cost: int
    salt: str
    nonce: str
    sealed: str = ""


def seal(secrets: dict[str, str], passphrase: Secret, backup: str) -> bytes:
    """Return the file's content. Raise BackupFailed for a passphrase that anybody could guess."""
    if len(passphrase.reveal()) < LEAST_PASSPHRASE:
        raise BackupFailed(f"The passphrase has fewer than {LEAST_PASSPHRASE} characters.")
    salt, nonce = ids.random_bytes(16), ids.random_bytes(12)
    head = SealedKeys("tollgate-keys-1", backup, COST, _text(salt), _text(nonce))
    key = _derive(passphrase, salt, COST)
    sealed = AESGCM(key).encrypt(nonce, msgspec.json.encode(secrets), _bound_to(head))
    return msgspec.json.encode(structs.replace(head, sealed=_text(sealed)))


def unseal(content: bytes, passphrase: Secret, backup: str) -> dict[str, str]:
    """Return the secrets. Raise BackupFailed."""
    try:
        found = msgspec.json.decode(content, type=SealedKeys)
        salt, nonce, sealed = (_bytes(text) for text in (found.salt, found.nonce, found.sealed))
    except (msgspec.MsgspecError, binascii.Error) as error:
        raise BackupFailed(f"The file of keys cannot be read: {error}.") from error
    if found.backup != backup:
        raise BackupFailed(f"The keys are those of the backup {found.backup!r}, not of {backup!r}.")
    is_known = found.format == "tollgate-keys-1" and 1 < found.cost <= MOST_COST
    if not is_known or found.cost & (found.cost - 1) or len(nonce) != 12:
        raise BackupFailed("The keys were sealed in a way this version does not know.")
    try:
        key = _derive(passphrase, salt, found.cost)
        plain = AESGCM(key).decrypt(nonce, sealed, _bound_to(found))
        return msgspec.json.decode(plain, type=dict[str, str])
    except (InvalidTag, msgspec.MsgspecError) as error:
        raise BackupFailed(
            "The keys cannot be opened: the passphrase is another one, or the file was changed."
        ) from error


def _derive(passphrase: Secret, salt: bytes, cost: int) -> bytes:
    scrypt = Scrypt(salt=salt, length=32, n=cost, r=BLOCK_SIZE, p=PARALLEL)
    return scrypt.derive(passphrase.reveal().encode())


def _bound_to(head: SealedKeys) -> bytes:
    return msgspec.json.encode(structs.replace(head, sealed=""))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
