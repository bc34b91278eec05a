"""Remember in which database the archived spools were booked.

A finished spool that the database does not know is read again, because a restored database has forgotten
it. One that was booked in another database must not be: its tenants are not those of this one.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.db.migrations.recorder import MigrationRecorder

from tenants.ledger import archive

FILE = "database"


def of_database(directory: Path) -> float:
    """Return since when, in seconds since the epoch, this host's spools have been booked in this
    database.

    The answer is in a file beside the spools that names the database; it is rewritten when the name
    differs.
    """
    file, name = directory / FILE, _name()
    try:
        if file.read_text(encoding="utf-8") == name:
            return file.stat().st_mtime
    except FileNotFoundError:
        pass
    is_first = not file.exists() and not archive.spools(directory)
    file.write_text(name, encoding="utf-8")
    if is_first:  # nothing was booked anywhere else
        os.utime(file, (0, 0))
    return file.stat().st_mtime


def _name() -> str:
    """Return the instant of the first migration: it survives a restored backup, and a new database has
    another.
    """
    first = (
        MigrationRecorder.Migration.objects.order_by("pk").values_list("applied", flat=True).first()
    )
    return "" if first is None else first.isoformat()
