"""A worker writes its metrics when something changed, and at no other time."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gateway_project.lib.metrics import snapshots
from gateway_project.lib.metrics.snapshots import Snapshot, SnapshotFile
from gateway_project.lib.metrics.tables import Tables
from gateway_project.serving.metrics_writer import MetricsWriter
from responses_api.accounting.call_metrics import CallMetrics
from responses_api.process.registry import Registry
from routing.health.messages import CircuitMessage
from routing.health.table import LaneTable
from tests.support.patience import GIVE_UP_SECONDS, until

SCOPE = "model/7/openai/gpt"


class Worker:
    """The parts of a worker that are told in its metrics."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.metrics = CallMetrics(Tables())
        self.lanes = LaneTable()
        self.ready = {"database": True}
        self.writer = MetricsWriter(
            directory,
            self.metrics,
            Registry(),
            self.lanes,
            lambda: dict(self.ready),
            tenants=0,
            most_series=10_000,
        )

    @property
    def written(self) -> Snapshot:
        (found,) = snapshots.add_up(self.directory).living
        return found

    @property
    def file(self) -> int:
        """The number of the file, which is another for each snapshot."""
        (path,) = self.directory.glob("*.snapshot")
        return path.stat().st_ino


Work = Callable[[Worker], Coroutine[Any, Any, None]]


def with_worker(directory: Path, work: Work) -> None:
    async def run() -> None:
        worker = Worker(directory)
        worker.writer.start()
        await worker.writer.write_changes()
        await work(worker)
        await worker.writer.stop()

    asyncio.run(run())


def test_one_that_begins_puts_together_what_dead_ones_left_though_nobody_asks(
    tmp_path: Path,
) -> None:
    async def work(worker: Worker) -> None:
        worker.metrics.ended("chat", None, "refused", 0.0)
        await asyncio.to_thread(until, lambda: len(list(tmp_path.glob("*.lock"))) == 1)

    for _ in range(3):
        with_worker(tmp_path, work)
    rows = snapshots.add_up(tmp_path).rows["requests"]
    assert [numbers for _, numbers in rows.items()] == [[3]]


def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    async def work(worker: Worker) -> None:
        before = worker.file
        await worker.writer.write_changes()
        assert worker.file == before
        worker.metrics.ended("chat", None, "refused", 0.0)
        await worker.writer.write_changes()
        assert worker.file != before
        before = worker.file
        worker.ready["database"] = False
        await worker.writer.write_changes()
        assert worker.file != before
        assert worker.written.ready == {"database": False}

    with_worker(tmp_path, work)


def test_a_circuit_that_was_open_is_told_to_be_closed(tmp_path: Path) -> None:
    async def work(worker: Worker) -> None:
        states = []
        for message in (
            CircuitMessage("open", SCOPE, seconds=60.0, openings=1, opened_by="failures"),
            CircuitMessage("close", SCOPE),
        ):
            worker.lanes.hear(message)
            await worker.writer.write_changes()
            states.append(worker.written.circuits)
        assert states == [
            [("model", 7, "openai", "gpt", 2)],
            [("model", 7, "openai", "gpt", 0)],
        ]

    with_worker(tmp_path, work)


def test_what_was_counted_last_is_written_when_it_stops(tmp_path: Path) -> None:
    async def work(worker: Worker) -> None:
        worker.metrics.ended("chat", None, "refused", 0.0)

    with_worker(tmp_path, work)
    found = snapshots.add_up(tmp_path)
    assert (found.living, sum(row[0] for row in found.rows["requests"].values())) == ([], 1)


def test_one_that_stops_while_it_writes_writes_the_rest_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, writes = threading.Event(), threading.Event(), list[str]()
    write = SnapshotFile.write

    def slowly(file: SnapshotFile, data: bytes) -> None:
        writes.append("begins")
        begun.set()
        may_end.wait(GIVE_UP_SECONDS)
        write(file, data)
        writes.append("ends")

    async def run() -> None:
        worker = Worker(tmp_path)
        worker.writer.start()
        await asyncio.to_thread(begun.wait, GIVE_UP_SECONDS)
        worker.metrics.ended("chat", None, "refused", 0.0)
        stopping = asyncio.create_task(worker.writer.stop())
        for _ in range(10):  # the loop goes round, and nothing else is written meanwhile
            await asyncio.to_thread(bool)
        may_end.set()
        await stopping

    monkeypatch.setattr(SnapshotFile, "write", slowly)
    asyncio.run(run())
    assert writes == ["begins", "ends"] * 2
    found = snapshots.add_up(tmp_path)
    assert sum(row[0] for row in found.rows["requests"].values()) == 1


def test_a_disk_that_is_full_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(file: SnapshotFile, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def work(worker: Worker) -> None:
        for _ in range(3):
            await worker.writer.write_changes()
        monkeypatch.undo()

    monkeypatch.setattr(SnapshotFile, "write", fail)
    with_worker(tmp_path, work)
    assert caplog.text.count("metrics were not written") == 1
    assert len(list(tmp_path.glob("*.snapshot"))) == 1


def test_a_directory_that_cannot_be_written_costs_metrics_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        (tmp_path / "metrics").write_text("in the way")
        worker = Worker(tmp_path / "metrics")
        worker.writer.start()
        await worker.writer.write_changes()
        await worker.writer.stop()

    asyncio.run(run())
    assert "metrics cannot be written" in caplog.text
