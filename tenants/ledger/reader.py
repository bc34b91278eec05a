"""Read one spool, and write what it holds into the database, exactly once.

1. A spool is read under its own ingest lock, so that two readers never interleave.
2. One transaction writes a batch's rows, what they do to budgets, keys and hours, and the place read up to.
   It commits only if the stored place is the one this reader started from: the database decides what is
   booked, never the memory of a reader.
3. A call that is still open is read again by the next reader, from the place of the oldest; rows that are
   there already change nothing, so that reading again is harmless.
4. Whether a spool's process lives is asked of its lock. If it does not, what is left open is abandoned.
5. A refused request is complete in one record, which counts if it lies behind the place that was stored when
   its reader began.
6. What cannot be read or booked is set aside (set_aside.py), and everything else goes on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.db import DataError, IntegrityError, transaction
from msgspec import Struct, structs

from gateway_project.lib import clock
from gateway_project.lib.db import durable_transaction
from tenants import heartbeats
from tenants.ledger import archive, booking, refusals, set_aside, statements
from tenants.ledger.open_calls import Booked, OpenCall, abandoned, settled
from tenants.ledger.records import (
    Noted,
    Opened,
    Record,
    Refused,
    RefusedMore,
    Unreadable,
    next_whole,
    read,
)
from tenants.ledger.spool import LOCK
from tenants.models import SpoolPosition
from tenants.prices import book

logger = logging.getLogger("tollgate.ledger")

BATCH = 500
READ_BYTES = 4 * 1024 * 1024
# A record is written right after its instant was read from the clock; this is for those in between.
WATERMARK_MARGIN = timedelta(seconds=2)
# How often the watermark moves while nothing happens: as often as an ingester shows that it lives.
IDLE_WATERMARK = timedelta(seconds=heartbeats.EVERY_SECONDS)
# What is said of a row that cannot be kept: neither that the database is away, nor a fault of ours, either of
# which leaves the record in its spool.
_UNKEEPABLE = (DataError, IntegrityError, OverflowError)
# What saving a place changes.
_MOVING = (
    "file_number", "offset", "low_file_number", "low_offset", "unread_bytes", "abandoned", "watermark_at",
    "is_done", "updated_at",
)  # fmt: skip


class PositionLost(Exception):
    """The stored position of a spool is not the one its reader saved: the database is not what it was."""


class _Unkept(Exception):
    """A batch holds a row that cannot be kept."""


class Ingested(Struct):
    """The findings of one look at the spools."""

    rows: int = 0
    abandoned: int = 0
    spools: int = 0
    finished: int = 0
    set_aside: int = 0
    failed: int = 0


class Reader:
    """Reads one spool, from the position of its oldest open call; archived files are read in the archive."""

    def __init__(self, directory: Path, place: Path, lock: int) -> None:
        self.name = place.name
        self.lock = lock
        self.is_finished = False
        self._directory = directory
        self._place = place
        self._found = Ingested()
        self._open: dict[str, OpenCall] = {}
        self._ended: list[Booked] = []
        self._refused: list[Refused | RefusedMore] = []
        self._damaged: set[int] = set()
        self._archived_files = archive.files(directory, place.name)
        self._looked_at = clock.now()
        self._position = _position(place.name)
        self._file_number = self._position.low_file_number
        self._offset = self._position.low_offset
        # Refusals before this place are booked; calls before it may be open still, and are read again.
        self._booked_to = self._position.file_number, self._position.offset
        self._pass_deleted_files()

    @property
    def folder(self) -> Path:
        return self._place

    @property
    def current_file(self) -> Path:
        """Return the file to which the next record will be written, unless another file is begun."""
        return self._place / f"{self._file_number:06d}.log"

    def read(self, found: Ingested) -> None:
        """Read everything that is new, and finish the spool if its process is dead."""
        self._found, self._looked_at = found, clock.now()
        if self._position.is_done:  # whoever read it died before it could tidy up
            self._finish()
            return
        # Asked first: what it wrote before it died is read below.
        is_alive_before = is_alive(self._place)
        while self._read_file(is_complete=not is_alive_before):
            self._archive_read_files()
        self._commit()
        if is_alive_before:
            self._archive_read_files()
            return
        self._abandon()
        self._finish()

    def _read_file(self, *, is_complete: bool) -> bool:
        """Read the current file as far as it goes; return whether there is a next one to go on with.

        In a file that is no longer written to, anything unreadable is damage: it is reported and skipped.
        """
        path = self._file(self._file_number)
        has_next = self._file(self._file_number + 1).exists()
        if path.exists():
            self._read_records(path)
            while (has_next or is_complete) and self._pass_damage(path):
                self._read_records(path)
        if has_next:
            self._file_number, self._offset = self._file_number + 1, 0
        return has_next

    def _pass_deleted_files(self) -> None:
        """Begin at the first existing file. Missing files were deleted with the archive."""
        numbers = {
            int(path.stem) for path in self._place.glob("*.log")
        } | self._archived_files.keys()
        if numbers and self._file_number < min(numbers):
            missing = f"{self._file_number} to {min(numbers) - 1}"
            logger.error("%s: the contents of files %s are gone", self.name, missing)
            self._file_number, self._offset = min(numbers), 0

    def _read_records(self, path: Path) -> None:
        with path.open("rb") as file:
            while True:
                file.seek(self._offset)
                begin, data = self._offset, file.read(READ_BYTES)
                for record, end in read(data):
                    if isinstance(record, Unreadable):
                        self._set_aside(record.body.decode("utf-8", "replace"), record.reason)
                    else:
                        self._take(record)
                    self._offset = begin + end
                    if len(self._ended) + len(self._refused) >= BATCH:
                        self._commit()
                if self._offset == begin:
                    return

    def _pass_damage(self, path: Path) -> bool:
        """Go on at the next whole record behind damage, if there is one.

        A last record that was cut short by the end of its process is no damage: nothing relied on it.
        """
        with path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        following = next_whole(data, 1)
        if following is None:
            if data:
                logger.warning("%s ends with %s bytes of an incomplete record", path, len(data))
            return False
        logger.error("%s is damaged: %s bytes at %s are lost", path, following, self._offset)
        self._damaged.add(self._file_number)
        self._offset += following
        return True

    def _set_aside(self, what: object, reason: str) -> None:
        place = self._place.name, self._file_number, self._offset
        set_aside.keep(self._directory, *place, what=what, reason=reason)
        self._found.set_aside += 1

    def _take(self, record: Record) -> None:
        if isinstance(record, Opened):
            self._open[record.id] = OpenCall(record, self._file_number, self._offset)
        elif isinstance(record, (Refused, RefusedMore)):  # quicker than a union
            if (self._file_number, self._offset) >= self._booked_to:
                self._refused.append(record)
        elif (call := self._open.get(record.id)) is None:
            return  # its opening lies before the place read from, so that it was booked
        elif isinstance(record, Noted):
            call.noted = record
        else:
            self._ended.append(settled(call.opened, record))
            del self._open[record.id]

    def _commit(self) -> None:
        """Write what has ended or was refused, and the position reached."""
        if not self._ended and not self._has_moved() and not self._is_idle_too_long():
            return
        try:
            self._write(self._booked_at_once)
        except _Unkept:
            self._write(self._booked)

    def _write(self, book_rows: Callable[[list[Booked]], int]) -> None:
        with durable_transaction():
            rows = book_rows(self._ended)
            self._book_refused(self._refused)
            self._save_position()
        self._found.rows += rows
        self._ended, self._refused = [], []

    def _book_refused(self, records: list[Refused | RefusedMore]) -> None:
        """Book refusals. One that the database cannot hold does not keep the others out."""
        if not records:
            return
        try:
            refusals.try_book(records)
        except (*_UNKEEPABLE, ValueError) as error:
            if len(records) == 1:
                self._set_aside(structs.asdict(records[0]), f"{type(error).__name__}: {error}")
                return
            for record in records:
                self._book_refused([record])

    def _booked_at_once(self, calls: list[Booked]) -> int:
        """Write rows and return how many, as nearly always, when none is refused: without a savepoint, which
        costs two statements and more than that in Django. Raise _Unkept, and nothing is written."""
        try:
            return booking.book(calls, self._place.name)
        except _UNKEEPABLE as error:
            raise _Unkept from error

    def _booked(self, calls: list[Booked]) -> int:
        """Write rows and return how many. One that the database cannot hold does not keep the others out."""
        try:
            with transaction.atomic():
                return booking.book(calls, self._place.name)
        except _UNKEEPABLE as error:
            if len(calls) == 1:
                self._set_aside(calls[0].values, f"{type(error).__name__}: {error}")
                return 0
        booking.lock_windows(calls, self._place.name)
        return sum(self._booked([call]) for call in calls)

    def _has_moved(self) -> bool:
        position = self._position
        place = (self._file_number, self._offset)
        return (
            place != (position.file_number, position.offset)
            or self._unread() != position.unread_bytes
        )

    def _is_idle_too_long(self) -> bool:
        """Tell whether the watermark is due: it moves also while nothing happens, but not with every
        look.
        """
        return self._looked_at - self._position.watermark_at > WATERMARK_MARGIN + IDLE_WATERMARK

    def _save_position(self) -> None:
        """Advance the stored position from where this reader left it. Raise PositionLost if it is
        elsewhere.
        """
        position = self._position
        former = {
            "file_number": position.file_number,
            "offset": position.offset,
            "is_done": False,  # one that is done is read no more
        }
        oldest = min(
            self._open.values(), key=lambda call: (call.file_number, call.offset), default=None
        )
        position.file_number, position.offset = self._file_number, self._offset
        position.low_file_number = oldest.file_number if oldest else self._file_number
        position.low_offset = oldest.offset if oldest else self._offset
        position.unread_bytes = self._unread()
        position.watermark_at = self._watermark()
        position.updated_at = clock.now()
        if not statements.move_position(position, _MOVING, former):
            raise PositionLost(f"the stored place of {self.name} is not the one that was saved")

    def _watermark(self) -> datetime:
        opened = [call.opened.at_ms for call in self._open.values()]
        known = self._looked_at - WATERMARK_MARGIN
        return min(known, datetime.fromtimestamp(min(opened) / 1000, UTC)) if opened else known

    def _unread(self) -> int:
        path = self._file(self._file_number)
        return max(path.stat().st_size - self._offset, 0) if path.exists() else 0

    @durable_transaction()
    def _abandon(self) -> None:
        """Finish the spool of a dead process: its open calls end here, and what it held is free."""
        opened = [call.opened for call in self._open.values()]
        versions = {
            version
            for one in opened
            for version in (one.cost_version, one.charge_version, one.list_version)
            if version is not None
        }
        terms_of = book.version_terms(versions).get
        calls = [abandoned(call, terms_of) for call in self._open.values()]
        booking.lock_windows(calls, self._place.name)
        self._found.abandoned += self._booked(calls)
        booking.return_leases(self._place.name)
        self._open = {}
        self._position.abandoned += len(calls)
        self._position.is_done = True
        self._save_position()

    def _archive_read_files(self) -> None:
        """Archive files before that of the oldest open call, which are not needed again."""
        if self._ended or self._refused:
            return
        for path in sorted(self._place.glob("*.log")):
            if int(path.stem) >= self._position.low_file_number:
                return
            self._archived(path)

    def _finish(self) -> None:
        for path in sorted(self._place.glob("*.log")):
            self._archived(path)
        if self._place.exists():
            shutil.rmtree(self._place)
        self._found.finished += 1
        self.is_finished = True

    def _archived(self, path: Path) -> None:
        is_damaged = int(path.stem) in self._damaged
        archive.keep(self._directory, self._place.name, path, is_damaged=is_damaged)

    def _file(self, number: int) -> Path:
        """Return where the file is, or would be."""
        live = self._place / f"{number:06d}.log"
        archived = self._archived_files.get(number)
        return live if archived is None or live.exists() else archived


def is_alive(place: Path) -> bool:
    """Tell whether the process that writes this spool still holds its lock."""
    if not place.exists():  # its files are archived, so that it has ended
        return False
    lock = locked(place / LOCK)
    if lock is not None:
        os.close(lock)
    return lock is None


def locked(path: Path, flags: int = os.O_CREAT | os.O_RDWR) -> int | None:
    """Lock a file; return its descriptor, which releases the lock when closed, or None if it is taken."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:  # the whole spool has gone
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _position(spool: str) -> SpoolPosition:
    position, _ = SpoolPosition.objects.get_or_create(
        spool=spool,
        defaults={
            "host": spool.split(".", maxsplit=1)[0],
            "watermark_at": datetime.fromtimestamp(0, UTC),
        },
    )
    return position
