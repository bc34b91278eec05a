"""Hand events on to a receiver outside, at least once, and in the order of their chain.

The position of each chain moves only after the receiver took what came before it. An event gets its number
after its commit, so none can turn up behind a position. Where two processes send the same, the position
moves once, and the receiver has it twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db.models import F, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from gateway_project.lib import syslog
from tenants.audit import export
from tenants.models import AuditChain, AuditEvent, AuditPosition
from tenants.reports import audit as reports

logger = logging.getLogger("tollgate.audit")

SYSLOG = "syslog"
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one chain that a receiver does not have yet."""

    receiver: str
    chain: int
    after: int
    events: list[AuditEvent]


def next_batch(receiver: str, number: int) -> Batch | None:
    """Return what comes next in a chain; None if the receiver has everything."""
    position, _ = AuditPosition.objects.get_or_create(receiver=receiver, chain=number)
    events = reports.following(number, position.sequence, AT_ONCE)
    return Batch(receiver, number, position.sequence, events) if events else None


def advance(batch: Batch) -> None:
    """Move the position behind a batch that was taken."""
    as_read = AuditPosition.objects.filter(
        receiver=batch.receiver, chain=batch.chain, sequence=batch.after
    )
    as_read.update(sequence=batch.events[-1].sequence)


def behind(receiver: str) -> list[int]:
    """Return the chains with events that the receiver does not have."""
    had = AuditPosition.objects.filter(receiver=receiver, chain=OuterRef("chain"))
    ends = AuditChain.objects.annotate(had=Coalesce(Subquery(had.values("sequence")[:1]), Value(0)))
    return list(ends.filter(last_sequence__gt=F("had")).values_list("chain", flat=True))


def is_syslog_behind() -> bool:
    return settings.AUDIT_SYSLOG is not None and bool(behind(SYSLOG))


def send_to_syslog() -> Iterator[None]:
    """Send to the syslog receiver what it does not have. If it is away, the next round tries again."""
    if (address := settings.AUDIT_SYSLOG) is None:
        return
    for number in behind(SYSLOG):
        while (batch := next_batch(SYSLOG, number)) is not None:
            try:
                syslog.send(address, _messages(batch))
            except OSError as error:
                logger.warning("the audit log's syslog receiver does not take events: %s", error)
                return
            advance(batch)
            yield


def _messages(batch: Batch) -> list[bytes]:
    return [syslog.message(event.at, event.action, export.line(event)) for event in batch.events]
