"""Embedded mode: do the periodic work in the worker processes, beside their requests (ADR 8).

Of several processes one takes each turn of a job, by compare-and-set on the job's row.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connections

from gateway_project.lib import aio, clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.changes import Changes, Writes
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.jobs import PAUSE_SECONDS, Job
from responses_api.jobs import JOBS
from responses_api.models import PeriodicJob

logger = logging.getLogger("tollgate.periodic")

LOOK_SECONDS = 1.0
# How often to look at a database that nobody writes to: there, jobs become due by the clock alone. While an
# ingester lives, its sign of life (tenants/heartbeats.py) is a write, so that hardly any look comes by this.
QUIET_LOOK_SECONDS = 15.0
# The longest time before a process asks again whether a turn is its own.
MOST_LOOK_SECONDS = 60.0
STEP_SECONDS = 10.0


class Periodic:
    """The periodic work of one worker process; does nothing unless `mode` is `embedded`."""

    def __init__(self, mode: str) -> None:
        self._embedded = mode == "embedded"
        self._loop: asyncio.Task[None] | None = None
        self._runs: dict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._next_look: dict[str, float] = {}
        # Names of jobs to ask about since the last change: it may have come before it was their time.
        self._unasked: set[str] = set()
        self._is_stopping = False
        self._changes = Changes(most_seconds=QUIET_LOOK_SECONDS)
        self._writes = Writes(most_seconds=QUIET_LOOK_SECONDS)

    def start(self) -> None:
        if self._embedded:
            self._loop = aio.hold(self._run(), "periodic")

    @property
    def is_running(self) -> bool:
        return self._loop is not None

    async def stop(self) -> None:
        """Cut off work that waits, such as deliveries. Wait some seconds for steps that run in threads,
        which cannot be cut off. The rest of a job comes again with its next turn."""
        self._is_stopping = True
        await aio.end(self._loop)
        self._loop = None
        for task in [task for job in JOBS if job.is_coroutine for task in self._runs[job.name]]:
            await aio.end(task)
        if steps := [task for tasks in self._runs.values() for task in tasks]:
            await asyncio.wait(steps, timeout=STEP_SECONDS)

    async def _run(self) -> None:
        while True:
            if self._changes.are_possible:
                stamp = self._changes.stamp()
                await _carefully(self._look(is_changed=True))
                self._changes.seen(stamp)
            elif self._unasked:
                await _carefully(self._look(is_changed=False))
            await asyncio.sleep(aio.seconds_to_tick(LOOK_SECONDS))

    async def _look(self, *, is_changed: bool) -> None:
        """Start the jobs that are due, having asked for all of them at once."""
        now = clock.monotonic()
        if is_changed and await in_database_thread(self._writes.are_possible):
            self._unasked = {job.name for job in JOBS}
        asked = [job for job in JOBS if job.name in self._unasked and self._may_start(job, now)]
        if not asked:
            return
        try:
            due = await in_database_thread(_find_due, asked)
        except BaseException:
            self._writes.forget()
            raise
        self._unasked -= {job.name for job in asked} - {job.name for job in due}
        for job in due:
            await self._start_in_turn(job, now)

    def _may_start(self, job: Job, now: float) -> bool:
        """Tell whether it is time to ask, and the job does not run as often as it may already."""
        is_time = now >= self._next_look.get(job.name, 0.0)
        return is_time and len(self._runs[job.name]) < job.at_once

    async def _start_in_turn(self, job: Job, now: float) -> None:
        """Start a job that is due, if it is this process's turn."""
        self._next_look[job.name] = now + min(job.every.total_seconds(), MOST_LOOK_SECONDS)
        if job.at_once > 1 or await in_database_thread(take_turn, job.name, job.every):
            self._unasked.discard(job.name)
            task = aio.hold(_carefully(self._do(job)), job.name)
            self._runs[job.name].add(task)
            task.add_done_callback(self._runs[job.name].discard)

    async def _do(self, job: Job) -> None:
        work = job.work()
        if isinstance(work, Coroutine):
            await work
            return
        # In a thread of its own, because it may take long and the threads for look-ups are few.
        is_more, busy = True, 0.0
        while is_more and not self._is_stopping:
            is_more, seconds = await asyncio.to_thread(_step, work)
            busy += seconds
            await asyncio.sleep(PAUSE_SECONDS)
        if job.rest:
            await in_database_thread(put_off, job, busy)


def _find_due(jobs: list[Job]) -> list[Job]:
    """Return the jobs that have something to do. One that cannot tell does not hold up the others."""
    return [job for job in jobs if job.is_due is None or _is_due(job.name, job.is_due)]


def _is_due(name: str, ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except (OperationalError, InterfaceError):  # the database is away, for all of them
        raise
    except Exception:
        logger.exception("it cannot be told whether %s is due", name)
        return False


def take_turn(name: str, every: timedelta) -> bool:
    """Return whether a job is due and ours to do; if it is, its next turn comes after `every`."""
    now = clock.now()
    due = PeriodicJob.objects.filter(name=name, next_at__lte=now)
    if due.update(next_at=now + every):
        return True
    _, is_first = PeriodicJob.objects.get_or_create(name=name, defaults={"next_at": now + every})
    return is_first


def put_off(job: Job, busy_seconds: float) -> None:
    """Let a job rest after a run that took so long, in whichever process its next turn would be."""
    until = clock.now() + job.rest_after(busy_seconds)
    PeriodicJob.objects.get_or_create(name=job.name, defaults={"next_at": until})
    PeriodicJob.objects.filter(name=job.name, next_at__lt=until).update(next_at=until)


def is_resting(job: Job) -> bool:
    """Tell whether a job is to be left alone because its last run took long."""
    if not job.rest:
        return False
    return PeriodicJob.objects.filter(name=job.name, next_at__gt=clock.now()).exists()


def _step(work: Iterator[None]) -> tuple[bool, float]:
    """Do one step of a job; return whether more is left, and how many seconds it took."""
    began = clock.monotonic()
    try:
        is_more = next(work, _step) is not _step
        return is_more, clock.monotonic() - began
    finally:
        connections.close_all()


async def _carefully(work: Coroutine[Any, Any, None]) -> None:
    """Do the work and log any error, because nothing may end the loop; it is tried again at the next look."""
    try:
        await work
    except StoreUnavailable:
        logger.debug("the database is unavailable")  # the revision watcher reports it
    except Exception:
        logger.exception("periodic work failed")
