"""Write events of the audit log into the running transaction."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Model

from gateway_project.lib import actor as actors
from gateway_project.lib import ids
from gateway_project.lib.actor import Actor
from tenants.audit import chain, registry, values
from tenants.audit.values import text
from tenants.models.audit import PLATFORM, AuditEvent

# What is no change of a row. Those of rows are `<name>.created`, `.changed` and `.deleted` (registry.py).
ACTIONS = (
    "sign_in.succeeded",
    "sign_in.failed",
    "sign_in.ended",
    "session.ended",
    "membership.kept",
    "api_key.secret_shown",
    "webhook_endpoint.secret_shown",
    "webhook_endpoint.tested",
    "response.read",
    "response.listed",
    "response.deleted",
    "response.cancelled",
    "conversation.read",
    "conversation.listed",
    "conversation.deleted",
    "request.stopped",
    "circuit.reset",
    "playground.opened",
    "billing_period.closed",
    "usage.exported",
    "task.asked",
    "task.confirmed",
    "task.discarded",
    "stored.purged",
    "invoice.exported",
    "audit.exported",
    "audit.pruned",
    "backup.made",
    "backup.restored",
)


def record(
    action: str,
    *,
    tenant_id: int | None = None,
    row: Model | None = None,
    object_type: str = "",
    object_id: object = "",
    object_name: object = "",
    details: Mapping[str, Any] | None = None,
    actor: Actor | None = None,
) -> None:
    """Record something that is no change of a row, in the running transaction.

    The event goes into the chain of `tenant_id`, or else the platform's. `row` fills in type, id and name of
    the object. `details` must hold no secret; text in it is cut and scrubbed.
    """
    if action not in ACTIONS:
        raise ValueError(f"Add {action!r} to ACTIONS, from which the console offers its filter.")
    if row is not None:
        object_type, object_id, object_name = type_of(row), row.pk, row
    write([
        event(
            action,
            tenant_id,
            (object_type, object_id, object_name),
            details=values.canonical({k: values.plain(v) for k, v in (details or {}).items()}),
            actor=actor,
        )
    ])  # fmt: skip


def event(
    action: str,
    tenant_id: int | None,
    about: tuple[str, object, object],
    *,
    changes: str = "{}",
    details: str = "{}",
    actor: Actor | None = None,
) -> AuditEvent:
    """Return an event that is not stored yet; `about` is the object's type, id and name."""
    who = actor or actors.current()
    object_type, object_id, object_name = about
    return AuditEvent(
        id=next_id(),
        chain=PLATFORM if tenant_id is None else tenant_id,
        tenant_id=tenant_id,
        actor_kind=who.kind,
        actor_id=text(who.id, 200),
        actor_name=text(who.name, 200),
        address=text(who.address, 64),
        reason=text(who.reason, 300),
        action=action,
        object_type=object_type,
        object_id=text(object_id, 64),
        object_name=text(object_name, 300),
        changes=changes,
        details=details,
    )


def write(events: Sequence[AuditEvent]) -> None:
    """Store events in the running transaction, and give them their places once it is committed."""
    if events:
        AuditEvent.objects.bulk_create(events)
        chain.join_after_commit(event.chain for event in events)


def next_id() -> UUID:
    """Return an id above this process's last one of the same millisecond: what one transaction does is told
    in the order in which it did it."""
    with _ids_lock:
        fresh = ids.uuid7()
        if fresh.int >> 80 == _last_id[0].int >> 80:
            fresh = max(fresh, UUID(int=_last_id[0].int + 1))
        _last_id[0] = fresh
    return fresh


_ids_lock = threading.Lock()
_last_id = [UUID(int=0)]


def type_of(row: Model) -> str:
    told = registry.of(type(row))
    return told.name if told else str(row._meta.model_name)
