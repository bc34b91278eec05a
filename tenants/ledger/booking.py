"""Book calls that have ended, and what goes with them, in the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.db import DataError
from django.db.models import F
from msgspec import structs

from gateway_project.lib import clock
from tenants.budgets import locks
from tenants.budgets.windows import Window
from tenants.deletion import digests
from tenants.ledger import belonging, columns, statements
from tenants.ledger.open_calls import Booked
from tenants.ledger.records import BudgetShare
from tenants.ledger.row_ids import STEP
from tenants.models import BudgetLease, BudgetWindow, UsageRow

# How far apart the legs of a request lie that have the same number. A request makes far fewer calls.
AGAIN = 0x100
HOUR_MS = 3_600_000
_DEFAULTS = {"corrects": None, "reason": "", "actor": ""}
# What few rows have a value of. Where none of a batch has one, the database's default is written by itself.
_SELDOM: dict[str, Any] = {
    "units": None,
    "guardrail_outcome": "",
    "cache_outcome": "",
    "saved_nano": 0,
}
_seldom_of = itemgetter(*_SELDOM)


def book(calls: Sequence[Booked], spool: str) -> int:
    """Write the rows that do not exist yet; return how many.

    The caller holds the spool's lock, so that no other process writes the same rows.
    """
    new = _unbooked(calls)
    if new:
        belonging.check(new)
        new = _digested(new)
        own = {**_DEFAULTS, "spool": spool, "recorded_at": clock.now()}
        if not any(map(_has_seldom, new)):
            own |= _SELDOM
        columns.insert((call.values for call in new), own)
        move_budgets(new, spool)
        _touch_keys(new)
        _mark_hours(new)
    return len(new)


def _digested(calls: list[Booked]) -> list[Booked]:
    """Return calls as they may be kept: those of deleted tenants, whose spools come late, without names."""
    digesters = digests.of_deleted({call.opened.tenant_id for call in calls})
    if not digesters:
        return calls
    kept = []
    for call in calls:
        digester = digesters.get(call.opened.tenant_id)
        changed = digester.values(call.values) if digester else {}
        kept.append(structs.replace(call, values={**call.values, **changed}))
    return kept


def _has_seldom(call: Booked) -> bool:
    return any(_seldom_of(call.values))


def _unbooked(calls: Sequence[Booked]) -> list[Booked]:
    """Return calls that have no row yet, each once.

    Two calls have one id if the database forgot that a queued response was begun, so that it was made
    again: they differ in when they were opened, and the second gets an id of its own.
    """
    ids = [call.values["id"] for call in calls]
    if len(set(ids)) == len(ids) and not (ids and statements.has_any_row(ids)):
        return list(calls)  # as almost always, but after a reader began anew
    known = dict(UsageRow.objects.filter(pk__in=ids).values_list("pk", "opened_at"))
    new = []
    for call in calls:
        at = call.values["opened_at"]
        own = call
        while known.get(own.values["id"], at) != at:
            own = _moved(own)
            known.update(
                UsageRow.objects.filter(pk=own.values["id"]).values_list("pk", "opened_at")
            )
        if own.values["id"] not in known:
            known[own.values["id"]] = at
            new.append(own)
    return new


def _moved(call: Booked) -> Booked:
    """Return the same call under the next id of its request. Raise DataError if there is none."""
    leg = call.values["leg"] + AGAIN
    if leg >= STEP:
        raise DataError("too many calls of one request have one number")
    moved = UUID(int=call.values["id"].int + AGAIN)
    return structs.replace(call, values={**call.values, "id": moved, "leg": leg})


def lock_windows(calls: Iterable[Booked], spool: str) -> None:
    """Lock, in the common order, what booking these calls and returning the spool's leases will change.

    Needed where one transaction does both.
    """
    leases = BudgetLease.objects.filter(spool=spool)
    windows = {
        _of_share(share)
        for call in belonging.own(calls)
        for share in (*call.opened.budgets, *call.opened.list_budgets)
    }
    windows |= {_of_row(row) for row in BudgetWindow.objects.filter(pk__in=leases.values("window"))}
    _locked(windows)


def _of_share(share: BudgetShare) -> Window:
    return Window(share.budget_id, share.starts_at, share.ends_at)


def _of_row(row: BudgetWindow) -> Window:
    ends_at = None if row.ends_at is None else int(row.ends_at.timestamp())
    return Window(row.budget_id, int(row.starts_at.timestamp()), ends_at)


def _locked(windows: Iterable[Window]) -> dict[Window, BudgetWindow]:
    """Lock the rows of the budgets that still exist, creating them where they are missing."""
    rows = {}
    for window in sorted(windows, key=lambda window: window.place):
        row = locks.lock_window(window, make=True)
        if row is not None:
            rows[window] = row
    return rows


def move_budgets(calls: Iterable[Booked], spool: str) -> None:
    """Turn what budgets pay into spent; where a lease held it, it is no longer reserved."""
    charged: dict[Window, int] = defaultdict(int)
    for call in calls:
        for share in call.opened.budgets:
            charged[_of_share(share)] += call.spent_nano
        for share in call.opened.list_budgets:
            charged[_of_share(share)] += call.list_nano
    for window, row in _locked(window for window in charged if charged[window]).items():
        _spend(row, charged[window], spool)


def _spend(row: BudgetWindow, nano: int, spool: str) -> None:
    """Spend from a locked window; its lease is locked after it, as everywhere."""
    lease = BudgetLease.objects.filter(window=row, spool=spool).first()
    held = 0 if lease is None else min(nano, lease.granted_nano - lease.charged_nano)
    BudgetWindow.objects.filter(pk=row.pk).update(
        spent_nano=F("spent_nano") + nano, reserved_nano=F("reserved_nano") - held
    )
    if lease is not None:
        BudgetLease.objects.filter(pk=lease.pk).update(charged_nano=F("charged_nano") + held)


def _touch_keys(calls: Iterable[Booked]) -> None:
    latest: dict[int, datetime] = {}
    for call in calls:
        at, key = call.values["opened_at"], call.opened.key_id
        if (known := latest.get(key)) is None or at > known:
            latest[key] = at
    # Past the revision: a key's use changes nothing for anybody.
    statements.touch_keys(latest)


def _mark_hours(calls: Iterable[Booked]) -> None:
    hours = {(call.opened.tenant_id, call.opened.at_ms // HOUR_MS) for call in calls}
    statements.mark_hours(
        (tenant, datetime.fromtimestamp(hour * HOUR_MS // 1000, UTC))
        for tenant, hour in sorted(hours)
    )


def return_leases(spool: str) -> None:
    """Free what a dead process held and did not spend."""
    leases = BudgetLease.objects.filter(spool=spool)
    for lease in leases.order_by("window__budget_id", "window__starts_at"):
        locked = BudgetWindow.objects.select_for_update().get(pk=lease.window_id)
        lease.refresh_from_db()
        left = lease.granted_nano - lease.charged_nano
        BudgetWindow.objects.filter(pk=locked.pk).update(reserved_nano=F("reserved_nano") - left)
        lease.delete()
