"""A process that reads the spools once, and kills itself before or after the n-th time it does one thing.

python -m tests.tenants.ledger.killed_at before booking.move_budgets 1
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import django

# Everything an ingester does to the database or to files, in the order in which it does it.
POINTS = {
    "position.made": ("tenants.ledger.reader", "_position"),
    "records.read": ("tenants.ledger.reader", "Reader._read_records"),
    "rows.inserted": ("tenants.ledger.columns", "insert"),
    "budgets.moved": ("tenants.ledger.booking", "move_budgets"),
    "keys.touched": ("tenants.ledger.booking", "_touch_keys"),
    "hours.marked": ("tenants.ledger.booking", "_mark_hours"),
    "position.saved": ("tenants.ledger.reader", "Reader._save_position"),
    "batch.committed": ("tenants.ledger.reader", "Reader._commit"),
    "calls.abandoned": ("tenants.ledger.reader", "Reader._abandon"),
    "leases.returned": ("tenants.ledger.booking", "return_leases"),
    "file.archived": ("tenants.ledger.archive", "keep"),
    "spool.finished": ("tenants.ledger.reader", "Reader._finish"),
}


CALLS = 10
HELD = 50_000
CHARGE = 40


def furnish() -> None:
    """Two spools: calls that ended, one that did not, a lease of a budget, files that rotated."""
    from django.conf import settings  # noqa: PLC0415  # after the set-up, as what follows
    from django.db.models import F  # noqa: PLC0415

    from tenants.ledger.records import BudgetShare  # noqa: PLC0415
    from tenants.ledger.spool import Spool  # noqa: PLC0415
    from tenants.models import ApiKey, BudgetLease, BudgetWindow  # noqa: PLC0415
    from tests.tenants.ledger.conftest import opened, settled  # noqa: PLC0415

    key, window = ApiKey.objects.get(), BudgetWindow.objects.get()
    share = BudgetShare(window.budget_id, int(window.starts_at.timestamp()), None)
    for _ in range(2):
        spool = Spool(settings.SPOOL_DIR, file_bytes=2_000)
        known = {
            "tenant_id": key.tenant_id,
            "key_id": key.pk,
            "budgets": (share,),
            "held_nano": 1_000,
        }
        calls = [opened(**known) for _ in range(CALLS)]
        for call in calls:
            spool.append(call)
            if call is not calls[3]:
                spool.append(settled(call, CHARGE // 8))
        spool.close()
        held = F("reserved_nano") + HELD
        BudgetWindow.objects.filter(pk=window.pk).update(reserved_nano=held)
        BudgetLease.objects.create(window=window, spool=spool.name, granted_nano=HELD)


def owner_of(point: str) -> tuple[Any, str]:
    """Find the module or class whose attribute a point names, and that attribute's name."""
    module_name, path = POINTS[point]
    owner: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    return owner, name


def arm(when: str, point: str, turn: int) -> None:
    """Have this process die at a point."""
    owner, name = owner_of(point)
    does, turns = getattr(owner, name), [0]

    def doing(*arguments: Any, **named: Any) -> Any:
        turns[0] += 1
        if when == "before" and turns[0] == turn:
            os.kill(os.getpid(), signal.SIGKILL)
        found = does(*arguments, **named)
        if when == "after" and turns[0] == turn:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, doing)


def main() -> None:
    when, point, turn = sys.argv[1:]
    django.setup()
    furnish()
    arm(when, point, int(turn))

    from django.conf import settings  # noqa: PLC0415  # after the set-up

    from tenants.ledger import ingest, reader  # noqa: PLC0415

    reader.BATCH = 4
    ingest.ingest_all(settings.SPOOL_DIR)


if __name__ == "__main__":
    main()
