"""Write files that only their owner can read, and know what is in them once they are on the disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

BLOCK = 1024 * 1024


class BackupFailed(Exception):
    """A backup cannot be made, trusted or put back; the message is for the operator."""


class FileFacts(Struct, frozen=True):
    """The size of a file and the SHA-256 of its content."""

    bytes: int
    sha256: str


def facts_of(path: Path) -> FileFacts:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return FileFacts(size, digest.hexdigest())


def copy(source: Path, target: Path) -> None:
    """Copy what the file holds now, with its time of writing, and wait for the disk."""
    with source.open("rb") as file, create(target) as copied:
        written = os.fstat(file.fileno())
        while block := file.read(BLOCK):
            copied.write(block)
        copied.flush()
        os.fsync(copied.fileno())
    os.utime(target, ns=(written.st_atime_ns, written.st_mtime_ns))


def write(path: Path, content: bytes) -> None:
    with create(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def create(path: Path) -> BinaryIO:
    """Open a new file for writing. Raise FileExistsError if there is one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb")


def make_directory(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def everything_in(directory: Path) -> list[Path]:
    """Return all files below a directory, in order."""
    return sorted(path for path in directory.rglob("*") if path.is_file())
