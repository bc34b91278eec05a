"""Delete events that have been kept long enough, up to a signed checkpoint, once they were verified.

What is left is as verifiable as before: it begins with an event that is chained to the checkpoint's hash.
The triggers let no other event go.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from gateway_project.lib import clock
from tenants.audit import checkpoints, events, verifying
from tenants.models import AuditChain, AuditCheckpoint, AuditEvent

logger = logging.getLogger("tollgate.audit")

BATCH = 1_000


def prune() -> Iterator[None]:
    """Prune every chain. TOLLGATE_AUDIT_DAYS=0 keeps everything."""
    if settings.AUDIT_DAYS == 0:
        return
    before = clock.now() - timedelta(days=settings.AUDIT_DAYS)
    for number in AuditChain.objects.order_by("chain").values_list("chain", flat=True):
        yield from prune_chain(number, before)


def prune_chain(number: int, before: datetime) -> Iterator[None]:
    """Delete what the last checkpoint from before this instant covers; a damaged chain is left alone."""
    if (through := _may_prune_through(number, before)) and not _move(number, through):
        return
    while _delete_some(number):
        yield
    yield


def _may_prune_through(number: int, before: datetime) -> AuditCheckpoint | None:
    """Return the newest checkpoint that is old enough and not yet pruned to."""
    pruned = AuditChain.objects.values_list("pruned_sequence", flat=True).get(chain=number)
    old = AuditCheckpoint.objects.filter(chain=number, sequence__gt=pruned, at__lt=before)
    return old.order_by("-sequence").first()


def _move(number: int, through: AuditCheckpoint) -> bool:
    """Let the events up to this checkpoint go, if they are what was signed."""
    verdict = verifying.verify(number)
    is_genuine = checkpoints.is_genuine(through, checkpoints.keyring())
    if not verdict.is_whole or not is_genuine:
        problem = verdict.problem or "the signature of the checkpoint cannot be confirmed"
        logger.error("audit chain %d is not pruned: %s", number, problem)
        return False
    with transaction.atomic():
        AuditChain.objects.filter(chain=number).update(pruned_sequence=through.sequence)
        events.record(
            "audit.pruned",
            tenant_id=number or None,
            details={"through_sequence": through.sequence, "signed_at": through.at},
        )
    return True


def _delete_some(number: int) -> bool:
    """Delete a batch of what may go; return whether there may be more."""
    end = AuditChain.objects.get(chain=number)
    gone = AuditEvent.objects.filter(chain=number, sequence__lte=end.pruned_sequence)
    ids = list(gone.order_by("sequence").values_list("pk", flat=True)[:BATCH])
    AuditEvent.objects.filter(pk__in=ids).delete()
    return len(ids) == BATCH
