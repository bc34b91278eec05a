"""What a process may spend of a window: taken from it in blocks, and given back. Runs in the transaction of
its caller, who commits before anything is spent.

The windows of a budget are locked in one order, by budget; whoever waits then sees what others committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from django.db.models import F
from msgspec import Struct

from tenants.budgets.windows import Window
from tenants.models import Budget, BudgetLease, BudgetWindow

# A block is a twentieth of what is left, but no more than a dollar; while there are fewer than three of the
# size that is needed, exactly what is needed, so that the last cent can be spent by whoever needs it.
BLOCK_SHARE = 20
BLOCK_NANO = 1_000_000_000
FEW_BLOCKS = 3


class Draw(Struct, frozen=True):
    """`need` of every one of these windows, or nothing of any."""

    spool: str
    windows: tuple[Window, ...]
    need: int


class Drawn(Struct, frozen=True):
    """`granted` of each window; 0 if one of them, `exhausted`, has not that much. `rest`: the least that any
    has left now."""

    granted: int
    rest: int
    exhausted: Window | None = None


class GiveBack(Struct, frozen=True):
    """What a process holds of a window and has no use for."""

    spool: str
    window: Window
    nano: int


def draw(order: Draw) -> Drawn:
    """Take it. A budget that was deleted or disabled since grants nothing."""
    windows = sorted(order.windows, key=_place)
    rows = [_locked(window) for window in windows]
    rests = []
    for window, row in zip(windows, rows, strict=True):
        rest = 0 if row is None else row.budget.amount_nano - row.spent_nano - row.reserved_nano
        if rest < order.need or row is None:
            return Drawn(0, max(rest, 0), window)
        rests.append(rest)
    granted = _block(min(rests), order.need)
    for row in rows:
        assert row is not None
        _grant(row, order.spool, granted)
    return Drawn(granted, min(rests) - granted)


def give_back(orders: Iterable[GiveBack]) -> None:
    for order in sorted(orders, key=lambda order: _place(order.window)):
        row = _locked(order.window, make=False)
        if row is None:
            continue
        leases = BudgetLease.objects.filter(
            window=row, spool=order.spool, granted_nano__gte=F("charged_nano") + order.nano
        )
        if leases.update(granted_nano=F("granted_nano") - order.nano):
            BudgetWindow.objects.filter(pk=row.pk).update(
                reserved_nano=F("reserved_nano") - order.nano
            )


def _place(window: Window) -> tuple[int, int]:
    return window.budget_id, window.starts_at


def _block(rest: int, need: int) -> int:
    block = min(rest // BLOCK_SHARE, BLOCK_NANO)
    return max(need, block) if block >= FEW_BLOCKS * need else need


def _locked(window: Window, *, make: bool = True) -> BudgetWindow | None:
    """The window's row, locked until the transaction ends; None without its budget."""
    starts_at = datetime.fromtimestamp(window.starts_at, UTC)
    rows = BudgetWindow.objects.select_for_update(of=("self",)).select_related("budget")
    found = rows.filter(budget=window.budget_id, starts_at=starts_at).first()
    if found is None and make and Budget.objects.filter(pk=window.budget_id, enabled=True).exists():
        ends_at = None if window.ends_at is None else datetime.fromtimestamp(window.ends_at, UTC)
        fresh = BudgetWindow(budget_id=window.budget_id, starts_at=starts_at, ends_at=ends_at)
        BudgetWindow.objects.bulk_create([fresh], ignore_conflicts=True)
        found = rows.filter(budget=window.budget_id, starts_at=starts_at).first()
    return found


def _grant(row: BudgetWindow, spool: str, nano: int) -> None:
    BudgetWindow.objects.filter(pk=row.pk).update(reserved_nano=F("reserved_nano") + nano)
    if not BudgetLease.objects.filter(window=row, spool=spool).update(
        granted_nano=F("granted_nano") + nano
    ):
        BudgetLease.objects.create(window=row, spool=spool, granted_nano=nano)


def draw_all(orders: Sequence[Draw]) -> list[Drawn]:
    """One after the other, once all their windows are locked in order: two processes must not wait for each
    other."""
    for window in sorted({w for order in orders for w in order.windows}, key=_place):
        _locked(window)
    return [draw(order) for order in orders]
