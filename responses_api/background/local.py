"""The runs of one worker process: starting them, and looking after those of the dead."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway_project.lib import aio, ids
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from responses_api.background import left_behind, runner, runs
from responses_api.background.hub import State
from responses_api.background.journal import Journal
from responses_api.interruption import Interruption
from responses_api.leases import Renewal

if TYPE_CHECKING:
    from responses_api.exchange import Exchange
    from responses_api.worker import Worker

logger = logging.getLogger("tollgate.background")

LOOK_SECONDS = 4.0
# While the owner of a run has yet to show whether it lives.
LOOK_AGAIN_SECONDS = 1.0
LAST_WORDS_SECONDS = 2.0
TOLD_AT_ONCE = 100
# How soon a new run should have been taken before others are told of it: by this process, or by a worker
# whose broker may have lost the message.
TAKE_HERE = timedelta(seconds=3)
TAKE_ELSEWHERE = timedelta(seconds=15)


class LocalRuns:
    """One per worker. `owner` is its name in the runs it makes.

    In mode `embedded` it makes up to `limit` at once, and the rest stays queued until one here or in
    another process has ended; in mode `celery` it tells the background workers.
    """

    def __init__(self, worker: Worker, mode: str, *, limit: int, queue_seconds: float) -> None:
        self._worker = worker
        self._is_embedded = mode == "embedded"
        self._limit = limit
        self._queue_seconds = queue_seconds
        self._running: dict[str, asyncio.Task[None]] = {}
        self._journals: dict[str, Journal] = {}
        self._some_wait = False
        self._wake = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self.owner = f"{socket.gethostname()[:32]}/{os.getpid()}/{ids.base62(12)}"

    def start(self) -> None:
        self._looking = aio.hold(self._look_after(), "runs-look")

    async def stop(self) -> None:
        """Tell those that still run to end; what they do not manage in time, their lease decides."""
        await aio.end(self._looking)
        self._looking = None
        self._worker.registry.interrupt_all()
        if tasks := list(self._running.values()):
            await asyncio.wait(tasks, timeout=LAST_WORDS_SECONDS)
        for task in tasks:
            await aio.end(task)

    @property
    def take_within(self) -> timedelta:
        return TAKE_HERE if self._is_embedded else TAKE_ELSEWHERE

    def launch(self, tenant_id: int, response_id: str) -> None:
        """See to it that a queued run is made: here, by a background worker, or later."""
        if not self._is_embedded:
            aio.hold(_tell_workers(tenant_id, response_id), "runs-tell")
        elif len(self._running) < self._limit and not self._worker.registry.draining:
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
            await runner.run(self._worker, tenant_id, response_id)
        except StoreUnavailable as error:
            logger.warning("a queued response is left for later: %s", error)
        except Exception:
            logger.exception("a queued response could not be made")
        finally:
            del self._running[response_id]
            if self._some_wait:
                self._wake.set()

    @contextlib.contextmanager
    def making(self, journal: Journal, exchange: Exchange) -> Iterator[None]:
        """While a run is made its lease is renewed; end the exchange once somebody else ended the run."""
        run = journal.run

        def changed(state: State | None) -> None:
            if not journal.is_ending and (state is None or state.is_final):
                exchange.interrupt(Interruption.RUN_ENDED)

        self._journals[run.response_id] = journal
        try:
            with self._worker.hub.watching(run.tenant_id, run.response_id, changed):
                yield
        finally:
            del self._journals[run.response_id]

    def renewal(self) -> Renewal | None:
        """The leases of the runs that are made here, to be renewed. From any thread."""
        journals = self._journals.copy()
        mine = tuple(name for name, journal in journals.items() if not journal.has_ended)
        return Renewal(runs.Renewal(self.owner, mine)) if mine else None

    # What was left behind

    async def _look_after(self) -> None:
        while True:
            suspected = 0
            try:
                suspected = await self.look()
            except Exception:  # a look that ended for good would leave runs stuck
                logger.exception("queued and lost responses cannot be looked after")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_SECONDS if suspected else LOOK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()

    async def look(self) -> int:
        """End runs whose worker died, and see to those that nobody took; how many may be lost."""
        suspected = 0
        with contextlib.suppress(StoreUnavailable):
            suspected = await in_database_thread(left_behind.fail_lost)
            if not self._worker.registry.draining:
                await self._launch_waiting()
        return suspected

    async def _launch_waiting(self) -> None:
        limit = self._limit - len(self._running) if self._is_embedded else TOLD_AT_ONCE
        claimed = await in_database_thread(
            left_behind.claim_waiting, limit, self.take_within, self._queue_seconds
        )
        self._some_wait = len(claimed) == limit
        for tenant_id, response_id in claimed:
            self.launch(tenant_id, response_id)


async def _tell_workers(tenant_id: int, response_id: str) -> None:
    """Failing costs time only: who is not told now is told at a later look."""
    try:
        await asyncio.to_thread(_send, tenant_id, response_id)
    except Exception as error:  # noqa: BLE001  # a broker fails in the ways of many libraries
        logger.warning("no background worker could be told: %s", type(error).__name__)


def _send(tenant_id: int, response_id: str) -> None:
    from celery import current_app  # noqa: PLC0415  # a third of a second, where nobody needs it

    current_app.send_task(
        "responses_api.tasks.run_background",
        (tenant_id, response_id),
        expires=TAKE_ELSEWHERE.total_seconds(),
        retry=False,
    )
