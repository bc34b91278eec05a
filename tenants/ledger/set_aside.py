"""Keep records that cannot be read or booked in a file beside the spools, for a person to look at."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from gateway_project.lib import clock

logger = logging.getLogger("tollgate.ledger")

FILE = "set-aside.jsonl"


def count(directory: Path) -> int:
    """Return how many records were set aside."""
    try:
        with (directory / FILE).open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0


def keep(
    directory: Path, spool: str, file_number: int, offset: int, *, what: object, reason: str
) -> None:
    """Append a line of JSON. The same record may be kept twice, if what else was to be written then
    failed.
    """
    line = {
        "at": clock.now().isoformat(),
        "spool": spool,
        "file": file_number,
        "offset": offset,
        "reason": reason,
        "record": what,
    }
    with (directory / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, default=str) + "\n")
    logger.error(
        "a record of %s could not be booked and was set aside in %s: %s",
        spool,
        directory / FILE,
        reason,
    )
