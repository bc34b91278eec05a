"""What this process holds of budgets, in memory: calls are paid from leases without asking anybody.

A purse is this process's lease of one window. `free` of it belongs to no call yet; what a call holds or was
charged is not free, and stays reserved in the database until the ledger has booked it. When a purse lacks
what is needed, more is drawn through the writer, and before that while a block lasts; what nobody needs is
given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import Error

from gateway_project.lib import aio, clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import BudgetExhausted, GatewayError, Unavailable
from tenants.budgets.leases import Draw, Drawn, GiveBack, Part
from tenants.budgets.purses import Purse
from tenants.budgets.terms import BudgetTerms
from tenants.budgets.windows import Place, Window, window
from tenants.ledger.records import BudgetShare

logger = logging.getLogger("tollgate.budgets")

SWEEP_SECONDS = 1.0
SWEEP_MANY = 16  # given back in one transaction
# A purse is forgotten this long after its window is over, when no call can be for it any more.
FORGET_SECONDS = 86_400
FORGET_EVERY_SECONDS = 3_600
MAX_CALLERS = 20_000

T = TypeVar("T")
Write = Callable[[Any], Awaitable[Any]]


class Payers:
    """The windows that pay for a caller's calls between two instants, looked up once. `purses` are those of
    hard budgets; `queue` are the caller's calls that wait until others give back what they hold."""

    __slots__ = ("begins", "budgets", "ends", "purses", "queue", "shares")

    def __init__(
        self,
        budgets: tuple[BudgetTerms, ...],
        windows: list[Window],
        purses: tuple[Purse, ...],
    ) -> None:
        self.budgets = budgets
        self.purses = purses
        self.queue = Queue()
        self.shares = tuple(of.share for of in windows)
        self.begins = max((of.starts_at for of in windows), default=0)
        ends = (math.inf if of.ends_at is None else of.ends_at for of in windows)
        self.ends = min(ends, default=math.inf)

    def holds(self, timestamp: float) -> bool:
        return self.begins <= timestamp < self.ends


