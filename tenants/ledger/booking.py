"""Calls that have ended become rows, and what goes with them, in the transaction of the caller."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connection, models
from django.db.models import F, Q

from gateway_project.lib import clock
from tenants.ledger.open_calls import Booked, opened_at
from tenants.ledger.records import BudgetShare
from tenants.models import (
    ApiKey,
    Budget,
    BudgetLease,
    BudgetWindow,
    DirtyHour,
    UsageRow,
)

_FIELDS = list(UsageRow._meta.concrete_fields)
_DEFAULTS = {"corrects": None, "reason": "", "actor": ""}


def book(calls: Sequence[Booked], spool: str) -> int:
    """Write those that are not there yet; how many those were. Whoever calls holds the spool's lock, so that
    no other writes the same."""
    known = set(
        UsageRow.objects.filter(pk__in=[call.values["id"] for call in calls]).values_list(
            "pk", flat=True
        )
    )
    fresh = {call.values["id"]: call for call in calls if call.values["id"] not in known}
    new = list(fresh.values())
    if new:
        _insert(new, spool)
        _move_budgets(new, spool)
        _touch_keys(new)
        _mark_hours(new)
    return len(new)


def _insert(calls: Sequence[Booked], spool: str) -> None:
    """Rows as they are, without a model instance each: this runs for every call there is."""
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column or "") for field in _FIELDS)
    places = ", ".join(["%s"] * len(_FIELDS))
    statement = f"INSERT INTO {quote(UsageRow._meta.db_table)} ({columns}) VALUES ({places})"  # noqa: S608
    own = {**_DEFAULTS, "spool": spool, "recorded_at": clock.now()}
    with connection.cursor() as cursor:
        cursor.executemany(statement, [_prepared({**call.values, **own}) for call in calls])


def _prepared(values: dict[str, Any]) -> list[Any]:
    return [
        field.get_db_prep_save(_storable(values[field.attname], field.max_length), connection)
        for field in _FIELDS
    ]


def _storable(value: Any, max_length: int | None) -> Any:
    """Text without NUL, which PostgreSQL refuses, and no longer than its column."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "")[:max_length]


def lock_windows(calls: Iterable[Booked], spool: str) -> None:
    """Lock what booking these calls and returning the spool's leases will change, in the order in which
    everybody locks it: needed where one transaction does both."""
    leases = BudgetLease.objects.filter(spool=spool)
    shares = {share for call in calls for share in call.opened.budgets}
    shares |= {
        _share(window) for window in BudgetWindow.objects.filter(pk__in=leases.values("window"))
    }
    _locked(shares)


def _share(window: BudgetWindow) -> BudgetShare:
    ends_at = None if window.ends_at is None else int(window.ends_at.timestamp())
    return BudgetShare(window.budget_id, int(window.starts_at.timestamp()), ends_at)


def _locked(shares: Iterable[BudgetShare]) -> dict[BudgetShare, BudgetWindow]:
    """The windows of those budgets that there are still, made where they are missing."""
    windows = {}
    for share in sorted(shares, key=lambda share: (share.budget_id, share.starts_at)):
        if Budget.objects.filter(pk=share.budget_id).exists():
            ends_at = None if share.ends_at is None else datetime.fromtimestamp(share.ends_at, UTC)
            window, _ = BudgetWindow.objects.get_or_create(
                budget_id=share.budget_id,
                starts_at=datetime.fromtimestamp(share.starts_at, UTC),
                defaults={"ends_at": ends_at},
            )
            windows[share] = BudgetWindow.objects.select_for_update().get(pk=window.pk)
    return windows


def _move_budgets(calls: Iterable[Booked], spool: str) -> None:
    """What was charged becomes spent, and is no longer reserved where a lease held it."""
    charged: dict[BudgetShare, int] = defaultdict(int)
    for call in calls:
        for share in call.opened.budgets:
            charged[share] += call.charge_nano
    for share, window in _locked(share for share in charged if charged[share]).items():
        _spend(window, charged[share], spool)


def _spend(window: BudgetWindow, nano: int, spool: str) -> None:
    """Of a window that is locked; its lease comes after it, as with whoever takes one."""
    lease = BudgetLease.objects.filter(window=window, spool=spool).first()
    held = 0 if lease is None else min(nano, lease.granted_nano - lease.charged_nano)
    BudgetWindow.objects.filter(pk=window.pk).update(
        spent_nano=F("spent_nano") + nano, reserved_nano=F("reserved_nano") - held
    )
    if lease is not None:
        BudgetLease.objects.filter(pk=lease.pk).update(charged_nano=F("charged_nano") + held)


def _touch_keys(calls: Iterable[Booked]) -> None:
    latest: dict[int, datetime] = {}
    for call in calls:
        at, key = opened_at(call.opened), call.opened.key_id
        latest[key] = max(at, latest.get(key, at))
    # Past the revision: a key's use changes nothing for anybody.
    keys: models.QuerySet[ApiKey] = models.QuerySet(ApiKey)
    for key, at in sorted(latest.items()):
        older = Q(last_used_at=None) | Q(last_used_at__lt=at)
        keys.filter(older, pk=key).update(last_used_at=at)


def _mark_hours(calls: Iterable[Booked]) -> None:
    hours = {
        (call.opened.tenant_id, opened_at(call.opened).replace(minute=0, second=0, microsecond=0))
        for call in calls
    }
    DirtyHour.objects.bulk_create(
        [DirtyHour(tenant_id=tenant, hour=hour) for tenant, hour in sorted(hours)]
    )


def return_leases(spool: str) -> None:
    """What a dead process held and did not spend is free again."""
    leases = BudgetLease.objects.filter(spool=spool)
    for lease in leases.order_by("window__budget_id", "window__starts_at"):
        locked = BudgetWindow.objects.select_for_update().get(pk=lease.window_id)
        lease.refresh_from_db()
        left = lease.granted_nano - lease.charged_nano
        BudgetWindow.objects.filter(pk=locked.pk).update(reserved_nano=F("reserved_nano") - left)
        lease.delete()
