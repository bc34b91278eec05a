"""Look at all spools of a host, again and again, and have each read into the database (reader.py).

A database that lost its last commits is noticed, because it decides what is booked, and what it lost is read
again, from the archive where need be.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from django.db import Error, InterfaceError, OperationalError

from gateway_project.lib import clock
from tenants.ledger import archive, origin
from tenants.ledger.reader import Ingested, PositionLost, Reader, locked
from tenants.ledger.spool import NEWBORN
from tenants.models import SpoolPosition

logger = logging.getLogger("tollgate.ledger")

INGEST_LOCK = "ingest.lock"
NAMES = 500  # of one query, whose parameters a database counts
# How often finished spools are compared with the database even though nothing went wrong.
REVIEW_SECONDS = 60.0

Begin = Callable[[Path], Reader | None]


def ingest_all(directory: Path) -> Ingested:
    """Read once what every spool of this host holds. Raise as `look`; what was committed stays committed."""
    ingester = Ingester(directory)
    try:
        return ingester.look()
    finally:
        ingester.close()


class Ingester:
    """Reads spools repeatedly, remembering their open calls, so that each look reads only what is new."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._readers: dict[str, Reader] = {}
        self._review_at = float("-inf")
        self._booked_here_since = 0.0
        self._sizes: list[int] = []

    @property
    def is_anything_new(self) -> bool:
        """Tell whether a spool has begun, ended or grown since the last look. Costs some microseconds."""
        return self._sizes_now() != self._sizes

    def _sizes_now(self) -> list[int]:
        sizes = [_changed_at(self._directory)]
        for reader in self._readers.values():
            sizes += (_changed_at(reader.folder), _size(reader.current_file))
        return sizes

    def look(self) -> Ingested:
        """Read what there is.

        A failure with one spool is logged, and the others are read. Raise OperationalError or
        InterfaceError if the database is unavailable. What failed is read again.
        """
        sizes = self._sizes_now()
        try:
            found = self._look()
        except (OperationalError, InterfaceError):
            self._distrust()
            raise
        # A reader that has just begun or ended makes them differ, and so is looked at once more.
        self._sizes = sizes
        return found

    def _look(self) -> Ingested:
        found = Ingested()
        is_review = clock.monotonic() >= self._review_at
        if is_review and self._directory.is_dir():
            self._booked_here_since = origin.of_database(self._directory)
            self._review_at = clock.monotonic() + REVIEW_SECONDS
        for place in spools(self._directory):
            self._try(place, self._begin, found)
        if is_review:
            for folder in self._unfinished_in_archive():
                self._try(folder, self._begin_archived, found)
        return found

    def _try(self, place: Path, begin: Begin, found: Ingested) -> None:
        """Read one spool; only an unavailable database keeps the others from being read."""
        try:
            self._look_at(place, begin, found)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            logger.exception("the spool %s could not be read", place.name)
            found.failed += 1
            if isinstance(error, Error | PositionLost):
                self._distrust()

    def _look_at(self, place: Path, begin: Begin, found: Ingested) -> None:
        reader = self._readers.get(place.name) or begin(place)
        if reader is None:
            return
        try:
            reader.read(found)
        except BaseException:
            self._end(reader)
            raise
        found.spools += 1
        if reader.is_finished:
            self._end(reader)

    def close(self) -> None:
        for reader in tuple(self._readers.values()):
            self._end(reader)

    def _distrust(self) -> None:
        """Forget what the readers believe to be booked, and compare the finished spools with the database
        again.

        What they believe may be gone with the server's last commits.
        """
        self.close()
        self._review_at = float("-inf")

    def _unfinished_in_archive(self) -> list[Path]:
        """Return folders of finished spools that the database does not know as fully read: it lost that."""
        since = self._booked_here_since
        kept = [
            folder
            for folder in archive.spools(self._directory)
            if not (self._directory / folder.name).exists()
        ]
        is_done = _known([folder.name for folder in kept])
        return [
            folder
            for folder in kept
            if not is_done.get(folder.name, archive.last_written(folder) < since)
        ]

    def _begin_archived(self, folder: Path) -> Reader | None:
        """Open an archived spool; None while another ingester reads it."""
        lock = locked(folder, os.O_RDONLY | os.O_DIRECTORY)
        return None if lock is None else self._reader(self._directory / folder.name, lock)

    def _begin(self, place: Path) -> Reader | None:
        """Open a spool; None while another ingester reads it."""
        lock = locked(place / INGEST_LOCK)
        if lock is None:
            return None
        if not place.exists():  # the other one finished it
            os.close(lock)
            return None
        return self._reader(place, lock)

    def _reader(self, place: Path, lock: int) -> Reader:
        try:
            reader = self._readers[place.name] = Reader(self._directory, place, lock)
        except BaseException:
            os.close(lock)
            raise
        return reader

    def _end(self, reader: Reader) -> None:
        del self._readers[reader.name]
        os.close(reader.lock)


def _changed_at(folder: Path) -> int:
    """Return when a name in the folder came or went last; 0 if there is no such folder."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _size(file: Path) -> int:
    """Return the file's size; 0 if there is no such file."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _known(names: list[str]) -> dict[str, bool]:
    """Tell whether each spool with a stored position was read to its end."""
    known: dict[str, bool] = {}
    for first in range(0, len(names), NAMES):
        some = SpoolPosition.objects.filter(spool__in=names[first : first + NAMES])
        known.update(some.values_list("spool", "is_done"))
    return known


def spools(directory: Path) -> list[Path]:
    """Return this host's spools that are not read to their end."""
    if not directory.is_dir():
        return []
    return sorted(
        place
        for place in directory.iterdir()
        if place.is_dir() and place.name != archive.FOLDER and not place.name.startswith(NEWBORN)
    )
