"""Join events into chains: each has a number, and a hash over itself and the hash before it.

An event is written in the transaction of the change it tells of, without waiting for anybody. It gets its
place right after the commit, in a short transaction of its own that holds nothing but the end of its chain.
So no writer waits for another's transaction, no lock of the log meets one of the ledger, and numbers follow
the order in which events became visible: who reads on from a number misses none. A job joins what a process
left behind that died between the two.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from django.db import connection, transaction

from tenants.audit import values
from tenants.models.audit import AuditChain, AuditEvent

logger = logging.getLogger("tollgate.audit")

AT_ONCE = 500
START = "0" * 64  # the hash before a chain's first event


def content(event: AuditEvent) -> dict[str, Any]:
    """Return what is hashed, and exported: everything but the hash itself."""
    return {
        "id": str(event.pk),
        "tenant": event.tenant_id,
        "sequence": event.sequence,
        "at": values.instant(event.at),
        "actor": {"kind": event.actor_kind, "id": event.actor_id, "name": event.actor_name},
        "address": event.address,
        "reason": event.reason,
        "action": event.action,
        "object": {
            "type": event.object_type,
            "id": event.object_id,
            "name": event.object_name,
        },
        "changes": values.parsed(event.changes),
        "details": values.parsed(event.details),
        "previous_hash": event.previous_hash,
    }


def digest(event: AuditEvent) -> str:
    """Return SHA-256 over the canonical form."""
    return hashlib.sha256(values.canonical(content(event)).encode()).hexdigest()


def join_after_commit(chains: Iterable[int]) -> None:
    """Join what the running transaction writes into these chains once it is committed; without one, now."""
    for number in set(chains):
        join = _joining(number)
        # Once a transaction, and once more if a savepoint took the first promise back with it.
        if not any(hook[1] is join for hook in connection.run_on_commit):
            transaction.on_commit(join, robust=True)


@lru_cache(maxsize=10_000)
def _joining(number: int) -> Callable[[], None]:
    """Return the function that joins one chain; the same one each time, so that it can be recognized."""

    def join() -> None:
        join_chain(number)

    return join


def is_any_pending() -> bool:
    return AuditEvent.objects.filter(sequence=None).exists()


def join_pending() -> None:
    """Give every committed event that has none its place."""
    pending = AuditEvent.objects.filter(sequence=None).order_by("chain")
    for number in list(pending.values_list("chain", flat=True).distinct()):
        join_chain(number)


def join_chain(number: int) -> None:
    while join_some(number) == AT_ONCE:
        pass


@transaction.atomic
def join_some(number: int) -> int:
    """Join the oldest events of a chain; return how many."""
    end, _ = AuditChain.objects.select_for_update().get_or_create(chain=number)
    pending = AuditEvent.objects.filter(chain=number, sequence=None).order_by("id")
    events = list(pending[:AT_ONCE])
    for event in events:
        event.sequence = end.last_sequence + 1
        event.previous_hash = end.last_hash or START
        event.hash = digest(event)
        end.last_sequence, end.last_hash = event.sequence, event.hash
    if events:
        _store_places(events)
        end.save(update_fields=["last_sequence", "last_hash"])
    return len(events)


def _store_places(events: Iterable[AuditEvent]) -> None:
    pk = AuditEvent._meta.pk
    rows = [
        (
            event.sequence,
            event.previous_hash,
            event.hash,
            pk.get_db_prep_value(event.pk, connection, prepared=False),
        )
        for event in events
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE tenants_auditevent SET sequence = %s, previous_hash = %s, hash = %s WHERE id = %s",
            rows,
        )
