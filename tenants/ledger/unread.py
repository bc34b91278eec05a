"""Tell how much of this host's spools is not booked yet, by the files themselves: also while nobody reads."""

from __future__ import annotations

from pathlib import Path

from tenants.ledger.ingest import spools
from tenants.models import SpoolPosition


def unread_bytes(directory: Path) -> int:
    """Return the bytes behind the places that are read up to."""
    found = spools(directory)
    places = {
        spool: (number, offset)
        for spool, number, offset in SpoolPosition.objects.filter(
            spool__in=[place.name for place in found]
        ).values_list("spool", "file_number", "offset")
    }
    return sum(_behind(folder, *places.get(folder.name, (1, 0))) for folder in found)


def _behind(folder: Path, number: int, offset: int) -> int:
    unread = 0
    for file in folder.glob("*.log"):
        try:
            size = file.stat().st_size
        except OSError:  # it was archived meanwhile
            continue
        if file.stem.isdecimal() and int(file.stem) >= number:
            unread += size - (offset if int(file.stem) == number else 0)
    return max(unread, 0)
