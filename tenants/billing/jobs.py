"""The periodic work of billing, the same whether a gateway or a Celery worker does it.

Each job is done in steps, short where it writes, and may be repeated, late, or done by two at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from gateway_project.lib import clock
from tenants.billing import credits as prepaid
from tenants.billing import periods, retention, rollups, selfcheck
from tenants.models import DirtyHour

logger = logging.getLogger("tollgate.billing")


@dataclass(frozen=True, slots=True)
class Job:
    """`step` does some of the work, and says whether more is left. `is_due` is a cheap look before a turn."""

    name: str
    every: timedelta
    step: Callable[[], bool]
    is_due: Callable[[], bool] = lambda: True


def _is_something_to_sum() -> bool:
    return DirtyHour.objects.exists()


def sum_usage() -> bool:
    return rollups.recompute_dirty(rollups.MARKS_AT_ONCE) >= rollups.MARKS_AT_ONCE


def close_periods() -> bool:
    if closed := periods.advance_all():
        logger.info("%d billing periods closed", closed)
    return False


def expire_credits() -> bool:
    prepaid.expire()
    return False


def purge_usage() -> bool:
    work = retention.Purge(retention.move_horizon(clock.now()))
    return work.step()


def check_books() -> bool:
    for sentence in selfcheck.examine():
        logger.error("the books do not agree: %s", sentence)
    return False


def all_of(step: Callable[[], bool]) -> None:
    while step():
        pass


JOBS: tuple[Job, ...] = (
    Job("sum_usage", timedelta(seconds=5), sum_usage, _is_something_to_sum),
    Job("close_periods", timedelta(hours=1), close_periods),
    Job("expire_credits", timedelta(days=1), expire_credits),
    Job("purge_usage", timedelta(days=1), purge_usage),
    Job("check_books", timedelta(days=1), check_books),
)
