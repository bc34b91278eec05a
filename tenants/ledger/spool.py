"""Write ahead into the spool of one process: a directory of append-only files, locked while it lives.

What a single write gave to the kernel survives kill -9; the lock, which the kernel releases with the
process, tells the ingester that nothing more will come. Files rotate, so that those read to the end can
be archived.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Literal

from gateway_project.lib import ids
from tenants.ledger.records import Record, framed

Mode = Literal["process", "power"]

FILE_BYTES = 64 * 1024 * 1024
LOCK = "lock"
NEWBORN = ".new-"  # directories of this name are not whole yet; readers pass them by
SYNC_SECONDS = 0.005
# Below this, or below a share of the disk, no new calls are taken: what runs must still be settled.
LEAST_FREE_BYTES = 4 * 1024 * 1024
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9-]+")


class SpoolFailed(Exception):
    """A record could not be written; the file is as it was before."""


class Spool:
    """The spool of the process that opens it, which must not fork afterwards. `name` is the directory's."""

    def __init__(
        self,
        directory: Path,
        *,
        mode: Mode = "process",
        file_bytes: int = FILE_BYTES,
        least_free_percent: int = 5,
        host: str | None = None,
    ) -> None:
        host = _NOT_IN_A_NAME.sub("-", host or socket.gethostname())[:100]
        self.name = f"{host}.{os.getpid()}.{ids.base62(8)}"
        self.failed = False
        self.waits_for_disk = mode == "power"
        self._directory = directory
        self._file_bytes = file_bytes
        self._least_free_percent = least_free_percent
        self._file = -1
        self._number = 0
        self._size = 0
        self._has_room = True
        self._lock = self._appear()
        self._syncer: Syncer | None = None
        if self.waits_for_disk:
            _sync_names(directory)
            self._syncer = Syncer()

    @property
    def healthy(self) -> bool:
        """Tell whether new calls can be recorded, as of the last `check`."""
        return self._has_room and not self.failed

    def append(self, *records: Record) -> None:
        """Write records, whole or not at all. Raise SpoolFailed."""
        frame = framed(records[0]) if len(records) == 1 else b"".join(map(framed, records))
        try:
            if self._file < 0 or self._size >= self._file_bytes:
                self._next_file()
            written = os.write(self._file, frame)
            if written != len(frame):
                self._take_back()
                raise OSError("short write")
        except OSError as error:
            self.failed = True
            raise SpoolFailed(
                f"the spool could not be written: {error.strerror or error}"
            ) from error
        self._size += written
        self.failed = False
        if self._syncer is not None:
            self._syncer.wrote(self._file)

    def _take_back(self) -> None:
        """Undo a partial write. If that fails, go on in another file: readers stop at a torn record."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._leave_file()
            raise

    def _leave_file(self) -> None:
        if self._syncer is not None:
            self._syncer.retire(self._file)
        else:
            os.close(self._file)
        self._file = -1

    def check(self) -> bool:
        """Look at the disk; cheap enough for twice a second."""
        self._has_room = has_room(self._directory, self._least_free_percent)
        if self._has_room:
            self.failed = False  # the next record shows
        return self.healthy

    async def durable(self) -> None:
        """Return once everything written so far survives a loss of power; at once in mode `process`.

        Raise SpoolFailed if the disk reports that it does not.
        """
        if self._syncer is None:
            return
        try:
            await self._syncer.synced()
        except OSError as error:
            self.failed = True
            raise SpoolFailed(f"the spool could not be synced to disk: {error.strerror}") from error

    def close(self) -> None:
        """Release the lock: from now on an ingester treats what is open as abandoned."""
        if self._syncer is not None:
            self._syncer.stop()
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def _appear(self) -> int:
        """Create the directory with its lock held from the first moment anybody can see it."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        newborn = self._directory / f"{NEWBORN}{self.name}"
        newborn.mkdir(mode=0o700)
        try:
            lock = os.open(newborn / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            newborn.rename(self._directory / self.name)
        except OSError:
            shutil.rmtree(newborn, ignore_errors=True)
            raise
        return lock

    def _next_file(self) -> None:
        path = self._directory / self.name / f"{self._number + 1:06d}.log"
        file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if self._syncer is not None:
                _sync_names(path.parent)
        except OSError:
            os.close(file)
            raise
        if self._file >= 0:
            self._leave_file()
        self._file, self._size = file, 0
        self._number += 1


def _sync_names(directory: Path) -> None:
    """Sync the directory: a file whose name is not on the disk is lost with everything in it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def has_room(directory: Path, least_free_percent: int) -> bool:
    """Tell whether the disk has room for new calls."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return False
    has_share = disk.f_bavail * 100 >= disk.f_blocks * least_free_percent
    return has_share and disk.f_bavail * disk.f_frsize >= LEAST_FREE_BYTES


class Syncer:
    """A group-commit thread that syncs what was written, for all callers that wait at once.

    It closes rotated files itself, so that none is closed while it syncs them.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._file = -1
        self._retired: list[int] = []
        self._written = 0
        self._synced = 0
        # What a failed sync was for is lost to every later one: the kernel reports its failure once.
        self._lost = 0
        self._failure: OSError | None = None
        self._waiting: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="tollgate-spool", daemon=True)
        self._thread.start()

    def wrote(self, file: int) -> None:
        with self._condition:
            self._file = file
            self._written += 1

    def retire(self, file: int) -> None:
        """Sync and close a file that is no longer written to, together with the next sync."""
        with self._condition:
            self._retired.append(file)
            self._file = -1 if self._file == file else self._file

    async def synced(self) -> None:
        """Wait for the next sync. Raise OSError if the disk refuses."""
        loop = asyncio.get_running_loop()
        with self._condition:
            if self._failure is not None and self._lost >= self._written:
                raise self._failure
            if self._synced >= self._written:
                return
            done: asyncio.Future[None] = loop.create_future()
            self._waiting.append((self._written, loop, done))
            self._condition.notify()
        await done

    def stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._stopped:
                    self._condition.wait()
                if self._stopped and not self._waiting:
                    _synced(-1, self._retired)
                    return
                file, written = self._file, self._written
                retired, self._retired = self._retired, []
            error = _synced(file, retired)
            with self._condition:
                self._synced = written
                if error is not None:
                    self._lost, self._failure = written, error
                ready = [entry for entry in self._waiting if entry[0] <= written]
                self._waiting = [entry for entry in self._waiting if entry[0] > written]
            for _, loop, done in ready:
                with contextlib.suppress(RuntimeError):  # a loop that has ended waits for nothing
                    loop.call_soon_threadsafe(_resolve, done, error)
            time.sleep(SYNC_SECONDS)  # company for the next one


def _synced(file: int, retired: list[int]) -> OSError | None:
    """Sync all files and close the retired ones; return what went wrong, if anything did."""
    failure: OSError | None = None
    for descriptor in (*retired, file):
        try:
            if descriptor >= 0:
                os.fdatasync(descriptor)
        except OSError as error:
            failure = failure or error
    for descriptor in retired:
        os.close(descriptor)
    return failure


def _resolve(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