class Queue:
    """Calls of one caller that wait for its budgets, in the order in which they came. Whoever has the `lock`
    is the first of them. `moved_at`: when something was last given back, in event-loop seconds."""

    __slots__ = ("lock", "moved_at", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.moved_at = 0.0
        self.waiting = 0


class Hold:
    """What one call has of its budgets. `shares` are all windows that pay for it, `held` is None where none
    of them is hard."""

    __slots__ = ("_accounts", "_payers", "_purses", "held")

    def __init__(self, accounts: Accounts, payers: Payers) -> None:
        self._accounts = accounts
        self._payers = payers
        self._purses = payers.purses
        self.held = 0 if self._purses else None

    @property
    def shares(self) -> tuple[BudgetShare, ...]:
        return self._payers.shares

    def is_for(self, timestamp: float) -> bool:
        """Whether it is these windows that pay for a call at this instant."""
        return self._payers.holds(timestamp)

    def extend_now(self, nano: int) -> bool:
        """Hold more, if this process has it."""
        if self.held is None:
            return True
        if not self._purses or not self._accounts.take_now(self._purses, nano):
            return False
        self.held += nano
        return True

    async def extend_up_to(self, nano: int) -> None:
        """Hold as much more as the budgets have of it."""
        wanted = nano
        while wanted > 0 and self._purses and not await self.extend(wanted):
            # The refusal told what is left.
            wanted = min(wanted - 1, *(purse.free + purse.rest for purse in self._purses))

    async def extend(self, nano: int) -> bool:
        """Hold more, if the budgets have it."""
        if self.held is None:
            return True
        purses = self._purses
        try:
            await self._accounts.take(purses, nano)
        except (BudgetExhausted, Unavailable):
            return False
        if not self._purses:  # released meanwhile
            self._accounts.put_back(purses, nano)
            return False
        self.held += nano
        return True

    def charge(self, nano: int) -> None:
        """Of what is held; it is given back by nobody, until the ledger has booked it."""
        if self.held is not None:
            if nano > self.held:
                raise ValueError("more is charged than is held")
            self.held -= nano
            for purse in self._purses:
                purse.held -= nano

    def release(self) -> None:
        """What is still held belongs to no call any more. Further calls change nothing."""
        purses, self._purses = self._purses, ()
        if self.held is not None:
            self._accounts.put_back(purses, self.held)
            self.held = 0


class Accounts:
    """One per worker. `write` gives a record to the group-commit writer, which commits it."""

    def __init__(self, write: Write, spool: str) -> None:
        self._write = write
        self._spool = spool
        self._purses: dict[Place, Purse] = {}
        # By the identity of the caller's budgets, which are read anew when they change.
        self._payers: dict[int, Payers] = {}
        self._awake: set[Purse] = set()  # those that the next sweep has to look at
        self._forget_at = 0.0
        self._forgotten_until = 0
        self._sweeper: asyncio.Task[None] | None = None
        self._nobody = Payers((), [], ())
        self._unlimited = Hold(self, self._nobody)

    def start(self) -> None:
        self._sweeper = aio.hold(self._sweep_again_and_again(), "budgets")

    async def stop(self) -> None:
        """Give back what no call holds."""
        await aio.end(self._sweeper)
        for purse in tuple(self._purses.values()):
            await _finished(self._give_back(purse), "budget-return")
            if purse.free and not purse.is_unsure:
                await _finished(self._give_back(purse), "budget-return")

    async def hold(self, budgets: tuple[BudgetTerms, ...], nano: int, timestamp: float) -> Hold:
        """Set this much aside in every hard budget; no I/O where this process has it already. Raises
        BudgetExhausted, Unavailable."""
        payers = self.payers(budgets, timestamp)
        if payers.purses and not self.take_now(payers.purses, nano):
            await self.take(payers.purses, nano)
        return self.held_by(payers, nano)

    def payers(self, budgets: tuple[BudgetTerms, ...], timestamp: float) -> Payers:
        """What pays for these budgets' calls at this instant. Raises Unavailable."""
        if not budgets:
            return self._nobody
        payers = self._payers.get(id(budgets))
        if payers is None or payers.budgets is not budgets or not payers.holds(timestamp):
            payers = self._look_up(budgets, timestamp)
        return payers

    def held_by(self, payers: Payers, nano: int) -> Hold:
        """A call's hold of what was taken of these payers."""
        if payers is self._nobody:
            return self._unlimited
        hold = Hold(self, payers)
        if hold.held is not None:
            hold.held = nano
        return hold

    def take_now(self, purses: tuple[Purse, ...], nano: int) -> bool:
        """Take it out of all of them or of none."""
        for purse in purses:
            if purse.free < nano:
                return False
        for purse in purses:
            purse.free = free = purse.free - nano
            purse.held += nano
            purse.taken += nano
            purse.least = min(purse.least, free)
            if free < purse.low:
                self._draw_soon(purse)
        return True

    async def take(self, purses: tuple[Purse, ...], nano: int) -> None:
        """The same, drawing what is lacking. Raises BudgetExhausted, Unavailable."""
        while not self.take_now(purses, nano):
            refusal = await _finished(self._draw(purses, nano), "budget-draw")
            if refusal is not None:
                raise refusal

    def put_back(self, purses: tuple[Purse, ...], nano: int) -> None:
        """What was taken and belongs to no call any more."""
        for purse in purses:
            purse.free += nano
            purse.held -= nano
            purse.taken -= nano
            self._awake.add(purse)
            if purse.is_tail:
                self.return_soon(purse)

    def refresh(self) -> None:
        """The configuration has changed: who spends from now on asks the database what there is."""
        self._payers.clear()
        for purse in self._purses.values():
            self.return_soon(purse)

    def return_soon(self, purse: Purse) -> None:
        # An order that failed is said again first: while the database is away calls go on from what is here.
        if purse.free and not (purse.is_returning or purse.is_unsure):
            purse.is_returning = True
            aio.hold(self._return(purse), "budget-return")

    async def sweep(self) -> None:
        """Give back what no call has needed for a while, and forget windows that are long over."""
        now = clock.timestamp()
        returning = []
        for purse in tuple(self._awake):
            spare = purse.sweep() if purse.window.holds(now) else purse.free
            if purse.is_unsure:
                spare = 0
            if spare or purse.is_unsure:
                returning.append((purse, purse.free - spare))
            elif not purse.free:
                self._awake.discard(purse)
        for first in range(0, len(returning), SWEEP_MANY):
            some = returning[first : first + SWEEP_MANY]
            work = (_finished(self._give_back(*each), "budget-return") for each in some)
            await asyncio.gather(*work)
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_SECONDS
            self._forget(now)

    async def _sweep_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except Exception:
                logger.exception("budgets could not be swept")

    # Orders to the database. Each runs in a task of its own: what was granted must be counted, whoever
    # leaves meanwhile.

    async def _draw(self, purses: tuple[Purse, ...], nano: int) -> GatewayError | None:
        """Why there is not enough, or None."""
        async with _ordering(purse for purse in purses if purse.free < nano) as lacking:
            parts = tuple(
                Part(purse.window, purse.granted, nano - purse.free)
                for purse in lacking
                if purse.free < nano  # nobody drew meanwhile
            )
            return await self._drawn(lacking, Draw(self._spool, parts)) if parts else None

    def _draw_soon(self, purse: Purse) -> None:
        purse.low = 0  # once
        aio.hold(self._draw_ahead(purse), "budget-draw")

    async def _draw_ahead(self, purse: Purse) -> None:
        async with purse.ordering:
            if purse.is_tail or purse.free >= purse.block:
                return
            part = Part(purse.window, purse.granted, max(purse.need, 1))
            await self._drawn([purse], Draw(self._spool, (part,), is_ahead=True))

    async def _drawn(self, purses: list[Purse], order: Draw) -> GatewayError | None:
        """Why nothing was granted, or None."""
        drawing = {part.window.place for part in order.parts}
        drawn_on = [purse for purse in purses if purse.window.place in drawing]
        try:
            drawn: Drawn = await self._write(order)
        except (StoreUnavailable, Error):
            for purse in drawn_on:
                purse.is_unsure = True
            return Unavailable("The budget cannot be asked now; try again.", retry_after_seconds=2)
        finally:
            self._awake.update(drawn_on)
        if drawn.exhausted is not None:
            return _refusal(drawn_on, drawn)
        for purse, part, granted in zip(drawn_on, order.parts, drawn.granted, strict=True):
            purse.receive(granted, drawn.rest, part.need, is_tail=drawn.is_tail)
        return None

    async def _return(self, purse: Purse) -> None:
        try:
            await self._give_back(purse)
            while purse.is_tail and purse.free and not purse.is_unsure:  # released meanwhile
                await self._give_back(purse)
        finally:
            purse.is_returning = False

    async def _give_back(self, purse: Purse, keep: int = 0) -> None:
        """What is not kept. While nobody knows whether it arrived it belongs to nobody; it is said again with
        the next sweep, and a lease that still has it gives it to the next that draws."""
        async with purse.ordering:
            # An order of which nobody knows is said again before more is given back.
            nano = 0 if purse.is_unsure else max(purse.free - keep, 0)
            if not nano and not purse.is_unsure:
                return
            purse.free -= nano
            purse.granted -= nano
            purse.is_unsure = True
            try:
                await self._write(GiveBack(self._spool, purse.window, purse.granted))
            except (StoreUnavailable, Error) as error:
                logger.warning("a budget's rest is not given back yet: %s", type(error).__name__)
                return
            purse.is_unsure = False
            purse.rest += nano

    # Purses

    def _look_up(self, budgets: tuple[BudgetTerms, ...], timestamp: float) -> Payers:
        windows = [window(terms, timestamp) for terms in budgets]
        purses = tuple(
            self._purse(of, terms.name)
            for of, terms in zip(windows, budgets, strict=True)
            if terms.is_hard
        )
        if len(self._payers) >= MAX_CALLERS:
            self._payers.clear()
        payers = self._payers[id(budgets)] = Payers(budgets, windows, purses)
        return payers

    def _purse(self, of: Window, name: str) -> Purse:
        purse = self._purses.get(of.place)
        if purse is None:
            if of.ends_at is not None and of.ends_at <= self._forgotten_until:
                raise Unavailable("The gateway's clock went back.", retry_after_seconds=60)
            purse = self._purses[of.place] = Purse(of, name)
        purse.window, purse.name = of, name  # a period may have been made longer
        return purse

    def _forget(self, now: float) -> None:
        for place, purse in tuple(self._purses.items()):
            ends_at = purse.window.ends_at
            if ends_at is None or now < ends_at + FORGET_SECONDS:
                continue
            if purse.free or purse.is_unsure or purse.ordering.locked():
                continue
            purse.is_tail = True  # should a call still hold some of it, that goes back when it ends
            # A purse must not be made twice for one lease: the second would count what the first has spent.
            self._forgotten_until = max(self._forgotten_until, ends_at)
            del self._purses[place]
            self._payers.clear()


@contextlib.asynccontextmanager
async def _ordering(purses: Iterable[Purse]) -> AsyncIterator[list[Purse]]:
    """No other order for any of them meanwhile. Always begun in one order, so that none wait in a ring."""
    ordered = sorted(purses, key=lambda purse: purse.window.place)
    async with contextlib.AsyncExitStack() as stack:
        for purse in ordered:
            await stack.enter_async_context(purse.ordering)
        yield ordered


async def _finished(work: Coroutine[Any, Any, T], name: str) -> T:
    """Wait for it; it goes on if whoever waits is cancelled."""
    return await asyncio.shield(aio.hold(work, name))


def _refusal(purses: list[Purse], drawn: Drawn) -> GatewayError:
    assert drawn.exhausted is not None
    place = drawn.exhausted.place
    refusing = next(purse for purse in purses if purse.window.place == place)
    refusing.lack(drawn.rest, drawn.elsewhere, is_tail=drawn.is_tail)
    if drawn.is_gone:
        return Unavailable("A budget has just been changed; try again.", retry_after_seconds=1)
    return BudgetExhausted(refusing.name, _until(refusing.window))


def _until(of: Window) -> str:
    if of.ends_at is None:
        return ""
    return f" before it begins anew at {datetime.fromtimestamp(of.ends_at, UTC):%Y-%m-%d %H:%M} UTC"
