"""Notice that this host's key files are not the ones the database was used with.

The database knows each key by its id and a one-way digest under the key itself, which shows whether a key
is the same and nothing about what it is. A rotation adds a key beside the old ones: a host belongs to
this database as long as none of its keys has another digest and at least one is known.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from gateway_project.lib.keyring import Keyring, KeyringError
from tenants.models import KeyFingerprint

PEPPER = KeyFingerprint.Kind.PEPPER
ENCRYPTION = KeyFingerprint.Kind.ENCRYPTION
_USE = {PEPPER: "API keys", ENCRYPTION: "stored credentials"}
_VARIABLE = {PEPPER: "TOLLGATE_KEY_PEPPERS", ENCRYPTION: "TOLLGATE_KEY_ENCRYPTION_KEYS"}


class ForeignKeys(KeyringError):
    """This host's keys are not this database's; the message says what to do."""


def confirm(kind: KeyFingerprint.Kind, ring: Keyring) -> None:
    """Note the keys that are new here. Raise ForeignKeys before anything is made that others cannot read."""
    known = _read_known(kind)
    refuse_foreign(kind, ring, known)
    new = [
        KeyFingerprint(kind=kind, key_id=key_id, digest=digest)
        for key_id, digest in digests(kind, ring.all()).items()
        if key_id not in known
    ]
    if new:
        KeyFingerprint.objects.bulk_create(new, ignore_conflicts=True)
        refuse_foreign(kind, ring, _read_known(kind))  # another host may have been first


def refuse_foreign(
    kind: KeyFingerprint.Kind, ring: Keyring, known: dict[str, str] | None = None
) -> None:
    """Check without writing. Raise ForeignKeys."""
    known = _read_known(kind) if known is None else known
    ours = digests(kind, ring.all())
    shared = ours.keys() & known.keys()
    different = sorted(key_id for key_id in shared if ours[key_id] != known[key_id])
    if different:
        raise ForeignKeys(
            _sentence(kind, ring, f"the key {different[0]!r} of {ring.name} is a different one")
        )
    if known and not shared:
        names = ", ".join(repr(key_id) for key_id in sorted(known))
        raise ForeignKeys(_sentence(kind, ring, f"{ring.name} has none of its keys ({names})"))


def known_by_kind() -> dict[KeyFingerprint.Kind, dict[str, str]]:
    """Return the digests the database knows of keys of each kind, by their ids."""
    found: dict[KeyFingerprint.Kind, dict[str, str]] = {kind: {} for kind in KeyFingerprint.Kind}
    for kind, key_id, digest in KeyFingerprint.objects.values_list("kind", "key_id", "digest"):
        found[KeyFingerprint.Kind(kind)][key_id] = digest
    return found


def known_ids(kind: KeyFingerprint.Kind) -> list[str]:
    """Return the ids of all keys the database was used with, here or elsewhere."""
    return list(_read_known(kind))


def accept(kind: KeyFingerprint.Kind, ring: Keyring) -> None:
    """Accept this host's keys as the database's from now on, and forget all others."""
    KeyFingerprint.objects.filter(kind=kind).delete()
    confirm(kind, ring)


def _sentence(kind: KeyFingerprint.Kind, ring: Keyring, what: str) -> str:
    return (
        f"This host cannot read the {_USE[kind]} in the database: {what}. Give it the keys of the hosts "
        f"that used the database before ({_VARIABLE[kind]}, or the file in the data directory); if those are "
        "lost for good, run manage.py accept_keys."
    )


def _read_known(kind: KeyFingerprint.Kind) -> dict[str, str]:
    return dict(KeyFingerprint.objects.filter(kind=kind).values_list("key_id", "digest"))


def digests(kind: str, keys: Mapping[str, bytes]) -> dict[str, str]:
    """Return the fingerprint of each key, by its id."""
    return {
        key_id: hmac.digest(
            key, f"tollgate key fingerprint|{kind}|{key_id}".encode(), "sha256"
        ).hex()
        for key_id, key in keys.items()
    }
