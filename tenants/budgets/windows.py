"""Compute a budget's periods from the clock and the tenant's time zone; nothing is ever reset."""

from __future__ import annotations

from msgspec import Struct

from tenants.budgets import zones
from tenants.budgets.terms import BudgetTerms
from tenants.ledger.records import BudgetShare

# Of which budget, and when it begins: what its row is found by, and the order in which rows are locked.
Place = tuple[int, int]


class Window(Struct, frozen=True):
    """A half-open period, in seconds since the epoch; a total has no end."""

    budget_id: int
    starts_at: int
    ends_at: int | None

    @property
    def place(self) -> Place:
        return self.budget_id, self.starts_at

    @property
    def share(self) -> BudgetShare:
        return BudgetShare(self.budget_id, self.starts_at, self.ends_at)

    def holds(self, timestamp: float) -> bool:
        return self.starts_at <= timestamp and (self.ends_at is None or timestamp < self.ends_at)


def window(terms: BudgetTerms, timestamp: float) -> Window:
    """Return the window that contains this instant."""
    if terms.period == "total":
        return Window(terms.id, 0, None)
    return Window(terms.id, *zones.span(terms.period, terms.switches, timestamp))
