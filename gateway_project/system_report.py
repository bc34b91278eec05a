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
from gateway_project.doctor import Finding
from gateway_project.lib import clock
from tenants import heartbeats
from tenants.access.access import Access
from tenants.models import Heartbeat, RetentionHorizon, SpoolPosition
from tenants.reports.freshness import freshness

MOST_TABLES = 12
KEPT_BY_SETTING = (
    "USAGE_DAYS",
    "REFUSAL_DAYS",
    "GUARDRAIL_EVENT_DAYS",
    "AUDIT_DAYS",
    "SPOOL_ARCHIVE_DAYS",
)
_ORDER = {"broken": 0, "hint": 1, "ok": 2}


@dataclass(frozen=True, slots=True)
class ProcessSign:
    """A process's last sign of life."""

    role: str
    host: str
    beat_at: datetime
    is_alive: bool


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
class StoredTable:
    """A table's size on disk; rows are the database's own estimate, None where it has none."""

    name: str
    size_bytes: int
    rows: int | None


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
    size, tables = _sizes()
    return SystemReport(
        findings=sorted(doctor.examine(), key=lambda finding: _ORDER[finding.level]),
        processes=_processes(now),
        here=_here(),
        ledger=_ledger(now),
        database=connection.vendor,
        database_bytes=size,
        tables=tables,
        kept_from=list(RetentionHorizon.objects.order_by("table").values_list("table", "before")),
        kept_days=[(f"TOLLGATE_{name}", getattr(settings, name)) for name in KEPT_BY_SETTING],
    )


def _processes(now: datetime) -> list[ProcessSign]:
    since = now - heartbeats.ALIVE_FOR
    return [
        ProcessSign(sign.role, sign.host, sign.beat_at, sign.beat_at >= since)
        for sign in Heartbeat.objects.order_by("role", "host")
    ]


def _here() -> ThisProcess:
    versions = [("Python", platform.python_version())]
    versions += [(name, metadata.version(name)) for name in ("Django", "channels", "uvicorn")]
    return ThisProcess(heartbeats.host_name(), os.getpid(), _resident_bytes(), versions)


def _resident_bytes() -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _ledger(now: datetime) -> LedgerState:
    fresh = freshness(now)
    positions = list(SpoolPosition.objects.filter(is_done=False))
    return LedgerState(
        as_of=fresh.as_of,
        lag_seconds=fresh.lag(now).total_seconds(),
        open_spools=len(positions),
        unread_bytes=sum(position.unread_bytes for position in positions),
        abandoned=sum(position.abandoned for position in positions),
        hours_to_sum=fresh.unsummed,
    )


def _sizes() -> tuple[int | None, list[StoredTable]]:
    """Return the size of the database and of its largest tables; SQLite tells that of its file alone."""
    if connection.vendor == "postgresql":
        return _postgres_sizes()
    name = settings.DATABASES["default"]["NAME"]
    files = [Path(f"{name}{ending}") for ending in ("", "-wal")]
    return sum(file.stat().st_size for file in files if file.is_file()) or None, []


def _postgres_sizes() -> tuple[int, list[StoredTable]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        (size,) = cursor.fetchone()
        cursor.execute(
            # Partitions stand for themselves: a partitioned table has no size of its own.
            "SELECT relname, pg_total_relation_size(oid), reltuples::bigint FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace "
            "ORDER BY 2 DESC, 1 LIMIT %s",
            [MOST_TABLES],
        )
        found = cursor.fetchall()
    return size, [
        StoredTable(name, total, rows if rows >= 0 else None) for name, total, rows in found
    ]
