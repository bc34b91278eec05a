"""Deleting rows of the ledger that have been kept long enough; their sums and invoices stay.

Rows go once they are older than TOLLGATE_USAGE_DAYS, but never those from after the beginning of any period
that is not finalized: one horizon, which the trigger on the table looks at, is moved first.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Min

from gateway_project.lib import clock
from tenants.billing.instants import floor_day
from tenants.models import BillingPeriod, DirtyHour, RetentionHorizon, UsageRow

TABLE = "usage"
BATCH = 2_000
# Between steps, so that who waits for SQLite's only write lock gets it.
PAUSE_SECONDS = 0.02


def purge(now: datetime | None = None, batch: int = BATCH) -> int:
    """Move the horizon, then delete what lies before it; how many rows that was."""
    work = Purge(move_horizon(now or clock.now()), batch)
    while work.step():
        time.sleep(PAUSE_SECONDS)
    return work.purged


class Purge:
    """A purge under way: call `step` until it says that nothing is left. Each is a short transaction."""

    def __init__(self, before: datetime, batch: int = BATCH) -> None:
        self.purged = 0
        self._before = before
        self._batch = batch

    def step(self) -> bool:
        old = UsageRow.objects.filter(opened_at__lt=self._before).order_by("opened_at")
        with transaction.atomic():
            pks = list(old.values_list("pk", flat=True)[: self._batch])
            UsageRow.objects.filter(pk__in=pks)._raw_delete("default")
        self.purged += len(pks)
        return len(pks) == self._batch


def move_horizon(now: datetime) -> datetime:
    """The instant before which rows may go. It never goes back, and never beyond what is not summed."""
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
