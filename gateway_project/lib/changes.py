"""Tell whether a database has changed since it was asked: SQLite without asking it, PostgreSQL by one query.

In WAL mode every process that has the database open shares its index, the file `-shm`. A commit becomes
visible at the moment the header of that index is replaced, which counts transactions (`iChange`,
https://sqlite.org/walformat.html#the_wal_index_file_format). To read it takes some microseconds, to ask the
database a hundred times as many.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings
from django.db import connection

from gateway_project.lib import clock

# The first of the header's two copies.
HEADER_BYTES = 48


class Changes:
    """The changes of the default database since the last `seen`.

    A database that is not SQLite may always have changed, and so may one that was last asked
    `most_seconds` ago: whether it answers matters, too.
    """

    def __init__(self, *, most_seconds: float) -> None:
        self._path = _index_of_database()
        self._file = -1
        self._most_seconds = most_seconds
        self._stamp: bytes | None = None
        self._ask_at = float("-inf")

    @property
    def are_possible(self) -> bool:
        """Tell whether the database has to be asked."""
        if self._stamp is None or clock.monotonic() >= self._ask_at:
            return True
        return self.stamp() != self._stamp

    def stamp(self) -> bytes | None:
        """Return a stamp to pass to `seen`, taken before the database is asked."""
        if self._path is None:
            return None
        try:
            if self._file < 0 or not os.path.samestat(self._path.stat(), os.fstat(self._file)):
                # Never closed: with it, the kernel would drop the locks that SQLite holds on the same file.
                self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            header = os.pread(self._file, HEADER_BYTES, 0)
        except OSError:
            return None
        return header if len(header) == HEADER_BYTES else None

    def seen(self, stamp: bytes | None) -> None:
        """Note that the database was asked after the stamp was taken; None if its answer does not count."""
        self._stamp = stamp
        self._ask_at = clock.monotonic() + self._most_seconds


class Writes:
    """The writes to a PostgreSQL since somebody last looked at everything, told by one query instead of one
    for each thing. They are those to all databases of the server, so that at times there is nothing to see.

    A transaction gets its number with its first write. A snapshot names the highest number of those that have
    ended, and the lower ones of those that have not: it is the same as before only if no transaction that
    wrote has ended since. A look may be due by the clock alone, after `most_seconds` at the latest. Of
    another database nothing is known, and it may always have changed.
    """

    def __init__(self, *, most_seconds: float) -> None:
        self._most_seconds = most_seconds
        self._snapshot: str | None = None
        self._look_at = float("-inf")

    def are_possible(self) -> bool:
        """Ask before looking. Whoever looked in vain calls `forget`."""
        if connection.vendor != "postgresql":
            return True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_snapshot()::text")
            (snapshot,) = cursor.fetchone()
        now = clock.monotonic()
        if snapshot == self._snapshot and now < self._look_at:
            return False
        self._snapshot, self._look_at = snapshot, now + self._most_seconds
        return True

    def forget(self) -> None:
        """Look the next time, whatever was written."""
        self._snapshot = None


def _index_of_database() -> Path | None:
    """Return where the index of the default database lies, if that is a file of SQLite."""
    database = settings.DATABASES["default"]
    name = str(database["NAME"])
    if not database["ENGINE"].endswith("sqlite3") or not Path(name).is_file():
        return None
    # SQLite puts it beside the file itself, whatever links lead there.
    return Path(f"{Path(name).resolve()}-shm")
