"""Record what guardrails did: values on their way to rows, written behind the calls' backs.

No text is in a record. The value found stands in it as an HMAC, keyed for its tenant with the newest pepper
of API keys, which is not in the database: equal values of a tenant can be told to be equal, no more.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from django.db.backends.utils import CursorWrapper
from msgspec import Struct

from gateway_project.lib import clock, ids
from gateway_project.lib.writer import Writer
from responses_api.accounting.call_metrics import CallMetrics
from responses_api.models import GuardrailEvent
from tenants.keys import peppers
from tenants.models import TenantDeletion

logger = logging.getLogger("tollgate.guardrails")

# Of one tenant in a worker; a flood of them says nothing that the first do not.
SINGLY_A_MINUTE = 600
# Records that a database which is away keeps waiting.
MOST_WAITING = 5_000
MINUTE_SECONDS = 60.0


class EventRecord(Struct, frozen=True):
    """A row of GuardrailEvent that is to be written."""

    id: UUID
    tenant_id: int
    request_id: str
    key_public_id: str
    at: datetime
    guardrail_id: int
    guardrail: str
    is_platforms: bool
    revision: int
    stage: str
    surface: str
    rule: str
    action: str
    count: int = 1
    offset: int | None = None
    length: int | None = None
    digest: str = ""
    latency_ms: int | None = None
    failure: str = ""


def digest(tenant_id: int, value: str) -> str:
    """Return the keyed digest of a value that was found in a call of this tenant."""
    _, pepper = peppers.keyring().current
    key = hmac.digest(pepper, f"guardrail|{tenant_id}".encode(), "sha256")
    return hmac.digest(key, value.encode("utf-8", "surrogatepass"), "sha256").hex()[:32]


def write_events(cursor: CursorWrapper, records: Sequence[EventRecord]) -> Sequence[None]:
    """Write the rows, each once, but none of a tenant that is deleted."""
    tenants = {each.tenant_id for each in records}
    deleted = TenantDeletion.objects.filter(tenant__in=tenants).order_by()
    gone = set(deleted.values_list("tenant_id", flat=True))
    names = EventRecord.__struct_fields__
    rows = [
        GuardrailEvent(**{name: getattr(each, name) for name in names})
        for each in records
        if each.tenant_id not in gone
    ]
    GuardrailEvent.objects.bulk_create(rows, ignore_conflicts=True)
    return [None] * len(records)


class EventWriter:
    """The events of one worker, so many a minute and tenant; what is beyond is counted in the log."""

    def __init__(self, writer: Writer, metrics: CallMetrics) -> None:
        self._writer = writer
        self._metrics = metrics
        self._minute = 0
        self._singly: dict[int, int] = {}
        # Each is counted up by one thread alone.
        self._posted = self._written = 0
        self._dropped = 0

    def write(self, record: EventRecord) -> None:
        """Write a record that nobody waits for."""
        is_ours = record.is_platforms
        self._metrics.guardrail(record.guardrail, record.action, is_platforms=is_ours)
        minute = int(clock.monotonic() / MINUTE_SECONDS)
        if minute != self._minute:
            self._begin(minute)
        so_far = self._singly.get(record.tenant_id, 0)
        is_full = self._posted - self._written >= MOST_WAITING
        if so_far >= SINGLY_A_MINUTE or is_full:
            self._dropped += 1
            return
        self._singly[record.tenant_id] = so_far + 1
        self._posted += 1
        self._writer.post(record, self._note_written)

    def _note_written(self, _: object) -> None:
        """Count a record that is written, or lost; called in the writer's thread."""
        self._written += 1

    def _begin(self, minute: int) -> None:
        if self._dropped:
            logger.warning("%d guardrail events were too many to be written", self._dropped)
        self._minute, self._dropped = minute, 0
        self._singly.clear()


def new_id() -> tuple[UUID, datetime]:
    """Return the id of a record made now, and the instant."""
    return ids.uuid7(), datetime.fromtimestamp(clock.timestamp(), UTC)
