"""Encrypt secrets at rest: AES-256-GCM, bound to the row that holds them.

A sealed value is `v1.<key id>.<nonce>.<ciphertext>` (base64url). The associated data names table, column,
tenant and row, so that a ciphertext copied into another row cannot be opened there.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway_project.lib import ids
from gateway_project.lib.keyring import Keyring
from gateway_project.lib.secret import Secret

NONCE_BYTES = 12


class SealError(ValueError):
    """A sealed value cannot be opened: it is damaged, was moved from another row, or its key is gone."""


def seal(secret: Secret, bound_to: str, keyring: Keyring) -> str:
    """Encrypt for the place named by `bound_to` with the keyring's current key."""
    key_id, key = keyring.current
    nonce = ids.random_bytes(NONCE_BYTES)
    ciphertext = AESGCM(key).encrypt(nonce, secret.reveal().encode(), bound_to.encode())
    return ".".join(("v1", key_id, _encode(nonce), _encode(ciphertext)))


def unseal(sealed: str, bound_to: str, keyring: Keyring) -> Secret:
    """Decrypt. Raise SealError, or KeyringError when the key is missing. Never falls open."""
    version, key_id, nonce, ciphertext = _fields(sealed)
    if version != "v1":
        raise SealError("Sealed with an unknown version.")
    key = keyring.get(key_id)
    try:
        plain = AESGCM(key).decrypt(_decode(nonce), _decode(ciphertext), bound_to.encode())
    except (InvalidTag, binascii.Error, ValueError) as error:
        raise SealError("The sealed value is damaged or belongs to another row.") from error
    return Secret(plain.decode())


def key_id_of(sealed: str) -> str:
    """Return the id of the key a sealed value was made with."""
    return _fields(sealed)[1]


def _fields(sealed: str) -> list[str]:
    fields = sealed.split(".")
    if len(fields) != 4:
        raise SealError("Not a sealed value.")
    return fields


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Decode strictly what `_encode` wrote.

    Python's decoder overlooks strange characters and spare bits, but a sealed value that was changed
    anywhere must not open.
    """
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(raw) != text:
        raise SealError("The sealed value is damaged.")
    return raw
