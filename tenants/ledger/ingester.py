"""Run the process that reads this host's spools for as long as anything writes them."""

from __future__ import annotations

import fcntl
import logging
import signal
import threading
from datetime import timedelta
from pathlib import Path
from types import FrameType

from django.db import Error, connections

from gateway_project.lib import clock
from tenants import heartbeats
from tenants.ledger import archive
from tenants.ledger.ingest import Ingester
from tenants.ledger.ingest_metrics import IngestMetrics

logger = logging.getLogger("tollgate.ledger")

HOST_LOCK = "ingester.lock"
# Between looks. A look reads all there is, and costs some milliseconds beside its rows: more often under load
# would make each row dearer, and keep a worker on the same core waiting more often.
LOOK_SECONDS = 0.2
# Between looks once nothing was new for a while.
REST_SECONDS = 0.5
RESTS_AFTER_SECONDS = 3.0
FAILED_SECONDS = 1.0
# How long spools that do not grow are not read, and the same once nothing was new for a while: whether
# their process has died shows only then.
UNREAD_SECONDS = 2.0
RESTING_UNREAD_SECONDS = 5.0
TIDY_SECONDS = 3600.0


class Loop:
    """Reads again and again until told to stop; then once more. Read files are deleted after
    `archive_days`.
    """

    def __init__(
        self, directory: Path, archive_days: int, metrics_directory: Path | None = None
    ) -> None:
        self._directory = directory
        self._kept_for = timedelta(days=archive_days)
        self._tidied_at = self._look_at = self._new_at = float("-inf")
        self._metrics_directory = metrics_directory
        self._metrics: IngestMetrics | None = None
        self._stop = threading.Event()
        self._pulse = heartbeats.Pulse(heartbeats.INGESTER)

    def stop(self, sig: int = 0, frame: FrameType | None = None) -> None:
        self._stop.set()

    def run(self) -> None:
        """Run only one at a time on a host; another waits until it has ended."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._directory / HOST_LOCK).open("w") as lock:
            while not self._stop.is_set() and not _take(lock.fileno()):
                self._stop.wait(FAILED_SECONDS)
            ingester = Ingester(self._directory)
            if self._metrics_directory is not None:
                self._metrics = IngestMetrics(self._metrics_directory)
            while not self._stop.is_set():
                self._stop.wait(self._pause(ingester))
                self._tidy()
                if self._metrics is not None:
                    self._metrics.write()
            self._look(ingester)
            ingester.close()
            if self._metrics is not None:
                self._metrics.close()

    def _pause(self, ingester: Ingester) -> float:
        """Read if there is something new, or else once in a while; return the seconds until the next
        time.
        """
        is_new = ingester.is_anything_new
        if is_new:
            self._new_at = clock.monotonic()
        elif clock.monotonic() < self._look_at:
            return self._idle_pause()
        was_read = self._look(ingester)
        # Next to the ledger's own writes, so that whoever watches the database wakes once for both.
        self._pulse.beat()
        if not was_read:
            return FAILED_SECONDS
        unread = RESTING_UNREAD_SECONDS if self._rests else UNREAD_SECONDS
        self._look_at = clock.monotonic() + unread
        return self._idle_pause()

    def _look(self, ingester: Ingester) -> bool:
        """Read what there is; return whether nothing failed."""
        try:
            found = ingester.look()
        except Error as error:
            logger.error(
                "the ledger could not be written: %s; usage stays in the spools until it can", error
            )
            connections.close_all()
            return False
        except OSError:
            logger.exception("the spools could not be read")
            return False
        if self._metrics is not None:
            self._metrics.count(found)
        return not found.failed

    def _idle_pause(self) -> float:
        return REST_SECONDS if self._rests else LOOK_SECONDS

    @property
    def _rests(self) -> bool:
        return clock.monotonic() - self._new_at > RESTS_AFTER_SECONDS

    def _tidy(self) -> None:
        if clock.monotonic() - self._tidied_at < TIDY_SECONDS:
            return
        self._tidied_at = clock.monotonic()
        try:
            archive.delete_before(self._directory, clock.now() - self._kept_for)
        except OSError:
            logger.exception("archived spool files could not be deleted")


def run_forever(directory: Path, archive_days: int, metrics_directory: Path | None = None) -> None:
    """Run the ingester in a process of its own. Without a directory for metrics it tells none."""
    loop = Loop(directory, archive_days, metrics_directory)
    signal.signal(signal.SIGTERM, loop.stop)
    signal.signal(signal.SIGINT, loop.stop)
    loop.run()


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
