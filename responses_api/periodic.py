"""Embedded mode: each worker process does the periodic work itself, beside its requests (ADR 8).

Several processes may deliver webhooks at the same time, because each delivery is claimed; of the jobs that
are pointless twice, one process takes each turn by compare-and-set on the job's row.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from django.db import connections

from gateway_project.lib import aio, clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from responses_api import budget_news
from responses_api.models import PeriodicJob
from responses_api.storage import retention
from responses_api.webhooks import delivery
from tenants.billing import jobs
from tenants.billing.jobs import Job

logger = logging.getLogger("tollgate.periodic")

LOOK_SECONDS = 1.0
# One look for webhooks goes on while earlier ones wait for receivers that are slow.
DELIVERIES_AT_ONCE = 4
PURGE_EVERY = timedelta(hours=1)
PURGE_LOOK_SECONDS = 60.0
STEP_SECONDS = 10.0


class Periodic:
    """The periodic work of one worker process; does nothing unless `mode` is `embedded`."""

    def __init__(self, mode: str) -> None:
        self._embedded = mode == "embedded"
        self._loop: asyncio.Task[None] | None = None
        self._deliveries: set[asyncio.Task[None]] = set()
        self._purging: asyncio.Task[None] | None = None
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._jobs_look_at: dict[str, float] = {}
        self._is_stopping = False
        self._purge_look_at = clock.monotonic()

    def start(self) -> None:
        if self._embedded:
            self._loop = aio.hold(self._run(), "periodic")

    async def stop(self) -> None:
        """What is cut off is done again: a delivery when its lease is over, a purge in an hour."""
        for task in (self._loop, self._purging, *self._deliveries):
            await aio.end(task)
        self._loop = None
        self._is_stopping = True
        # A step under way runs in a thread and cannot be cut off; what is left of its job comes again.
        if steps := [task for task in self._jobs.values() if not task.done()]:
            await asyncio.wait(steps, timeout=STEP_SECONDS)

    async def _run(self) -> None:
        while True:
            await _carefully(self._look())
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        if len(self._deliveries) < DELIVERIES_AT_ONCE and await in_database_thread(
            delivery.is_any_due
        ):
            task = aio.hold(_carefully(_deliver()), "webhooks")
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)
        if clock.monotonic() >= self._purge_look_at:
            self._purge_look_at = clock.monotonic() + PURGE_LOOK_SECONDS
            if await in_database_thread(take_turn, "purge", PURGE_EVERY):
                await aio.end(self._purging)
                self._purging = aio.hold(_carefully(_purge()), "purge")
        for job in (*jobs.JOBS, *budget_news.JOBS):
            await self._look_at(job)

    async def _look_at(self, job: Job) -> None:
        """Start a job of billing or budgets whose turn it is here, unless its last run goes on."""
        running = self._jobs.get(job.name)
        if running is not None and not running.done():
            return
        if clock.monotonic() < self._jobs_look_at.get(job.name, 0.0):
            return
        if not await in_database_thread(job.is_due):
            return
        look_seconds = min(job.every.total_seconds(), PURGE_LOOK_SECONDS)
        self._jobs_look_at[job.name] = clock.monotonic() + look_seconds
        if await in_database_thread(take_turn, job.name, job.every):
            self._jobs[job.name] = aio.hold(_carefully(self._run_apart(job)), job.name)

    async def _run_apart(self, job: Job) -> None:
        """In a thread of its own, because it may take long and the threads for look-ups are few."""
        is_more = True
        while is_more and not self._is_stopping:
            is_more = await asyncio.to_thread(_step, job)
            await asyncio.sleep(retention.PAUSE_SECONDS)


def take_turn(name: str, every: timedelta) -> bool:
    """Whether a job is due and ours to do: one who asks is told so, the next after `every`."""
    now = clock.now()
    due = PeriodicJob.objects.filter(name=name, next_at__lte=now)
    if due.update(next_at=now + every):
        return True
    _, is_first = PeriodicJob.objects.get_or_create(name=name, defaults={"next_at": now + every})
    return is_first


async def _deliver() -> None:
    await delivery.deliver_due()


async def _purge() -> None:
    work = retention.Purge(clock.now())
    is_more = True
    while is_more:
        is_more = await in_database_thread(work.step)
        await asyncio.sleep(retention.PAUSE_SECONDS)
    if work.purged != retention.Purged():
        logger.info("purged: %s", work.purged)


def _step(job: Job) -> bool:
    try:
        return job.step()
    finally:
        connections.close_all()


async def _carefully(work: Coroutine[Any, Any, None]) -> None:
    """Nothing may end the loop: whatever fails is logged and tried again at the next look."""
    try:
        await work
    except StoreUnavailable:
        logger.debug("the database cannot be asked")  # which the watcher of the revision reports
    except Exception:
        logger.exception("periodic work failed")
