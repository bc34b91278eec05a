"""Hold the key-encryption keys that seal what must not lie in the database in the clear."""

from __future__ import annotations

from functools import cache

from django.conf import settings

from gateway_project.lib.keyring import Keyring


@cache
def keyring() -> Keyring:
    """Return the key-encryption keys, read once a process (an unknown id reads them again)."""
    ring: Keyring = settings.KEY_ENCRYPTION_KEYS()
    return ring
