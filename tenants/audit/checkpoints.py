"""Sign where each chain is, once a day: who rewrites what came before cannot sign it anew.

The signature is an HMAC-SHA-256 under a key derived from the first key-encryption key, which is not in the
database. Checkpoints name their key, so a rotation changes nothing about older ones.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.db.models import Max

from gateway_project.lib import clock
from gateway_project.lib.keyring import Keyring, KeyringError
from tenants.audit import values
from tenants.keys import fingerprints
from tenants.models import AuditChain, AuditCheckpoint

logger = logging.getLogger("tollgate.audit")

PURPOSE = b"tollgate audit checkpoint"


def keyring() -> Keyring:
    """Return the key-encryption keys as they are now: it is asked for once a day, and to verify."""
    ring: Keyring = settings.KEY_ENCRYPTION_KEYS()
    return ring


def sign_all() -> Iterator[None]:
    """Sign the end of each chain that has grown since its last checkpoint."""
    signed = dict(AuditCheckpoint.objects.order_by().values_list("chain").annotate(Max("sequence")))
    for end in AuditChain.objects.filter(last_sequence__gt=0).order_by("chain"):
        if end.last_sequence > signed.get(end.chain, 0):
            sign(end)
            yield


def sign(end: AuditChain) -> AuditCheckpoint:
    """Sign the end of a chain. Raise ForeignKeys if this host's keys are not the database's."""
    ring, at = keyring(), clock.now()
    fingerprints.confirm(fingerprints.ENCRYPTION, ring)
    key_id, key = ring.current
    signature = _signature(key, end.chain, end.last_sequence, end.last_hash, at)
    checkpoint, _ = AuditCheckpoint.objects.get_or_create(
        chain=end.chain,
        sequence=end.last_sequence,
        defaults={"hash": end.last_hash, "at": at, "key_id": key_id, "signature": signature},
    )
    # Whoever keeps the process's log elsewhere can compare it with the database.
    logger.info(
        "audit checkpoint",
        extra={"chain": end.chain, "sequence": end.last_sequence, "hash": end.last_hash},
    )
    return checkpoint


def is_genuine(checkpoint: AuditCheckpoint, ring: Keyring) -> bool | None:
    """Check the signature; None if its key is not here any more."""
    try:
        key = ring.get(checkpoint.key_id)
    except KeyringError:
        return None
    expected = _signature(
        key, checkpoint.chain, checkpoint.sequence, checkpoint.hash, checkpoint.at
    )
    return hmac.compare_digest(expected, checkpoint.signature)


def _signature(key: bytes, chain: int, sequence: int, found: str, at: datetime) -> str:
    own_key = hmac.digest(key, PURPOSE, hashlib.sha256)
    said = f"{chain}\n{sequence}\n{found}\n{values.instant(at)}"
    return hmac.new(own_key, said.encode(), hashlib.sha256).hexdigest()
