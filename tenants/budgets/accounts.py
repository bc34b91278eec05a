"""What this process holds of budgets, in memory: calls are paid from leases without asking anybody.

A purse is this process's lease of one window. `free` of it belongs to no call yet; what a call holds or was
charged is not free, and stays reserved in the database until the ledger has booked it. When a purse lacks
what is needed, more is drawn through the writer; when nobody needs it, it is given back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from gateway_project.lib import aio, clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import BudgetExhausted, Unavailable
from tenants.budgets.leases import Draw, Drawn, GiveBack
from tenants.budgets.terms import BudgetTerms
from tenants.budgets.windows import Window, window
from tenants.ledger.records import BudgetShare

logger = logging.getLogger("tollgate.budgets")

SWEEP_SECONDS = 1.0
MAX_WINDOWS = 20_000

Write = Callable[[Any], Awaitable[Any]]


class Purse:
    """`rest`: what the window had left when it was last asked. `is_tail`: it gives no more than is needed,
    so what is not needed goes back at once. `holds` is how many calls draw on it."""

    __slots__ = (
        "drawing",
        "free",
        "holds",
        "is_returning",
        "is_tail",
        "name",
        "rest",
        "used_at",
        "window",
    )

    def __init__(self, of: Window, name: str) -> None:
        self.window = of
        self.name = name
        self.free = 0
        self.rest = 0
        self.holds = 0
        self.is_tail = False
        self.is_returning = False
        self.used_at = clock.monotonic()
        self.drawing = asyncio.Lock()


class Hold:
    """What one call has of its budgets. `shares` are all windows that pay for it, `held` is None where none
    of them is hard."""

    __slots__ = ("_accounts", "_purses", "held", "shares")

    def __init__(
        self,
        accounts: Accounts,
        purses: tuple[Purse, ...],
        shares: tuple[BudgetShare, ...],
        held: int | None,
    ) -> None:
        self._accounts = accounts
        self._purses = purses
        self.shares = shares
        self.held = held
        for purse in purses:
            purse.holds += 1

    @property
    def rest(self) -> int | None:
        """About what more could be held; only the attempt shows."""
        if self.held is None:
            return None
        return min(purse.free + purse.rest for purse in self._purses)

    def extend_now(self, nano: int) -> bool:
        """Hold more, if this process has it."""
        if self.held is None:
            return True
        if not _take(self._purses, nano):
            return False
        self.held += nano
        return True

    async def extend(self, nano: int) -> bool:
        """Hold more, if the budgets have it."""
        if self.held is None:
            return True
        try:
            await self._accounts.take(self._purses, nano)
        except (BudgetExhausted, Unavailable):
            return False
        self.held += nano
        return True

    def charge(self, nano: int) -> None:
        """Of what is held; it is given back by nobody, until the ledger has booked it."""
        if self.held is not None:
            if nano > self.held:
                raise ValueError("more is charged than is held")
            self.held -= nano

    def release(self) -> None:
        """What is still held belongs to no call any more. Further calls change nothing."""
        purses, self._purses = self._purses, ()
        for purse in purses:
            purse.holds -= 1
            purse.free += self.held or 0
            purse.used_at = clock.monotonic()
            if purse.is_tail:
                self._accounts.return_soon(purse)
        if self.held is not None:
            self.held = 0


class Accounts:
    """One per worker. `write` gives a record to the group-commit writer, which commits it."""

    def __init__(self, write: Write, spool: str) -> None:
        self._write = write
        self._spool = spool
        self._purses: dict[Window, Purse] = {}
        self._windows: dict[BudgetTerms, Window] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._unlimited = Hold(self, (), (), None)

    def start(self) -> None:
        self._sweeper = aio.hold(self._sweep_again_and_again(), "budgets")

    async def stop(self) -> None:
        """Give back what no call holds."""
        await aio.end(self._sweeper)
        for purse in tuple(self._purses.values()):
            await self._give_back(purse)

    async def hold(self, budgets: tuple[BudgetTerms, ...], nano: int, timestamp: float) -> Hold:
        """Set this much aside in every hard budget; no I/O where this process has it already. Raises
        BudgetExhausted, Unavailable."""
        if not budgets:
            return self._unlimited
        windows = [self._window(terms, timestamp) for terms in budgets]
        shares = tuple(of.share for of in windows)
        purses = tuple(
            self._purse(of, terms.name)
            for of, terms in zip(windows, budgets, strict=True)
            if terms.is_hard
        )
        if not purses:
            return Hold(self, (), shares, None)
        hold = Hold(self, purses, shares, 0)  # from here on the purses are in use
        try:
            await self.take(purses, nano)
        except BaseException:
            hold.release()
            raise
        hold.held = nano
        return hold

    async def take(self, purses: tuple[Purse, ...], nano: int) -> None:
        """Take it out of all of them. Raises BudgetExhausted, Unavailable."""
        while not _take(purses, nano):
            first = min(
                (purse for purse in purses if purse.free < nano),
                key=lambda purse: purse.window.budget_id,
            )
            async with first.drawing:
                lacking = [purse for purse in purses if purse.free < nano]
                if lacking:  # nobody drew meanwhile
                    await self._draw(lacking, max(nano - purse.free for purse in lacking))

    def refresh(self) -> None:
        """The configuration has changed: who spends from now on asks the database what there is."""
        for purse in self._purses.values():
            self.return_soon(purse)

    def return_soon(self, purse: Purse) -> None:
        if purse.free and not purse.is_returning:
            purse.is_returning = True
            aio.hold(self._return(purse), "budget-return")

    async def sweep(self) -> None:
        """Give back what no call has needed for a while, and forget windows that are over."""
        now, idle_since = clock.timestamp(), clock.monotonic() - SWEEP_SECONDS
        for purse in tuple(self._purses.values()):
            is_over = not purse.window.holds(now)
            if purse.holds == 0 and (is_over or purse.used_at < idle_since):
                await self._give_back(purse)
                if is_over and purse.holds == 0 and purse.free == 0:
                    self._purses.pop(purse.window, None)

    async def _sweep_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep()

    async def _draw(self, purses: list[Purse], need: int) -> None:
        order = Draw(self._spool, tuple(purse.window for purse in purses), need)
        try:
            drawn: Drawn = await self._drawn(order)
        except StoreUnavailable as error:
            raise Unavailable(
                "The budget cannot be asked now; try again.", retry_after_seconds=2
            ) from error
        if not drawn.granted:
            raise self._exhausted(purses, drawn)
        for purse in purses:
            purse.free += drawn.granted
            purse.rest = drawn.rest
            purse.is_tail = drawn.granted == need

    async def _drawn(self, order: Draw) -> Drawn:
        """In a task of its own: what the database granted must be counted, whoever leaves meanwhile."""
        task = aio.hold(self._write_draw(order), "budget-draw")
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: self._keep_unclaimed(order, done))
            raise

    async def _write_draw(self, order: Draw) -> Drawn:
        drawn: Drawn = await self._write(order)
        return drawn

    def _keep_unclaimed(self, order: Draw, done: asyncio.Task[Drawn]) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        for of in order.windows:
            self._purse(of, "").free += done.result().granted

    def _exhausted(self, purses: list[Purse], drawn: Drawn) -> BudgetExhausted:
        for purse in purses:
            if purse.window == drawn.exhausted:
                purse.rest = drawn.rest
                return BudgetExhausted(purse.name, _until(purse.window))
        return BudgetExhausted(purses[0].name, "")

    async def _return(self, purse: Purse) -> None:
        try:
            await self._give_back(purse)
        finally:
            purse.is_returning = False

    async def _give_back(self, purse: Purse) -> None:
        nano, purse.free = purse.free, 0
        if not nano:
            return
        try:
            await self._write(GiveBack(self._spool, purse.window, nano))
        except StoreUnavailable:
            purse.free += nano
        else:
            purse.rest += nano

    def _window(self, terms: BudgetTerms, timestamp: float) -> Window:
        known = self._windows.get(terms)
        if known is None or not known.holds(timestamp):
            if len(self._windows) >= MAX_WINDOWS:
                self._windows.clear()
            known = self._windows[terms] = window(terms, timestamp)
        return known

    def _purse(self, of: Window, name: str) -> Purse:
        purse = self._purses.get(of)
        if purse is None:
            purse = self._purses[of] = Purse(of, name)
        return purse


def _take(purses: tuple[Purse, ...], nano: int) -> bool:
    """All or nothing."""
    for purse in purses:
        if purse.free < nano:
            return False
    for purse in purses:
        purse.free -= nano
    return True


def _until(of: Window) -> str:
    if of.ends_at is None:
        return ""
    return f" before it begins anew at {datetime.fromtimestamp(of.ends_at, UTC):%Y-%m-%d %H:%M} UTC"
