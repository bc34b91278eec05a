"""The process that reads this host's spools for as long as anything writes them."""

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

logger = logging.getLogger("tollgate.ledger")

HOST_LOCK = "ingester.lock"
BUSY_SECONDS = 0.05
IDLE_SECONDS = 0.2
FAILED_SECONDS = 1.0
TIDY_SECONDS = 3600.0


class Loop:
    """Looks again and again, until it is told to stop; then once more. Files that were read are deleted
    after `archive_days`."""

    def __init__(self, directory: Path, archive_days: int) -> None:
        self._directory = directory
        self._kept_for = timedelta(days=archive_days)
        self._tidied_at = float("-inf")
        self._stop = threading.Event()
        self._pulse = heartbeats.Pulse(heartbeats.INGESTER)

    def stop(self, sig: int = 0, frame: FrameType | None = None) -> None:
        self._stop.set()

    def run(self) -> None:
        """Only one at a time on a host; another waits until it has ended."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._directory / HOST_LOCK).open("w") as lock:
            while not self._stop.is_set() and not _take(lock.fileno()):
                self._stop.wait(FAILED_SECONDS)
            ingester = Ingester(self._directory)
            while not self._stop.is_set():
                self._stop.wait(_look(ingester))
                self._tidy()
                self._pulse.beat()
            _look(ingester)
            ingester.close()

    def _tidy(self) -> None:
        if clock.monotonic() - self._tidied_at < TIDY_SECONDS:
            return
        self._tidied_at = clock.monotonic()
        try:
            archive.delete_before(self._directory, clock.now() - self._kept_for)
        except OSError:
            logger.exception("archived spool files cannot be deleted")


def run_forever(directory: Path, archive_days: int) -> None:
    """The main function of a process of its own."""
    loop = Loop(directory, archive_days)
    signal.signal(signal.SIGTERM, loop.stop)
    signal.signal(signal.SIGINT, loop.stop)
    loop.run()


def _look(ingester: Ingester) -> float:
    """Read what there is; seconds until it is worth looking again."""
    try:
        found = ingester.look()
    except Error as error:
        logger.error("the ledger cannot be written: %s; the spools keep what it lacks", error)
        connections.close_all()
        return FAILED_SECONDS
    except OSError:
        logger.exception("the spools cannot be read")
        return FAILED_SECONDS
    if found.failed:
        return FAILED_SECONDS
    return BUSY_SECONDS if found.rows else IDLE_SECONDS


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
