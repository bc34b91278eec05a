"""Keep backups in one directory: made aside, shown whole, pruned whole.

A backup is made in a hidden directory and renamed once all of it is on the disk, its manifest written
last. So what has the name of a backup is one, whatever killed the process that made it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from gateway_project.backup import files, manifest
from gateway_project.backup.files import BackupFailed

DRAFT, DISCARDED, LOCK = ".new-", ".old-", ".lock"
_NAME = re.compile(r"\d{8}T\d{6}Z(?:-spools-[A-Za-z0-9-]+)?\Z")


def free_name(directory: Path, instant: datetime, ending: str = "") -> str:
    """Return the name of a backup of this moment, or of the next second if there is one of that name."""
    while (directory / (name := f"{instant:%Y%m%dT%H%M%SZ}{ending}")).exists():
        instant += timedelta(seconds=1)
    return name


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Have the directory for ourselves, without what an interrupted backup left. Raise BackupFailed."""
    files.make_directory(directory)
    descriptor = os.open(directory / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupFailed(f"Another backup to {directory} is being made.") from error
        for left in [*directory.glob(f"{DRAFT}*"), *directory.glob(f"{DISCARDED}*")]:
            shutil.rmtree(left)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def draft(directory: Path, name: str) -> Iterator[Path]:
    """Make a backup of this name, which none has, in the block."""
    making = directory / f"{DRAFT}{name}"
    making.mkdir(mode=0o700)
    try:
        yield making
        for folder in [*(path for path in making.rglob("*") if path.is_dir()), making]:
            files.sync(folder)
        making.rename(directory / name)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    files.sync(directory)


def all_whole(directory: Path) -> list[Path]:
    """Return the backups in a directory, oldest first."""
    found = (path for path in directory.iterdir() if _NAME.match(path.name))
    return sorted(path for path in found if (path / manifest.NAME).exists())


def newest(directory: Path) -> Path:
    """Return the backup that a path names, or the newest one in it. Raise BackupFailed."""
    if (directory / manifest.NAME).exists():
        return directory
    if not directory.is_dir():
        raise BackupFailed(f"There is no directory {directory}.")
    found = [path for path in all_whole(directory) if "-spools-" not in path.name]
    if not found:
        raise BackupFailed(f"There is no whole backup in {directory}.")
    return found[-1]


def prune(directory: Path, made: manifest.Manifest, keep: int) -> list[str]:
    """Remove older backups of the same installation and kind, but the newest `keep`; return their names."""
    suffix = made.name.partition("-")[2]
    alike = [
        path
        for path in all_whole(directory)
        if path.name.partition("-")[2] == suffix and _is_of(path, made.origin)
    ]
    removed = alike[:-keep]
    for path in removed:
        discarded = directory / f"{DISCARDED}{path.name}"
        path.rename(discarded)
        shutil.rmtree(discarded)
    return [path.name for path in removed]


def _is_of(path: Path, origin: str) -> bool:
    try:
        return manifest.read(path).origin == origin
    except BackupFailed:  # of another version, or damaged: not ours to remove
        return False
