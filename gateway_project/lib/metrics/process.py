"""Read what the kernel knows of a process. On systems without /proc nothing is known."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

_UTIME, _STIME, _STARTED, _RSS = 13, 14, 21, 23


class ProcessUse(Struct, frozen=True):
    """The resources a process takes. `started_ticks` is counted from the machine's start."""

    cpu_seconds: float
    resident_bytes: int
    started_ticks: int
    started_at: float


def use_of(pid: int) -> ProcessUse | None:
    """Return what a process takes; None if it is unknown."""
    try:
        fields = _stat(pid)
        booted = _booted_at()
    except (OSError, ValueError, IndexError):
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    started = int(fields[_STARTED])
    return ProcessUse(
        cpu_seconds=(int(fields[_UTIME]) + int(fields[_STIME])) / ticks,
        resident_bytes=int(fields[_RSS]) * os.sysconf("SC_PAGE_SIZE"),
        started_ticks=started,
        started_at=booted + started / ticks,
    )


def started_ticks(pid: int) -> int | None:
    """Return when a process began, as the kernel counts; None if it is unknown."""
    try:
        return int(_stat(pid)[_STARTED])
    except (OSError, ValueError, IndexError):
        return None


def _stat(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    rest = text.rpartition(")")[2].split()
    return ["", "", *rest]


def _booted_at() -> int:
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    raise ValueError("/proc/stat does not tell when the machine was started")
