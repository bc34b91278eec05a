"""Do billing's periodic work. Its schedule is in responses_api/jobs.py."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from gateway_project.lib import clock
from tenants.billing import credits as prepaid
from tenants.billing import periods, retention, rollups, selfcheck
from tenants.models import DirtyHour, SumsBackfill

logger = logging.getLogger("tollgate.billing")


def is_anything_to_sum() -> bool:
    return DirtyHour.objects.exists()


def sum_usage() -> Iterator[None]:
    while rollups.recompute_dirty(rollups.MARKS_AT_ONCE) >= rollups.MARKS_AT_ONCE:
        yield


def is_anything_to_backfill() -> bool:
    return SumsBackfill.objects.exists()


def backfill_sums() -> Iterator[None]:
    """Sum rows from before there were sums by model or by end user, a day a step."""
    while rollups.backfill():
        yield


def close_periods() -> Iterator[None]:
    if closed := periods.advance_all():
        logger.info("%d billing periods closed", closed)
    yield


def expire_credits() -> Iterator[None]:
    prepaid.expire()
    yield


def purge_usage() -> Iterator[None]:
    work = retention.RowPurge(retention.move_horizon(clock.now()))
    while work.step():
        yield


def check_books() -> Iterator[None]:
    for sentence in selfcheck.examine():
        logger.error("the books do not agree: %s", sentence)
    yield
