"""Start the runs of one worker process, and take care of runs whose worker died."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta

from gateway_project.lib import aio, ids
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.changes import Changes
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.renewals import Renewal
from responses_api.background import recovery, runs
from responses_api.background.journal import Journal
from responses_api.background.run_watcher import RunState, RunWatcher
from responses_api.process.interruption import Interruption
from responses_api.process.registry import Registry, Running

logger = logging.getLogger("tollgate.background")

LOOK_SECONDS = 4.0
# How often a database that nobody writes to is asked while no run is unfinished: without a write none comes.
QUIET_LOOK_SECONDS = 60.0
# How often to look while it is unknown whether the owner of a run is alive.
LOOK_AGAIN_SECONDS = 1.0
LAST_WORDS_SECONDS = 2.0
TOLD_AT_ONCE = 100
# How soon a new run should have been taken before others are told of it: by this process, or by a worker
# whose broker may have lost the message.
TAKE_HERE = timedelta(seconds=3)
TAKE_ELSEWHERE = timedelta(seconds=15)


class LocalRuns:
    """The runs of one worker. `owner` is its name in the runs it makes; `run_watcher` knows their state;
    `run` makes one, given its tenant and its response.

    In mode `embedded` it makes up to `limit` at once; the rest stays queued until a run here or in another
    process has ended. In mode `celery` it tells the background workers.
    """

    def __init__(
        self,
        run: Callable[[int, str], Awaitable[None]],
        run_watcher: RunWatcher,
        registry: Registry,
        mode: str,
        *,
        limit: int,
        queue_seconds: float,
    ) -> None:
        self._run = run
        self._registry = registry
        self._is_embedded = mode == "embedded"
        self.limit = limit
        self._queue_seconds = queue_seconds
        self._running: dict[str, asyncio.Task[None]] = {}
        self._journals: dict[str, Journal] = {}
        self._some_wait = False
        self._wake = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._changes = Changes(most_seconds=QUIET_LOOK_SECONDS)
        self._is_any_unfinished = True
        self.run_watcher = run_watcher
        self.owner = f"{socket.gethostname()[:32]}/{os.getpid()}/{ids.base62(12)}"

    def start(self) -> None:
        self._looking = aio.hold(self._look_after(), "runs-look")

    async def stop(self) -> None:
        """Tell those that still run to end. Runs that do not end in time are recovered when their lease
        expires."""
        await aio.end(self._looking)
        self._looking = None
        self._registry.interrupt_all()
        if tasks := list(self._running.values()):
            await asyncio.wait(tasks, timeout=LAST_WORDS_SECONDS)
        for task in tasks:
            await aio.end(task)

    @property
    def running_count(self) -> int:
        return len(self._running)

    @property
    def take_within(self) -> timedelta:
        return TAKE_HERE if self._is_embedded else TAKE_ELSEWHERE

    def launch(self, tenant_id: int, response_id: str) -> None:
        """Have a queued run made: here, by a background worker, or later."""
        if not self._is_embedded:
            aio.hold(_tell_workers(tenant_id, response_id), "runs-tell")
        elif len(self._running) < self.limit and self._registry.begins_runs:
            self.make(tenant_id, response_id)
        else:
            self._some_wait = True

    def make(self, tenant_id: int, response_id: str) -> asyncio.Task[None]:
        """Make a queued run in this process, once however often it is asked for."""
        task = self._running.get(response_id)
        if task is None:
            task = aio.hold(self._make(tenant_id, response_id), "runs-make")
            self._running[response_id] = task
        return task

    async def _make(self, tenant_id: int, response_id: str) -> None:
        try:
            await self._run(tenant_id, response_id)
        except StoreUnavailable as error:
            logger.warning("a queued response is left for a later attempt: %s", error)
        except Exception:
            logger.exception("making a queued response failed")
        finally:
            del self._running[response_id]
            if self._some_wait:
                self._wake.set()

    @contextlib.contextmanager
    def making(self, journal: Journal, exchange: Running) -> Iterator[None]:
        """Renew the lease of a run while it is made; end the exchange if somebody else ended the run."""
        run = journal.run

        def changed(state: RunState | None) -> None:
            if not journal.is_ending and (state is None or state.is_final):
                exchange.interrupt(Interruption.RUN_ENDED)

        self._journals[run.response_id] = journal
        try:
            with self.run_watcher.watching(run.tenant_id, run.response_id, changed):
                yield
        finally:
            del self._journals[run.response_id]

    def renewal(self) -> Renewal | None:
        """Return the renewal of the leases of all runs made here. Callable from any thread."""
        journals = self._journals.copy()
        mine = tuple(name for name, journal in journals.items() if not journal.has_ended)
        return Renewal(runs.RunRenewal(self.owner, mine)) if mine else None

    # Recovery

    async def _look_after(self) -> None:
        while True:
            suspected = 0
            try:
                suspected = await self._look_if_changed()
            except Exception:  # if looking ended for good, runs would stay stuck
                logger.exception("looking for queued and lost responses failed")
            pause = LOOK_AGAIN_SECONDS if suspected else LOOK_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(aio.seconds_to_tick(pause)):
                    await self._wake.wait()
            self._wake.clear()

    async def _look_if_changed(self) -> int:
        """Look unless no run was unfinished the last time, and nothing was written since."""
        if not self._changes.are_possible:
            return 0
        stamp = self._changes.stamp()
        self._is_any_unfinished = True  # should the look fail
        try:
            return await self.look()
        finally:
            self._changes.seen(None if self._is_any_unfinished else stamp)

    async def look(self) -> int:
        """End runs whose worker died, and start those that nobody took; return how many may be lost."""
        with contextlib.suppress(StoreUnavailable):
            if not self._registry.begins_runs:
                return await in_database_thread(recovery.fail_lost)
            return await self._launch_waiting()
        return 0

    async def _launch_waiting(self) -> int:
        """Launch those that nobody took; how many may be lost."""
        limit = self.limit - len(self._running) if self._is_embedded else TOLD_AT_ONCE
        found = await in_database_thread(
            recovery.look, limit, self.take_within, self._queue_seconds
        )
        self._is_any_unfinished = found.is_any_unfinished
        self._some_wait = len(found.claimed) == limit
        for tenant_id, response_id in found.claimed:
            self.launch(tenant_id, response_id)
        return found.suspected


async def _tell_workers(tenant_id: int, response_id: str) -> None:
    """Tell the background workers. A failure only costs time: the run is found at a later look."""
    try:
        await asyncio.to_thread(_send, tenant_id, response_id)
    except Exception as error:  # noqa: BLE001  # a broker fails in the ways of many libraries
        logger.warning("telling the background workers failed: %s", type(error).__name__)


def _send(tenant_id: int, response_id: str) -> None:
    from celery import current_app  # noqa: PLC0415  # a third of a second, where nobody needs it

    current_app.send_task(
        "responses_api.tasks.run_background",
        (tenant_id, response_id),
        expires=TAKE_ELSEWHERE.total_seconds(),
        retry=False,
    )
