"""Digests of API keys: HMAC-SHA-256 under a server-side pepper that is not in the database."""

from __future__ import annotations

import hmac
from functools import cache

from django.conf import settings

from gateway_project.lib.keyring import Keyring
from gateway_project.lib.secret import Secret


@cache
def keyring() -> Keyring:
    """The peppers, read once a process."""
    ring: Keyring = settings.KEY_PEPPERS()
    return ring


def digest(key: Secret | str) -> bytes:
    """Under the current pepper; 32 bytes."""
    _, pepper = keyring().current
    return _hmac(pepper, key)


def digests(key: Secret | str) -> dict[bytes, str]:
    """Under every pepper still known, newest first: digest to pepper id."""
    return {_hmac(pepper, key): pepper_id for pepper_id, pepper in keyring().all().items()}


def _hmac(pepper: bytes, key: Secret | str) -> bytes:
    text = key.reveal() if isinstance(key, Secret) else key
    return hmac.digest(pepper, text.encode(), "sha256")
