"""From spools into the database, exactly once.

1. A spool is read under its own ingest lock, so that two readers never interleave.
2. One transaction writes a batch's rows, what they do to budgets, keys and hours, and the place read up to.
3. A call that is still open is read again by the next reader, from the place of the oldest; rows that are
   there already change nothing, so that reading again is harmless.
4. Whether a spool's process lives is asked of its lock. If it does not, what is left open is abandoned.
5. What cannot be read or booked is set aside (set_aside.py), and everything else goes on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.db import (
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    transaction,
)
from msgspec import Struct

from gateway_project.lib import clock
from tenants.ledger import archive, booking, set_aside
from tenants.ledger.open_calls import Booked, OpenCall, abandoned, settled
from tenants.ledger.records import Noted, Opened, Record, Unreadable, next_whole, read
from tenants.ledger.spool import LOCK, NEWBORN
from tenants.models import SpoolPosition
from tenants.prices import book

logger = logging.getLogger("tollgate.ledger")

INGEST_LOCK = "ingest.lock"
BATCH = 500
READ_BYTES = 4 * 1024 * 1024
# A record is written right after its instant was read from the clock; this is for those in between.
WATERMARK_MARGIN = timedelta(seconds=2)
# What is said of a row that cannot be kept: neither that the database is away, nor a fault of ours, either of
# which leaves the record in its spool.
_UNKEEPABLE = (DataError, IntegrityError, OverflowError)


class Ingested(Struct):
    """What one look at the spools found."""

    rows: int = 0
    abandoned: int = 0
    spools: int = 0
    finished: int = 0
    set_aside: int = 0
    failed: int = 0


def ingest_all(directory: Path) -> Ingested:
    """Read once what every spool of this host holds. Raises as `look`; what was committed stays so."""
    ingester = Ingester(directory)
    try:
        return ingester.look()
    finally:
        ingester.close()


class Ingester:
    """Knows the open calls of the spools it reads, so that each look reads only what is new."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._readers: dict[str, Reader] = {}

    def look(self) -> Ingested:
        """Read what there is. What fails with one spool is logged, and the others are read; raises
        OperationalError or InterfaceError where the database is away. What failed is read again."""
        found = Ingested()
        for place in spools(self._directory):
            try:
                self._look_at(place, found)
            except (OperationalError, InterfaceError):
                raise
            except Exception:
                logger.exception("the spool %s cannot be read now", place.name)
                found.failed += 1
        return found

    def _look_at(self, place: Path, found: Ingested) -> None:
        reader = self._readers.get(place.name) or self._begin(place)
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

    def _begin(self, place: Path) -> Reader | None:
        """None while another ingester reads it."""
        lock = _taken(place / INGEST_LOCK)
        if lock is None:
            return None
        if not place.exists():  # the other one finished it
            os.close(lock)
            return None
        try:
            reader = self._readers[place.name] = Reader(self._directory, place, lock)
        except BaseException:
            os.close(lock)
            raise
        return reader

    def _end(self, reader: Reader) -> None:
        del self._readers[reader.name]
        os.close(reader.lock)


def spools(directory: Path) -> list[Path]:
    """Those of this host that are not read to their end."""
    if not directory.is_dir():
        return []
    return sorted(
        place
        for place in directory.iterdir()
        if place.is_dir() and place.name != archive.FOLDER and not place.name.startswith(NEWBORN)
    )


