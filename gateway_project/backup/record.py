"""Remember backups in the audit log of the database that was backed up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from django.db import transaction
from django.db.models import QuerySet

from gateway_project.backup.manifest import Manifest
from tenants.audit import events, values
from tenants.models import AuditEvent
from tenants.models.audit import PLATFORM

MADE, RESTORED = "backup.made", "backup.restored"


def made(backup: Manifest, path: Path) -> None:
    _record(MADE, backup, {"path": str(path)})


def restored(backup: Manifest) -> None:
    _record(RESTORED, backup, {})


def newest() -> QuerySet[AuditEvent]:
    """Ask for the event of the last backup of the database, whose details `taken_at` reads."""
    with_database = values.canonical({"database": True})[1:-1]
    told = AuditEvent.objects.filter(chain=PLATFORM, action=MADE, details__contains=with_database)
    return told.order_by("-id")[:1]


def taken_at(details: str) -> datetime:
    return datetime.fromisoformat(json.loads(details)["taken_at"])


def last() -> datetime | None:
    """Return when the database was last backed up; None if never."""
    found = newest().values_list("details", flat=True).first()
    return None if found is None else taken_at(found)


def last_at_timestamp() -> float:
    at = last()
    return 0.0 if at is None else at.timestamp()


@transaction.atomic
def _record(action: str, backup: Manifest, more: Mapping[str, object]) -> None:
    details = {
        "taken_at": backup.taken_at,
        "database": backup.database is not None,
        "keys": bool(backup.keys),
        "spools": len(backup.spools),
        "bytes": sum(file.bytes for file in backup.files.values()),
        **more,
    }
    events.record(
        action,
        object_type="backup",
        object_id=backup.name,
        object_name=backup.name,
        details=details,
    )
