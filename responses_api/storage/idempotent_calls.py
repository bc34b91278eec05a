"""Store the calls behind Idempotency-Keys: who runs each, for how long, and its answer.

A key belongs to whoever inserted its row, or took it over after a failure or from an owner that died, in one
UPDATE that checks both. Every later write names the owner, so that an owner that was overtaken changes
nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db.backends.utils import CursorWrapper
from msgspec import Struct

from gateway_project.lib import clock
from responses_api.models import IdempotentCall
from responses_api.storage.records import moment

State = IdempotentCall.State

LEASE = timedelta(seconds=12)
KEPT = timedelta(hours=24)
FAILURE_KEPT = timedelta(minutes=10)  # only requests that joined the call still ask for it


class KeyClaim(Struct, frozen=True):
    """The request to run the call behind a key; `owner` is unique to it."""

    tenant_id: int
    key_digest: bytes
    request_digest: bytes
    owner: str


class Found(Struct, frozen=True):
    """The call that a claim found behind its key; the claim's own if `owner` is its own."""

    id: int
    tenant_id: int
    owner: str
    is_same_request: bool


class KeyedCallEnd(Struct, frozen=True):
    """The end of a call and its answer. If it failed, its key is free and only the requests that joined it
    are told."""

    http_status: int
    headers: dict[str, str]
    body: bytes
    is_failure: bool


class EndedCall(Struct, frozen=True):
    """The ending of a call, to be written."""

    call: Found
    ending: KeyedCallEnd


class KeyRenewal(Struct, frozen=True):
    """Calls that are still running."""

    calls: list[Found]


class Lost(Exception):
    """The call no longer has an owner, or has another one."""


_INSERT = """
INSERT INTO responses_api_idempotentcall (tenant_id, key_digest, request_digest, state, owner,
    lease_until, http_status, headers, answer, created_at, expires_at)
VALUES (%s, %s, %s, 'running', %s, %s, 0, '{}', %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id
"""
# Because the owner may be the claim's own, claiming again after a lost connection is safe.
_TAKE_OVER = """
UPDATE responses_api_idempotentcall SET request_digest = %s, state = 'running', owner = %s,
    lease_until = %s, http_status = 0, headers = '{}', answer = %s, created_at = %s, expires_at = %s
WHERE tenant_id = %s AND key_digest = %s AND (state = 'failed'
    OR (state = 'running' AND (lease_until < %s OR owner = %s))
    OR (state = 'answered' AND expires_at < %s))
RETURNING id
"""
_FIND = """
SELECT id, owner, request_digest FROM responses_api_idempotentcall
WHERE tenant_id = %s AND key_digest = %s
"""
_END = """
UPDATE responses_api_idempotentcall SET state = %s, http_status = %s, headers = %s, answer = %s,
    expires_at = %s
WHERE id = %s AND owner = %s
"""
_RENEW = """
UPDATE responses_api_idempotentcall SET lease_until = %s
WHERE state = 'running' AND id IN ({ids}) AND owner IN ({owners})
RETURNING owner
"""
MAX_RENEWED = 400  # per statement, because databases limit its parameters


def write_claims(cursor: CursorWrapper, claims: Sequence[KeyClaim]) -> Sequence[Found]:
    """Write the claims of one batch. They take their keys in the same order in every process, so that two
    batches never wait for each other."""
    now = clock.now()
    order = sorted(range(len(claims)), key=lambda n: (claims[n].tenant_id, claims[n].key_digest))
    found = {n: _found(cursor, claims[n], now) for n in order}
    return [found[n] for n in range(len(claims))]


def write_renewals(
    cursor: CursorWrapper, renewals: Sequence[KeyRenewal]
) -> Sequence[frozenset[str]]:
    """Renew leases; return for each record the owners that still have their calls."""
    calls = [call for renewal in renewals for call in renewal.calls]
    until = moment(clock.now() + LEASE)
    renewed: set[str] = set()
    for first in range(0, len(calls), MAX_RENEWED):
        some = calls[first : first + MAX_RENEWED]
        places = ", ".join(["%s"] * len(some))
        owners = [call.owner for call in some]
        statement = _RENEW.format(ids=places, owners=places)
        cursor.execute(statement, (until, *(call.id for call in some), *owners))
        renewed.update(owner for (owner,) in cursor.fetchall())
    return [frozenset(renewed)] * len(renewals)


def write_endings(cursor: CursorWrapper, records: Sequence[EndedCall]) -> Sequence[None]:
    now = clock.now()
    cursor.executemany(_END, [_end_row(record, now) for record in records])
    return [None] * len(records)


def ending_of(call: Found) -> KeyedCallEnd | None:
    """Return how the call ended; None while it runs. Raise Lost."""
    mine = IdempotentCall.objects.filter(
        tenant_id=call.tenant_id, id=call.id, owner=call.owner
    ).order_by()
    standing = mine.values_list("state", "lease_until").first()
    if standing is None:
        raise Lost
    state, lease_until = standing
    if state == State.RUNNING:
        if lease_until < clock.now():
            raise Lost
        return None
    ended = mine.values_list("http_status", "headers", "answer", "state").first()
    if ended is None:
        raise Lost
    http_status, headers, answer, state = ended
    return KeyedCallEnd(http_status, headers, bytes(answer), state == State.FAILED)


def _found(cursor: CursorWrapper, claim: KeyClaim, now: datetime) -> Found:
    """Return the claim's own call, or the one that has its key. A row that is purged between two
    statements leaves the key free, so that the next round gets it."""
    tenant_id, key = claim.tenant_id, claim.key_digest
    times = (moment(now + LEASE), b"", moment(now), moment(now + KEPT))
    lease, nothing, at, expiry = times
    asked = (claim.request_digest, claim.owner)
    while True:
        cursor.execute(_INSERT, (tenant_id, key, *asked, *times))
        row = cursor.fetchone()
        if row is None:
            freed = (at, claim.owner, at)
            own = (*asked, lease, nothing, at, expiry)
            cursor.execute(_TAKE_OVER, (*own, tenant_id, key, *freed))
            row = cursor.fetchone()
        if row is not None:
            return Found(row[0], tenant_id, claim.owner, is_same_request=True)
        cursor.execute(_FIND, (tenant_id, key))
        if (other := cursor.fetchone()) is not None:
            call_id, owner, digest = other
            return Found(call_id, tenant_id, owner, bytes(digest) == claim.request_digest)


def _end_row(record: EndedCall, now: datetime) -> tuple[Any, ...]:
    call, ending = record.call, record.ending
    lifetime = FAILURE_KEPT if ending.is_failure else KEPT
    return (
        State.FAILED.value if ending.is_failure else State.ANSWERED.value,
        ending.http_status,
        orjson.dumps(ending.headers).decode(),
        ending.body,
        moment(now + lifetime),
        call.id,
        call.owner,
    )