def _taken(path: Path) -> int | None:
    """The lock's descriptor, which gives it back when it is closed; None if somebody holds it."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:  # the whole spool has gone
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_alive(place: Path) -> bool:
    """Whether the process that writes this spool still holds its lock."""
    lock = _taken(place / LOCK)
    if lock is not None:
        os.close(lock)
    return lock is None


class Reader:
    """One spool, from the place of its oldest open call."""

    def __init__(self, directory: Path, place: Path, lock: int) -> None:
        self.name = place.name
        self.lock = lock
        self.is_finished = False
        self._directory = directory
        self._place = place
        self._found = Ingested()
        self._open: dict[str, OpenCall] = {}
        self._ended: list[Booked] = []
        self._damaged: set[int] = set()
        self._looked_at = clock.now()
        self._position = _position(place.name)
        self._file_number = self._position.low_file_number
        self._offset = self._position.low_offset

    def read(self, found: Ingested) -> None:
        """Everything that is new; the rest of it, if its process is dead."""
        self._found, self._looked_at = found, clock.now()
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
        """Read the current file as far as it goes; whether there is a next one to go on with. Where nothing
        more is written to it, what cannot be read is damage: it is told, and passed by."""
        path = self._file(self._file_number)
        has_next = self._file(self._file_number + 1).exists()
        if path.exists():
            self._read_records(path)
            while (has_next or is_complete) and self._pass_damage(path):
                self._read_records(path)
        if has_next:
            self._file_number, self._offset = self._file_number + 1, 0
        return has_next

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
                    if len(self._ended) >= BATCH:
                        self._commit()
                if self._offset == begin:
                    return

    def _pass_damage(self, path: Path) -> bool:
        """Go on at the next whole record behind what cannot be read, if there is one. A last record that
        was cut short by the end of its process is no damage: nothing relied on it."""
        with path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        following = next_whole(data, 1)
        if following is None:
            if data:
                logger.warning("%s ends in %s bytes that are no whole record", path, len(data))
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
        elif (call := self._open.get(record.id)) is None:
            return  # its opening lies before the place read from, so that it was booked
        elif isinstance(record, Noted):
            call.noted = record
        else:
            self._ended.append(settled(call.opened, record))
            del self._open[record.id]

    @transaction.atomic
    def _commit(self) -> None:
        """Write what has ended, and how far we are."""
        if not self._ended and not self._has_moved() and not self._is_idle_too_long():
            return
        self._found.rows += self._booked(self._ended)
        self._ended = []
        self._save_position()

    def _booked(self, calls: list[Booked]) -> int:
        """How many rows were written. One that the database cannot keep does not keep the others out."""
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
        """The watermark moves also while nothing happens, but not with every look."""
        return self._looked_at - self._position.watermark_at > 5 * WATERMARK_MARGIN

    def _save_position(self) -> None:
        position = self._position
        oldest = min(
            self._open.values(), key=lambda call: (call.file_number, call.offset), default=None
        )
        position.file_number, position.offset = self._file_number, self._offset
        position.low_file_number = oldest.file_number if oldest else self._file_number
        position.low_offset = oldest.offset if oldest else self._offset
        position.unread_bytes = self._unread()
        position.watermark_at = self._watermark()
        position.updated_at = clock.now()
        position.save()

    def _watermark(self) -> datetime:
        opened = [call.opened.at_ms for call in self._open.values()]
        known = self._looked_at - WATERMARK_MARGIN
        return min(known, datetime.fromtimestamp(min(opened) / 1000, UTC)) if opened else known

    def _unread(self) -> int:
        path = self._file(self._file_number)
        return max(path.stat().st_size - self._offset, 0) if path.exists() else 0

    @transaction.atomic
    def _abandon(self) -> None:
        """The process is dead: what it left open ends here, and what it held is free."""
        opened = [call.opened for call in self._open.values()]
        versions = {v for o in opened for v in (o.cost_version, o.charge_version) if v is not None}
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
        """Files before that of the oldest open call are not needed again."""
        if self._ended:
            return
        for path in sorted(self._place.glob("*.log")):
            if int(path.stem) >= self._position.low_file_number:
                return
            self._archived(path)

    def _finish(self) -> None:
        for path in sorted(self._place.glob("*.log")):
            self._archived(path)
        shutil.rmtree(self._place)
        self._found.finished += 1
        self.is_finished = True

    def _archived(self, path: Path) -> None:
        is_damaged = int(path.stem) in self._damaged
        archive.keep(self._directory, self._place.name, path, is_damaged=is_damaged)

    def _file(self, number: int) -> Path:
        return self._place / f"{number:06d}.log"


def _position(spool: str) -> SpoolPosition:
    position, _ = SpoolPosition.objects.get_or_create(
        spool=spool,
        defaults={
            "host": spool.split(".", maxsplit=1)[0],
            "watermark_at": datetime.fromtimestamp(0, UTC),
        },
    )
    return position
