"""Read and write kept answers in the database, sealed for their tenant and key.

An answer is found only while the API key that asked for it is in force: whatever revokes that key, or deletes
or suspends its tenant, takes the answer with it in the same commit.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db.backends.utils import CursorWrapper
from django.db.models import Exists, OuterRef, Sum
from msgspec import Struct

from gateway_project.lib import clock, sealing
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from responses_api.cache import entries
from responses_api.cache.entries import CacheEntry
from responses_api.models import CachedAnswer
from responses_api.storage.records import moment
from tenants.keys.encryption import keyring
from tenants.models import ApiKey, Tenant

logger = logging.getLogger("tollgate.cache")

# So many are deleted in one statement.
BATCH = 500


class AnswerPlace(Struct, frozen=True):
    """The place of an answer: its owner, and until when it may be given again, in seconds since the epoch."""

    key: bytes
    tenant_id: int
    key_id: int
    alias_id: int
    generation: int
    expires_at: float


class SealedAnswer(Struct, frozen=True):
    """An answer as it is written."""

    place: AnswerPlace
    sealed: str
    made_at: float


_INSERT = """
INSERT INTO responses_api_cachedanswer (key, tenant_id, key_id, alias_id, generation, size,
    sealed_answer, created_at, expires_at)
SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s FROM tenants_apikey
    JOIN tenants_tenant ON tenants_tenant.id = tenants_apikey.tenant_id
WHERE tenants_apikey.id = %s AND tenants_apikey.tenant_id = %s
    AND tenants_apikey.revoked_at IS NULL AND tenants_tenant.status = 'active'
ON CONFLICT (key) DO UPDATE SET key_id = excluded.key_id, size = excluded.size,
    sealed_answer = excluded.sealed_answer, created_at = excluded.created_at,
    expires_at = excluded.expires_at
WHERE responses_api_cachedanswer.created_at <= excluded.created_at
"""


def seal(place: AnswerPlace, entry: CacheEntry) -> SealedAnswer:
    """Seal an answer for its place."""
    text = sealing.seal(
        Secret(entries.pack(entry)), _bound_to(place.tenant_id, place.key), keyring()
    )
    return SealedAnswer(place, text, entry.made_at)


def write_answers(cursor: CursorWrapper, records: Sequence[SealedAnswer]) -> Sequence[None]:
    """Write answers, in the same order in every process. One whose key was revoked meanwhile is left out."""
    for record in sorted(records, key=lambda record: record.place.key):
        cursor.execute(_INSERT, _row(record))
    return [None] * len(records)


def _row(record: SealedAnswer) -> tuple[Any, ...]:
    place = record.place
    return (
        place.key,
        place.tenant_id,
        place.key_id,
        place.alias_id,
        place.generation,
        len(record.sealed),
        record.sealed,
        moment(datetime.fromtimestamp(record.made_at, UTC)),
        moment(datetime.fromtimestamp(place.expires_at, UTC)),
        place.key_id,
        place.tenant_id,
    )


def find(tenant_id: int, key: bytes) -> CacheEntry | None:
    """Return a tenant's answer; None if there is none, or none that may be given any more."""
    in_force = ApiKey.objects.filter(
        pk=OuterRef("key_id"),
        tenant=tenant_id,
        revoked_at=None,
        tenant__status=Tenant.Status.ACTIVE,
    )
    found = CachedAnswer.objects.filter(
        Exists(in_force), pk=key, tenant=tenant_id, expires_at__gt=clock.now()
    )
    sealed = found.values_list("sealed_answer", flat=True).first()
    return None if sealed is None else _opened(tenant_id, key, sealed)


def _opened(tenant_id: int, key: bytes, sealed: str) -> CacheEntry | None:
    try:
        text = sealing.unseal(sealed, _bound_to(tenant_id, key), keyring()).reveal()
        return entries.unpack(text)
    except (SealError, KeyringError, msgspec.DecodeError) as error:
        logger.warning("a kept answer cannot be opened: %s", error)
        return None


def _bound_to(tenant_id: int, key: bytes) -> str:
    return f"responses_api_cachedanswer|sealed_answer|{tenant_id}|{key.hex()}"


def trim(tenant_id: int, most_bytes: int) -> int:
    """Delete a tenant's oldest answers until the rest fits, and return how many."""
    mine = CachedAnswer.objects.filter(tenant=tenant_id)
    size = mine.aggregate(size=Sum("size"))["size"] or 0
    deleted = 0
    while size > most_bytes:
        some = list(mine.order_by("created_at").values_list("pk", "size")[:BATCH])
        if not some:
            break
        doomed = []
        for pk, each in some:
            if size <= most_bytes:
                break
            doomed.append(pk)
            size -= each
        deleted += delete(doomed)
    return deleted


def delete(keys: Sequence[Any]) -> int:
    """Delete these answers, and return how many were there."""
    deleted, _ = CachedAnswer.objects.filter(pk__in=list(keys)).delete()
    return deleted
