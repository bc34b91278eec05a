"""Delete rows of the ledger that have been kept long enough; their invoices and sums stay, but for those that
name end users.

Rows may go once they are older than TOLLGATE_USAGE_DAYS, but none from after the beginning of a period
that is not finalized: one horizon, which the table's trigger checks, is moved first. On PostgreSQL a
whole month goes at once, when the last of its rows may; elsewhere rows are deleted in batches.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Min

from gateway_project.lib import clock
from gateway_project.lib.jobs import PAUSE_SECONDS
from tenants.billing import end_user_sums
from tenants.billing.instants import floor_day
from tenants.ledger import partitions
from tenants.models import BillingPeriod, DirtyHour, RetentionHorizon

logger = logging.getLogger("tollgate.billing")

TABLE = "usage"
BATCH = 2_000


def purge(now: datetime | None = None, batch: int = BATCH) -> int:
    """Move the horizon, then delete what lies before it; return how many rows were deleted individually."""
    work = RowPurge(move_horizon(now or clock.now()), batch)
    while work.step():
        time.sleep(PAUSE_SECONDS)
    return work.purged


class RowPurge:
    """A purge in progress: call `step` until it reports that nothing is left. Each step is a short
    transaction.
    """

    def __init__(self, before: datetime, batch: int = BATCH) -> None:
        self.purged = 0
        self._before = before
        self._batch = batch
        self._may_drop = True

    def step(self) -> bool:
        """Drop one month or delete one batch."""
        if self._may_drop:
            drop = partial(partitions.drop_before, self._before, self._batch)
            name = partitions.attempt(drop)
            self._may_drop = name is not None
            if name is not None:
                logger.info("usage from before %s is deleted: all of %s", self._before.date(), name)
            return True
        most = max(self._delete(table) for table in partitions.deleted_by_row())
        named = end_user_sums.delete_before(self._before, self._batch)
        return most == self._batch or named >= self._batch

    def _delete(self, table: str) -> int:
        with transaction.atomic():
            count = partitions.delete_before(self._before, table, self._batch)
        self.purged += count
        return count


def move_horizon(now: datetime) -> datetime:
    """Return the instant before which rows may go, after moving it.

    It never goes back, and never beyond what is not summed.
    """
    before = floor_day(now - timedelta(days=settings.USAGE_DAYS))
    unfinished = BillingPeriod.objects.exclude(state=BillingPeriod.State.FINALIZED)
    bounds = (
        before,
        unfinished.aggregate(at=Min("starts_at"))["at"],
        DirtyHour.objects.aggregate(at=Min("hour"))["at"],
    )
    before = floor_day(min(bound for bound in bounds if bound is not None))
    horizon, is_new = RetentionHorizon.objects.get_or_create(
        table=TABLE, defaults={"before": before}
    )
    if not is_new and horizon.before < before:
        RetentionHorizon.objects.filter(pk=horizon.pk, before__lt=before).update(before=before)
        horizon.before = before
    return horizon.before
