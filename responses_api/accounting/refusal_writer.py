"""Write refused requests into the spool, so that a flood of them cannot fill the ledger.

Of each key and error the first few of a minute are written one by one; the rest only count.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from responses_api.accounting.spool_writer import SpoolWriter
from tenants.ledger.records import Refused, RefusedMore

SINGLY_A_MINUTE = 20
# Of all requests without a known key together: anybody can make up ids of keys.
STRANGERS_A_MINUTE = 200
FLUSH_SECONDS = 5.0
# Ids of keys that are counted apart until the next flush. Further ones are counted without an id.
MAX_CLAIMED = 500
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


class RefusalSubject(NamedTuple):
    """The key and the error that refusals are counted by."""

    tenant_id: int
    key_id: int
    key: str
    claimed: str
    code: str


class RefusalWriter:
    """The refusals of one worker. Nothing runs while nothing is refused."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spool_writer: SpoolWriter) -> None:
        self._loop = loop
        self._spool_writer = spool_writer
        self._minute = 0
        self._singly: dict[RefusalSubject, int] = {}
        self._strangers = 0
        self._more: dict[tuple[int, RefusalSubject], int] = {}
        self._claimed = 0
        self._timer: asyncio.TimerHandle | None = None

    def write(self, refused: Refused) -> None:
        """Write the record, or count it."""
        subject = RefusalSubject(
            refused.tenant_id, refused.key_id, refused.key, refused.claimed, refused.code
        )
        is_single = self._may_stand_singly(subject, refused.at_ms // MINUTE_MS)
        if not (is_single and self._spool_writer.refuse(refused)):
            self._count(subject, refused.at_ms // HOUR_MS)

    def flush(self) -> None:
        """Write down what was counted. What the spool does not take now is kept for the next time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for (hour, subject), count in list(self._more.items()):
            record = RefusedMore(
                at_ms=hour * HOUR_MS,
                code=subject.code,
                count=count,
                tenant_id=subject.tenant_id,
                key_id=subject.key_id,
                key=subject.key,
                claimed=subject.claimed,
            )
            if not self._spool_writer.refuse(record):
                self._start_timer()
                return
            del self._more[hour, subject]
        self._claimed = 0

    def _may_stand_singly(self, subject: RefusalSubject, minute: int) -> bool:
        if minute != self._minute:
            self._minute, self._strangers = minute, 0
            self._singly.clear()
        if not subject.key:
            if self._strangers >= STRANGERS_A_MINUTE:
                return False
            self._strangers += 1
        so_far = self._singly.get(subject, 0)
        self._singly[subject] = so_far + 1
        return so_far < SINGLY_A_MINUTE

    def _count(self, subject: RefusalSubject, hour: int) -> None:
        if (hour, subject) not in self._more and subject.claimed:
            if self._claimed >= MAX_CLAIMED:
                subject = subject._replace(claimed="")
            else:
                self._claimed += 1
        self._more[hour, subject] = self._more.get((hour, subject), 0) + 1
        self._start_timer()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_SECONDS, self._flush_due)

    def _flush_due(self) -> None:
        self._timer = None
        self.flush()
