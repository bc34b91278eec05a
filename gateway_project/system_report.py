"""Say how an installation is: what needs somebody, which processes live, how far the ledger is.


For operators and auditors only; the console's page and the management API show the same.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import connection

from gateway_project import doctor
from gateway_project.doctor.facts import Facts, ProcessSign, StoredTable
from gateway_project.doctor.findings import Finding
from gateway_project.lib import clock
from tenants import heartbeats
from tenants.access.access import Access
from tenants.reports.freshness import freshness

KEPT_BY_SETTING = (
    "USAGE_DAYS",
    "REFUSAL_DAYS",
    "GUARDRAIL_EVENT_DAYS",
    "AUDIT_DAYS",
    "SPOOL_ARCHIVE_DAYS",
)
_ORDER = {"broken": 0, "hint": 1, "ok": 2}


@dataclass(frozen=True, slots=True)
class ThisProcess:
    """The process that answered, since memory and versions are a process's own."""

    host: str
    pid: int
    resident_bytes: int | None  # None where the system does not tell
    versions: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Tells how far the ledger is: every call opened before `as_of` has its row."""

    as_of: datetime
    lag_seconds: float
    open_spools: int
    unread_bytes: int
    abandoned: int
    hours_to_sum: int


@dataclass(frozen=True, slots=True)
class SystemReport:
    """All of it. `findings` are the doctor's, what is broken first; `kept_from` names tables whose older rows
    have been deleted, with the instant; `kept_days` the variables that say for how long rows are kept."""

    findings: Sequence[Finding]
    processes: Sequence[ProcessSign]
    here: ThisProcess
    ledger: LedgerState
    database: str
    database_bytes: int | None
    tables: Sequence[StoredTable]
    kept_from: Sequence[tuple[str, datetime]]
    kept_days: Sequence[tuple[str, int]]

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level != "ok"]

    @property
    def is_sound(self) -> bool:
        return doctor.is_sound(list(self.findings))


def report(who: Access) -> SystemReport:
    """Look at everything once. Raise PermissionDenied for all but operators and auditors."""
    if not who.oversees_platform:
        raise PermissionDenied
    now = clock.now()
    facts = doctor.facts.read(now)
    return SystemReport(
        findings=sorted(doctor.examine(facts), key=lambda finding: _ORDER[finding.level]),
        processes=facts.processes,
        here=_here(),
        ledger=_ledger(facts, now),
        database=connection.vendor,
        database_bytes=facts.database_bytes or _size_of_files(),
        tables=facts.tables,
        kept_from=facts.horizons,
        kept_days=[(f"TOLLGATE_{name}", getattr(settings, name)) for name in KEPT_BY_SETTING],
    )


def _here() -> ThisProcess:
    versions = [("Python", platform.python_version())]
    versions += [(name, metadata.version(name)) for name in ("Django", "channels", "uvicorn")]
    return ThisProcess(heartbeats.host_name(), os.getpid(), _resident_bytes(), versions)


def _resident_bytes() -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _ledger(facts: Facts, now: datetime) -> LedgerState:
    fresh = freshness(now)
    positions = [one for one in facts.spools if not one.is_done]
    return LedgerState(
        as_of=fresh.as_of,
        lag_seconds=fresh.lag(now).total_seconds(),
        open_spools=len(positions),
        unread_bytes=sum(position.unread_bytes for position in positions),
        abandoned=sum(position.abandoned for position in positions),
        hours_to_sum=fresh.unsummed,
    )


def _size_of_files() -> int | None:
    """Return the size of SQLite's files, which do not tell that of a table."""
    name = settings.DATABASES["default"]["NAME"]
    files = [Path(f"{name}{ending}") for ending in ("", "-wal")]
    return sum(file.stat().st_size for file in files if file.is_file()) or None
