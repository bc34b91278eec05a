"""Lock the row of a budget's window: the only way in which workers and ingesters get hold of it.

Whoever locks several does so in the order of `Window.place`, so that none wait for each other in a ring;
after the wait it sees what others committed.
"""

from __future__ import annotations

from datetime import UTC, datetime

from tenants.budgets.windows import Window
from tenants.models import Budget, BudgetWindow


def lock_window(window: Window, *, make: bool) -> BudgetWindow | None:
    """Lock a window's row, with its budget, until the caller's transaction ends.

    A missing row is created if `make` says so. Return None if the budget does not exist.
    """
    starts_at = datetime.fromtimestamp(window.starts_at, UTC)
    rows = BudgetWindow.objects.select_for_update(of=("self",)).select_related("budget")
    wanted = rows.filter(budget=window.budget_id, starts_at=starts_at)
    found = wanted.first()
    if found is None and make and Budget.objects.filter(pk=window.budget_id).exists():
        ends_at = None if window.ends_at is None else datetime.fromtimestamp(window.ends_at, UTC)
        fresh = BudgetWindow(budget_id=window.budget_id, starts_at=starts_at, ends_at=ends_at)
        BudgetWindow.objects.bulk_create([fresh], ignore_conflicts=True)
        found = wanted.first()
    if found is not None:
        _lengthen(found, window)
    return found


def _lengthen(row: BudgetWindow, window: Window) -> None:
    """Lengthen a period that a worker created before it heard of another time zone."""
    if row.ends_at is None or window.ends_at is None or row.ends_at.timestamp() >= window.ends_at:
        return
    row.ends_at = datetime.fromtimestamp(window.ends_at, UTC)
    BudgetWindow.objects.filter(pk=row.pk).update(ends_at=row.ends_at)
