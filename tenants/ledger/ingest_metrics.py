"""Tell Prometheus what this host's ingester made of the spools, in a file beside those of the workers."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from gateway_project.lib import clock
from gateway_project.lib.metrics.names import INGESTED
from gateway_project.lib.metrics.process import started_ticks
from gateway_project.lib.metrics.snapshots import SnapshotFile, as_snapshot, encode
from gateway_project.lib.metrics.tables import Tables
from tenants.ledger.reader import Ingested

logger = logging.getLogger("tollgate.metrics")

KIND = "ingester"
EVERY_SECONDS = 1.0


class IngestMetrics:
    """The counts of one ingester, which must not fork. A disk that is full costs metrics and nothing else."""

    def __init__(self, directory: Path) -> None:
        self._tables = Tables()
        self._file: SnapshotFile | None = None
        self._write_at = float("-inf")
        self._tables.is_changed = (
            True  # that there is an ingester is told before it has read anything
        )
        try:
            self._file = SnapshotFile(directory, KIND)
        except OSError as error:
            logger.error("metrics of the ingester cannot be written: %s", error)

    def count(self, found: Ingested) -> None:
        """Count what a look at the spools has found."""
        for result, number in (
            ("booked", found.rows),
            ("abandoned", found.abandoned),
            ("set_aside", found.set_aside),
            ("unreadable", found.failed),
        ):
            if number and (row := self._tables.row(INGESTED, result)) is not None:
                row[0] += number

    def write(self, *, at_once: bool = False) -> None:
        """Write what was counted, at most once a second."""
        now = clock.monotonic()
        if (
            self._file is None
            or not self._tables.is_changed
            or (now < self._write_at and not at_once)
        ):
            return
        self._tables.is_changed, self._write_at = False, now + EVERY_SECONDS
        pid = os.getpid()
        started = started_ticks(pid) or 0
        snapshot = as_snapshot(self._tables, kind=KIND, process=KIND, pid=pid, started=started)
        try:
            self._file.write(encode(snapshot))
        except OSError as error:
            self._tables.is_changed = True
            logger.warning("metrics of the ingester were not written: %s", error)

    def close(self) -> None:
        """Write once more, and leave the file to whoever adds up."""
        self.write(at_once=True)
        if self._file is not None:
            self._file.close()
