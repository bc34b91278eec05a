"""Keep what each process counted in a file, and add the files up.

A process has two files: a lock, which the kernel takes from it when it ends however it ends, and a
snapshot, replaced by renaming. Whoever adds up puts what a dead process left behind into one file,
`retired`: so counters never fall while processes come and go. That file names what is in it, so that
nothing is added twice if whoever adds up dies in between.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gateway_project.lib import ids
from gateway_project.lib.metrics.names import TABLES
from gateway_project.lib.metrics.tables import MOST_SERIES, Rows, Tables

logger = logging.getLogger("tollgate.metrics")

LOCK, SNAPSHOT, NEWBORN = ".lock", ".snapshot", ".new-"
RETIRED = "retired"
ADDING_LOCK = "adding"

CircuitState = tuple[
    str, int, str, str, int
]  # kind of scope, provider's id, provider, model, state


class TableRows(Struct):
    """The rows of one table; `columns` says which number is which."""

    columns: tuple[str, ...]
    rows: list[tuple[tuple[str, ...], list[int | float]]]


class Snapshot(Struct):
    """The counts of a process when it wrote this, and its state at that moment.

    `started` is the kernel's number for the process's begin, by which its id is told from a later process's.
    """

    kind: str = ""
    process: str = ""
    pid: int = 0
    started: int = 0
    dropped: int = 0
    tables: dict[str, TableRows] = {}
    in_flight: dict[str, int] = {}
    ready: dict[str, bool] = {}
    circuits: list[CircuitState] = []
    folded: list[str] = []


_decoder = msgspec.msgpack.Decoder(Snapshot)
_encoder = msgspec.msgpack.Encoder()


def encode(snapshot: Snapshot) -> bytes:
    return _encoder.encode(snapshot)


def rows_of(tables: Tables) -> dict[str, TableRows]:
    """Return what was counted as it is written. It shares the rows: write it before anything else counts."""
    return {
        table.name: TableRows(table.columns.names, list(tables.rows[table.name].items()))
        for table in TABLES
        if tables.rows[table.name]
    }


class SnapshotFile:
    """The file of the process that makes this, which must not fork afterwards."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.name = f"{kind}-{os.getpid()}-{ids.base62(8)}"
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        newborn = directory / f"{NEWBORN}{self.name}"
        self._lock = os.open(newborn, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        newborn.rename(directory / f"{self.name}{LOCK}")

    def write(self, data: bytes) -> None:
        """Replace the snapshot. Raise OSError."""
        _replace(self._directory / f"{self.name}{SNAPSHOT}", data)

    def close(self) -> None:
        """Leave the file to whoever adds up."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class Sums(Struct):
    """All processes together: `rows` of living and dead ones, and the snapshots of those that live."""

    rows: dict[str, Rows]
    dropped: int
    living: list[Snapshot]


def add_up(directory: Path, most_series: int = MOST_SERIES) -> Sums:
    """Add all processes up, and put what dead ones left into one file. Raise OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(directory):
        living, dead = _found(directory)
        retired = _read(directory / RETIRED) or Snapshot()
        sums = _sums([retired])
        new = {name: found for name, found in dead.items() if name not in retired.folded}
        if new:
            sums = _sums([retired, *(found for found in new.values() if found is not None)])
            _trim(sums, _sums(living).rows, most_series)
            _replace(directory / RETIRED, encode(_retired(sums, list(dead))))
        for name in dead:  # the lock last: by it whoever is cut off here finds the others again
            for left in (f"{NEWBORN}{name}{SNAPSHOT}", f"{name}{SNAPSHOT}", f"{name}{LOCK}"):
                (directory / left).unlink(missing_ok=True)
    for snapshot in living:
        _add(sums, snapshot)
    sums.living = living
    return sums


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one process at a time add up."""
    descriptor = os.open(directory / ADDING_LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _found(directory: Path) -> tuple[list[Snapshot], dict[str, Snapshot | None]]:
    """Return the snapshots of processes that live, and by name what dead ones left, if anything."""
    living, dead = [], {}
    for lock in sorted(directory.glob(f"*{LOCK}")):
        if lock.name.startswith(NEWBORN):
            continue
        name = lock.name.removesuffix(LOCK)
        is_dead = _is_free(lock)
        found = _read(directory / f"{name}{SNAPSHOT}")
        if is_dead:
            dead[name] = found
        elif found is not None:
            living.append(found)
    return living, dead


def _is_free(lock: Path) -> bool:
    with contextlib.suppress(OSError):
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
    return False


def _read(path: Path) -> Snapshot | None:
    """Return what a file holds; None if there is none, or nothing that can be read."""
    try:
        return _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError) as error:
        logger.warning("metrics in %s cannot be read and are left out: %s", path.name, error)
        return None


def _sums(snapshots: Iterable[Snapshot]) -> Sums:
    sums = Sums({table.name: {} for table in TABLES}, 0, [])
    for snapshot in snapshots:
        _add(sums, snapshot)
    return sums


def _add(sums: Sums, snapshot: Snapshot) -> None:
    """Add what one process counted, by the names of columns: it may be of another version."""
    sums.dropped += snapshot.dropped
    for table in TABLES:
        found = snapshot.tables.get(table.name)
        if found is None:
            continue
        ours, rows = table.columns.names, sums.rows[table.name]
        places = [ours.index(name) if name in ours else -1 for name in found.columns]
        is_same = found.columns == ours
        for labels, numbers in found.rows:
            if len(labels) != len(table.labels) or len(numbers) != len(places):
                continue
            row = rows.get(labels)
            if row is None and is_same:
                rows[labels] = list(numbers)
                continue
            if row is None:
                row = rows[labels] = [0] * len(ours)
            for place, number in zip(places, numbers, strict=True):
                if place >= 0:
                    row[place] += number


def _trim(sums: Sums, used: dict[str, Rows], most_series: int) -> None:
    """Forget the oldest rows of dead processes that no living one has, once there are too many."""
    series = sum(len(sums.rows[table.name]) * table.series for table in TABLES)
    for table in TABLES:
        rows = sums.rows[table.name]
        for labels in list(rows):
            if series <= most_series:
                return
            if labels not in used[table.name]:
                del rows[labels]
                series -= table.series


def _retired(sums: Sums, folded: list[str]) -> Snapshot:
    tables = {
        table.name: TableRows(table.columns.names, list(sums.rows[table.name].items()))
        for table in TABLES
        if sums.rows[table.name]
    }
    return Snapshot(dropped=sums.dropped, tables=tables, folded=folded)


def _replace(path: Path, data: bytes) -> None:
    """Replace a file as a whole."""
    newer = path.with_name(f"{NEWBORN}{path.name}")
    descriptor = os.open(newer, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        newer.rename(path)
    except OSError:
        newer.unlink(missing_ok=True)
        raise


def as_snapshot(tables: Tables, **fields: Any) -> Snapshot:
    """Return the snapshot of these tables."""
    return Snapshot(dropped=tables.dropped, tables=rows_of(tables), **fields)
