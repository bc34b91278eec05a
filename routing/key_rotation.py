"""Rotate the key-encryption keys: add a new first key, then seal every secret with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ValidationError

from gateway_project.lib import keyring
from gateway_project.lib.env import environment
from routing import credentials
from tenants.keys import fingerprints

VARIABLE = "TOLLGATE_KEY_ENCRYPTION_KEYS"
_NUMBERED = re.compile(r"k(\d{1,9})\Z")


@dataclass(frozen=True, slots=True)
class Rotation:
    """The key now in use and how many secrets were sealed anew."""

    key_id: str
    rewrapped: int


def rotate(*rewrap: Callable[[], int], new_key: bool) -> Rotation:
    """Seal every secret with the current key, a fresh one if asked for. Safe to repeat.

    Each function in `rewrap` does so for one table and returns how many it changed. Old keys stay in the
    file: a secret restored from a backup may still need them.
    """
    if new_key:
        _add_key()
    else:
        credentials.keyring().reload()
    rewrapped = sum(rewrap_table() for rewrap_table in rewrap)
    fingerprints.confirm(fingerprints.ENCRYPTION, credentials.keyring())
    return Rotation(credentials.keyring().current[0], rewrapped)


def _add_key() -> None:
    if environment.secret(VARIABLE) is not None:
        raise ValidationError(
            {
                "new-key": f"The keys come from {VARIABLE}; put a new first key there, restart, then "
                "run rotate_secrets without --new-key."
            }
        )
    ring = credentials.keyring()  # makes the file if there is none yet
    path = settings.DATA_DIR / settings.KEY_ENCRYPTION_KEYS_FILE
    taken = {*ring.all(), *fingerprints.known_ids(fingerprints.ENCRYPTION)}
    keyring.add_key(path, _next_id(taken))
    ring.reload()


def _next_id(known: Iterable[str]) -> str:
    numbers = [int(match[1]) for key_id in known if (match := _NUMBERED.match(key_id))]
    return f"k{max(numbers, default=0) + 1}"
