"""Digest API keys: HMAC-SHA-256 under a server-side pepper that is not in the database."""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache

from django.conf import settings

from gateway_project.lib.keyring import Keyring
from gateway_project.lib.secret import Secret


@cache
def keyring() -> Keyring:
    """Return the peppers, read once a process."""
    ring: Keyring = settings.KEY_PEPPERS()
    return ring


def digest(key: Secret | str) -> bytes:
    """Return the 32-byte digest under the current pepper."""
    _, pepper = keyring().current
    return hmac_sha256(pepper, key)


def digests(key: Secret | str) -> dict[bytes, str]:
    """Return the digests under every pepper still known, newest first: digest to pepper id."""
    return {hmac_sha256(pepper, key): pepper_id for pepper_id, pepper in keyring().all().items()}


def hmac_sha256(pepper: bytes, key: Secret | str) -> bytes:
    """Compute RFC 2104 from the two states that depend on the pepper alone.

    Every request needs one, and `hmac.digest` takes two to five times as long, most of it to set itself up.
    """
    text = key.reveal() if isinstance(key, Secret) else key
    inner, outer = _states(pepper)
    hashed, keyed = inner.copy(), outer.copy()
    hashed.update(text.encode())
    keyed.update(hashed.digest())
    return keyed.digest()


@lru_cache(maxsize=16)
def _states(pepper: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    block = hashlib.sha256().block_size
    padded = (hashlib.sha256(pepper).digest() if len(pepper) > block else pepper).ljust(
        block, b"\0"
    )
    inner, outer = (bytes(byte ^ mask for byte in padded) for mask in (0x36, 0x5C))
    return hashlib.sha256(inner), hashlib.sha256(outer)
