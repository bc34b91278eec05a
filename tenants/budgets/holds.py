"""Count what a call holds of its budgets, name the windows that pay, and queue those that wait for them."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Protocol

from gateway_project.lib.errors import BudgetExhausted, Unavailable
from tenants.budgets.purses import HeldLease
from tenants.budgets.shares import Need
from tenants.budgets.terms import BudgetTerms
from tenants.budgets.windows import Window
from tenants.ledger.records import BudgetShare


class Lender(Protocol):
    """Give amounts of leases to holds, and take them back."""

    def take_now(self, leases: tuple[HeldLease, ...], nano: int) -> bool: ...

    async def take(self, leases: tuple[HeldLease, ...], nano: int) -> None: ...

    def put_back(self, leases: tuple[HeldLease, ...], nano: int) -> None: ...


class BudgetSet:
    """The windows that pay for a caller's calls between two instants, looked up once.

    `leases` are those of hard budgets; `queue` holds the caller's calls that wait until others give back.
    """

    __slots__ = ("begins", "budgets", "ends", "leases", "queue", "shares")

    def __init__(
        self,
        budgets: tuple[BudgetTerms, ...],
        windows: list[Window],
        leases: tuple[HeldLease, ...],
    ) -> None:
        self.budgets = budgets
        self.leases = leases
        self.queue = Queue()
        self.shares = tuple(of.share for of in windows)
        self.begins = max((of.starts_at for of in windows), default=0)
        ends = (math.inf if of.ends_at is None else of.ends_at for of in windows)
        self.ends = min(ends, default=math.inf)

    def holds(self, timestamp: float) -> bool:
        return self.begins <= timestamp < self.ends


class Queue:
    """The calls of one caller that wait for its budgets, in order of arrival.

    The `first` looks for itself; this is what it needs. `others` stand behind it, each with its need and a
    future that tells it the tokens it was given, or None when it is the first. `moved_at`: when something
    was last given back, in event-loop seconds.
    """

    __slots__ = ("first", "moved_at", "others")

    def __init__(self) -> None:
        self.first: Need | None = None
        self.others: deque[tuple[Need, asyncio.Future[int | None]]] = deque()
        self.moved_at = 0.0

    @property
    def waiting(self) -> int:
        """Return how many wait."""
        return (self.first is not None) + len(self.others)

    @property
    def wanted(self) -> int:
        """Return the most that all who wait would take, in nano-dollars."""
        needs = [need for need, _ in self.others]
        if self.first is not None:
            needs.append(self.first)
        return sum(need.nano(need.most) for need in needs)


class Hold:
    """The amount one call holds of its budgets.

    `shares` are all windows that pay for it; `held` is None if none of them is hard.
    """

    __slots__ = ("_all_leases", "_budget_set", "_leases", "held")

    def __init__(self, all_leases: Lender, budget_set: BudgetSet) -> None:
        self._all_leases = all_leases
        self._budget_set = budget_set
        self._leases = budget_set.leases
        self.held = 0 if self._leases else None

    @property
    def shares(self) -> tuple[BudgetShare, ...]:
        return self._budget_set.shares

    def is_for(self, timestamp: float) -> bool:
        """Tell whether these windows still pay for a call at this instant."""
        return self._budget_set.holds(timestamp)

    def extend_now(self, nano: int) -> bool:
        """Hold more, if this process has it."""
        if self.held is None:
            return True
        if not self._leases or not self._all_leases.take_now(self._leases, nano):
            return False
        self.held += nano
        return True

    async def extend_up_to(self, nano: int) -> None:
        """Hold more: as much of it as the budgets have."""
        wanted = nano
        while wanted > 0 and self._leases and not await self.extend(wanted):
            # The refusal told what is left.
            wanted = min(wanted - 1, *(lease.free + lease.rest for lease in self._leases))

    async def extend(self, nano: int) -> bool:
        """Hold more, if the budgets have it."""
        if self.held is None:
            return True
        leases = self._leases
        try:
            await self._all_leases.take(leases, nano)
        except (BudgetExhausted, Unavailable):
            return False
        if not self._leases:  # released meanwhile
            self._all_leases.put_back(leases, nano)
            return False
        self.held += nano
        return True

    def charge(self, nano: int) -> None:
        """Charge an amount of what is held; it stays reserved until the ledger has booked it."""
        if self.held is not None:
            if nano > self.held:
                raise ValueError("more is charged than is held")
            self.held -= nano
            for lease in self._leases:
                lease.held -= nano

    def release(self) -> None:
        """Release what is still held. Further calls change nothing."""
        leases, self._leases = self._leases, ()
        if self.held is not None:
            self._all_leases.put_back(leases, self.held)
            self.held = 0
