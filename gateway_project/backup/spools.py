"""Copy the spool files that a database has not read to their end.

The database is copied first and the spools afterwards. So whatever the copy of the database does not know
lies in the copied spools, and what it knows already is recognised: rows by their ids, refusals by their
place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gateway_project.backup import files
from gateway_project.backup.contents import SpoolPlace
from gateway_project.backup.files import BackupFailed
from tenants.ledger import archive, ingest, origin, reader, set_aside

FOLDER = "spool"
# Tells whether a file of an archived spool may hold what the database does not.
IsNeeded = Callable[[str, int, Path], bool]


def unread_by(places: Mapping[str, SpoolPlace], since: float) -> IsNeeded:
    """Return what a database with these places has not read; archived spools that it does not know were
    booked in another one if they were last written to before `since`."""

    def is_needed(spool: str, number: int, path: Path) -> bool:
        place = places.get(spool)
        if place is None:
            return path.stat().st_mtime >= since
        return not place.is_done and number >= place.file_number

    return is_needed


def booked_here_since(directory: Path) -> float:
    """Return since when spools of this directory are booked in its database, in seconds since the epoch."""
    try:
        return (directory / origin.FILE).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def collect(directory: Path, target: Path, is_needed: IsNeeded) -> list[str]:
    """Copy spools below `directory`, and of the archive what is needed; return the names of the spools.

    Whatever is there already is replaced by a longer file only: spools are appended to.
    """
    files.make_directory(target)
    for spool, number, path in _live(directory):
        copied = target / spool / f"{number:06d}.log"
        with contextlib.suppress(FileNotFoundError):  # archived meanwhile, where it is found below
            _copy_longer(path, copied)
    for folder in archive.spools(directory):
        for number, path in sorted(archive.files(directory, folder.name).items()):
            if is_needed(folder.name, number, path):
                _copy_longer(path, target / folder.name / f"{number:06d}.log")
    for place in ingest.spools(directory):  # one without a file may hold budgets
        files.make_directory(target / place.name)
    if (directory / set_aside.FILE).exists():
        _copy_longer(directory / set_aside.FILE, target / set_aside.FILE)
    return sorted(place.name for place in target.iterdir() if place.is_dir())


def _live(directory: Path) -> Iterator[tuple[str, int, Path]]:
    for place in ingest.spools(directory):
        for path in sorted(place.glob("*.log")):
            yield place.name, int(path.stem), path


def _copy_longer(source: Path, target: Path) -> None:
    files.make_directory(target.parent)
    if target.exists():
        if source.stat().st_size <= target.stat().st_size:
            return
        target.unlink()
    files.copy(source, target)


def refuse_living(directory: Path) -> None:
    """Raise BackupFailed if a process still writes below the directory."""
    alive = [place.name for place in ingest.spools(directory) if reader.is_alive(place)]
    if alive:
        raise BackupFailed(f"A process still writes the spool {alive[0]} in {directory}: stop it.")


def put_back(source: Path, target: Path, names: list[str]) -> None:
    """Copy a backup's spools to where an ingester reads them, as spools whose processes are dead."""
    files.make_directory(target)
    for name in names:
        files.make_directory(target / name)
    for path in files.everything_in(source) if source.is_dir() else []:
        files.copy(path, target / path.relative_to(source))


def give_up(target: Path, names: list[str]) -> None:
    """Have an ingester end spools whose files are lost: without files there is nothing to read."""
    for name in names:
        files.make_directory(target / name)


def belongs_to(directory: Path, name: str) -> bool:
    """Tell whether spools of this directory are booked in the database of that name."""
    try:
        return (directory / origin.FILE).read_text(encoding="utf-8") == name
    except FileNotFoundError:  # nothing was ever booked
        return True
