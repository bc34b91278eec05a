"""Remember backups in the audit log of the database that was backed up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from django.db import transaction

from gateway_project.backup.manifest import Manifest
from tenants.audit import events
from tenants.models import AuditEvent
from tenants.models.audit import PLATFORM

MADE, RESTORED = "backup.made", "backup.restored"


def made(backup: Manifest, path: Path) -> None:
    _record(MADE, backup, {"path": str(path)})


def restored(backup: Manifest) -> None:
    _record(RESTORED, backup, {})


def last() -> datetime | None:
    """Return when the database was last backed up; None if never."""
    told = AuditEvent.objects.filter(chain=PLATFORM, action=MADE).order_by("-id")
    for details in told.values_list("details", flat=True).iterator(chunk_size=20):
        found = json.loads(details)
        if found["database"]:
            return datetime.fromisoformat(found["taken_at"])
    return None


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
