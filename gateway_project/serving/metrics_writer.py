"""Write what a worker counted, once a second, if anything changed."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

from django.db import Error

from gateway_project.lib import aio, clock
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.metrics.process import started_ticks
from gateway_project.lib.metrics.snapshots import (
    CircuitState,
    SnapshotFile,
    add_up,
    as_snapshot,
    encode,
)
from responses_api.accounting.call_metrics import CallMetrics
from responses_api.process.registry import Registry
from routing.health.scopes import FailureScope
from routing.health.table import LaneTable
from tenants.reports.largest import largest_tenants

logger = logging.getLogger("tollgate.metrics")

EVERY_SECONDS = 1.0
TENANTS_EVERY_SECONDS = 3600.0
# How many circuits that were open once are told to be closed again.
MOST_CLOSED = 1_000
OPEN, DUE, CLOSED = 2, 1, 0

State = tuple[dict[str, int], dict[str, bool], list[CircuitState]]


class MetricsWriter:
    """The metrics of one process, for as long as it lives. `ready` tells what readiness depends on;
    `tenants`: how many of the largest are told apart."""

    def __init__(
        self,
        directory: Path,
        metrics: CallMetrics,
        registry: Registry,
        lanes: LaneTable,
        ready: Callable[[], dict[str, bool]],
        *,
        tenants: int,
        most_series: int,
    ) -> None:
        self._directory = directory
        self._metrics = metrics
        self._registry = registry
        self._lanes = lanes
        self._ready = ready
        self._tenants = tenants
        self._most_series = most_series
        self._tenants_at = float("-inf")
        self._file: SnapshotFile | None = None
        self._task: asyncio.Task[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._has_failed = False
        self._told: State | None = None
        self._closed: dict[FailureScope, None] = {}
        self._process = multiprocessing.current_process().name
        self._kind = "worker" if self._process.startswith("worker-") else "background"

    def start(self) -> None:
        try:
            self._file = SnapshotFile(self._directory, self._kind)
        except OSError as error:
            logger.error("metrics cannot be written: %s", error)
            return
        self._task = aio.hold(self._write_often(), "metrics")

    async def stop(self) -> None:
        """Write once more, and leave the file to whoever adds up."""
        await aio.end(self._task)
        if self._file is not None:
            if (
                self._writing is not None
            ):  # its thread goes on, whatever became of who waited for it
                await asyncio.wait([self._writing])
            self._metrics.tables.is_changed = True
            await self.write_changes()
            self._file.close()

    async def _write_often(self) -> None:
        await self._fold_dead()
        while True:
            await self._look_at_tenants()
            await self.write_changes()
            await asyncio.sleep(aio.seconds_to_tick(EVERY_SECONDS))

    async def _fold_dead(self) -> None:
        """Put what dead processes left into one file, as whoever asks for metrics does: where nobody asks, a
        file would stay of every process there ever was."""
        try:
            await asyncio.to_thread(add_up, self._directory, self._most_series)
        except OSError as error:
            logger.warning("metrics of dead processes were not added up: %s", error)

    async def write_changes(self) -> None:
        """Write what was counted, if that or anything else has changed. What is written is put together at
        once, so that numbers belong together; a slow disk holds nobody up."""
        state = self._state()
        tables, file = self._metrics.tables, self._file
        if file is None or not (tables.is_changed or state != self._told):
            return
        tables.is_changed, self._told = False, state
        in_flight, ready, circuits = state
        data = encode(
            as_snapshot(
                tables,
                kind=self._kind,
                process=self._process if self._kind == "worker" else self._kind,
                pid=os.getpid(),
                started=started_ticks(os.getpid()) or 0,
                in_flight=in_flight,
                ready=ready,
                circuits=circuits,
            )
        )
        await self._write(file, data)

    async def _write(self, file: SnapshotFile, data: bytes) -> None:
        """Write in a thread. A disk that is full is told of once, until it has room again."""
        self._writing = asyncio.ensure_future(asyncio.to_thread(file.write, data))
        try:
            await asyncio.shield(self._writing)
            self._has_failed = False
        except OSError as error:
            self._metrics.tables.is_changed = True
            if not self._has_failed:
                logger.warning("metrics were not written: %s", error)
            self._has_failed = True

    def _state(self) -> State:
        return self._registry.count_by_channel(), self._ready(), self._circuits()

    def _circuits(self) -> list[CircuitState]:
        """Return the circuits that are open, and those that were."""
        is_open = {each.scope: each for each in self._lanes.open_circuits()}
        found = [_state_of(scope, OPEN if each.seconds else DUE) for scope, each in is_open.items()]
        found += [_state_of(scope, CLOSED) for scope in self._closed if scope not in is_open]
        for scope in is_open:
            if len(self._closed) < MOST_CLOSED:
                self._closed[scope] = None
        return found

    async def _look_at_tenants(self) -> None:
        """Find out once in a while which tenants are told apart. Whatever was counted stays as it was."""
        now = clock.monotonic()
        if not self._tenants or now - self._tenants_at < TENANTS_EVERY_SECONDS:
            return
        self._tenants_at = now
        try:
            self._metrics.tenants = await in_database_thread(largest_tenants, self._tenants)
        except Error as error:  # it is asked again in an hour; calls go on
            logger.warning("the largest tenants could not be read: %s", error)


def _state_of(scope: FailureScope, state: int) -> CircuitState:
    return scope.kind, scope.provider_id, scope.provider, scope.model, state
