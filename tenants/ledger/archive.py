"""Keep booked spool files for a while, in case the database loses what it had, then delete them."""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime
from pathlib import Path

logger = logging.getLogger("tollgate.ledger")

FOLDER = "archive"
DAMAGED = ".damaged"


def keep(directory: Path, spool: str, path: Path, *, is_damaged: bool) -> None:
    """Move a file of a spool out of its ingester's way."""
    folder = directory / FOLDER / spool
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.rename(folder / f"{path.name}{DAMAGED if is_damaged else ''}")


def spools(directory: Path) -> list[Path]:
    """Return the folders of all spools of which something is kept."""
    return sorted(path for path in (directory / FOLDER).glob("*") if path.is_dir())


def files(directory: Path, spool: str) -> dict[int, Path]:
    """Return the kept files of a spool, by number."""
    kept = (directory / FOLDER / spool).glob("*.log*")
    return {int(path.name.partition(".")[0]): path for path in kept}


def last_written(folder: Path) -> float:
    """Return when a spool's youngest file was last written to, in seconds since the epoch; 0 if there is
    none.
    """
    return max((path.stat().st_mtime for path in folder.glob("*.log*")), default=0.0)


def damaged(directory: Path) -> list[Path]:
    """Return files that are partly unreadable."""
    return sorted((directory / FOLDER).glob(f"*/*{DAMAGED}"))


def delete_before(directory: Path, horizon: datetime) -> int:
    """Delete files last written before then, damaged ones too, and return how many. Safe to run
    concurrently.
    """
    deleted = 0
    for path in sorted((directory / FOLDER).glob("*/*")):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < horizon.timestamp():
                path.unlink()
                deleted += 1
    for folder in (directory / FOLDER).glob("*"):
        with contextlib.suppress(OSError):  # not empty, or gone
            folder.rmdir()
    if deleted:
        logger.info("%s archived spool files were deleted", deleted)
    return deleted
