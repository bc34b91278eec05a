"""Copy a SQLite database that is in use, and read a copy without changing it.

The copy is one moment: a read transaction is held for as long as it takes, so that no write of another
process makes SQLite begin anew. The file's log (-wal) can only grow meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from gateway_project.backup import files
from gateway_project.backup.files import BackupFailed
from gateway_project.backup.progress import ProgressTeller

NAME = "database.sqlite3"
PAGES = 1024  # of one step


def copy(source: Path, target: Path, progress: ProgressTeller) -> None:
    """Copy the database to a new file of its own, without a log. Raise BackupFailed."""
    files.create(target).close()
    try:
        with closing(_open(source, "ro")) as old, closing(sqlite3.connect(target)) as new:
            old.execute("BEGIN")
            old.execute("SELECT count(*) FROM sqlite_master").fetchone()
            new.execute("PRAGMA synchronous = OFF")  # synced as a whole below
            old.backup(
                new,
                pages=PAGES,
                progress=lambda _, left, total: progress.tell(
                    f"copied {total - left} of {total} pages"
                ),
            )
            new.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise BackupFailed(f"The database could not be copied: {error}.") from error
    files.sync(target)


@contextmanager
def cursor_of(copied: Path) -> Iterator[Any]:
    """Read a copy that nobody writes to. Raise BackupFailed."""
    try:
        with closing(_open(copied, "ro&immutable=1")) as connection:
            yield connection.cursor()
    except sqlite3.Error as error:
        raise BackupFailed(f"The copy of the database cannot be read: {error}.") from error


def check(copied: Path) -> None:
    """Have SQLite look at every page. Raise BackupFailed."""
    with cursor_of(copied) as cursor:
        cursor.execute("PRAGMA quick_check(1)")
        (found,) = cursor.fetchone()
    if found != "ok":
        raise BackupFailed(f"The copy of the database is damaged: {found}.")


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=10)
