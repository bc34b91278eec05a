"""Keep this process's leases of budgets in memory, so that calls are paid without asking the database.

A held lease is a part of one budget window that is reserved for this process. Its `free` amount belongs
to no call yet; what a call holds or was charged is not free, and stays reserved in the database until the
ledger has booked it. When a lease runs short, more is drawn through the writer, ahead of need where
possible; what nobody needs is given back. docs/budgets.md draws the states.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import Error

from gateway_project.lib import aio, clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.errors import BudgetExhausted, GatewayError, Unavailable
from tenants.budgets.holds import BudgetSet, Hold, Queue
from tenants.budgets.leases import Draw, DrawPart, DrawResult, GiveBack
from tenants.budgets.purses import HeldLease
from tenants.budgets.terms import BudgetTerms
from tenants.budgets.windows import Place, Window, window

logger = logging.getLogger("tollgate.budgets")

SWEEP_SECONDS = 1.0
SWEEP_MANY = 16  # given back in one transaction
# A lease is forgotten this long after its window is over, when no call can be for it any more.
FORGET_SECONDS = 86_400
FORGET_EVERY_SECONDS = 3_600
MAX_CALLERS = 20_000

T = TypeVar("T")
Write = Callable[[Any], Awaitable[Any]]


class BudgetLeases:
    """The leases of one worker. `write` passes a record to the group-commit writer, which commits it."""

    def __init__(self, write: Write, spool: str) -> None:
        self._write = write
        self._spool = spool
        self._leases: dict[Place, HeldLease] = {}
        # By the identity of the caller's budgets, which are read anew when they change.
        self._budget_sets: dict[int, BudgetSet] = {}
        self._awake: set[HeldLease] = set()  # those that the next sweep has to look at
        self._forget_at = 0.0
        self._forgotten_until = 0
        self._sweeper: asyncio.Task[None] | None = None
        self._nobody = BudgetSet((), [], ())
        self.unlimited = Hold(self, self._nobody)  # of all calls that no budget counts

    def __iter__(self) -> Iterator[HeldLease]:
        return iter(tuple(self._leases.values()))

    def start(self) -> None:
        self._sweeper = aio.hold(self._sweep_again_and_again(), "budgets")

    async def stop(self) -> None:
        """Give back what no call holds."""
        await aio.end(self._sweeper)
        for lease in self:
            await _run_to_end(self._give_back(lease), "budget-return")
            if lease.free and not lease.is_unconfirmed:
                await _run_to_end(self._give_back(lease), "budget-return")

    async def hold(self, budgets: tuple[BudgetTerms, ...], nano: int, timestamp: float) -> Hold:
        """Set this much aside in every hard budget, without I/O if this process has it already.

        Raise BudgetExhausted or Unavailable.
        """
        budget_set = self.budget_set(budgets, timestamp)
        if budget_set.leases and not self.take_now(budget_set.leases, nano):
            await self.take(budget_set.leases, nano)
        return self.make_hold(budget_set, nano)

    def budget_set(self, budgets: tuple[BudgetTerms, ...], timestamp: float) -> BudgetSet:
        """Return the windows that pay for these budgets' calls at this instant. Raise Unavailable."""
        if not budgets:
            return self._nobody
        budget_set = self._budget_sets.get(id(budgets))
        if (
            budget_set is None
            or budget_set.budgets is not budgets
            or not budget_set.holds(timestamp)
        ):
            budget_set = self._look_up(budgets, timestamp)
        return budget_set

    def make_hold(self, budget_set: BudgetSet, nano: int) -> Hold:
        """Wrap what was taken from this set as the hold of a call."""
        if budget_set is self._nobody:
            return self.unlimited
        hold = Hold(self, budget_set)
        if hold.held is not None:
            hold.held = nano
        return hold

    def take_now(self, leases: tuple[HeldLease, ...], nano: int) -> bool:
        """Take the amount from all leases or from none."""
        for lease in leases:
            if lease.free < nano:
                return False
        for lease in leases:
            lease.free = free = lease.free - nano
            lease.held += nano
            lease.taken += nano
            lease.least = min(lease.least, free)
            if free < lease.refill_below:
                self._draw_soon(lease)
        return True

    async def take(
        self, leases: tuple[HeldLease, ...], nano: int, queue: Queue | None = None
    ) -> None:
        """Take the amount, drawing what is lacking and, if there is plenty, what the others in the `queue`
        will take. Raise BudgetExhausted or Unavailable."""
        while not self.take_now(leases, nano):
            refusal = await _run_to_end(self._draw(leases, nano, queue), "budget-draw")
            if refusal is not None:
                raise refusal

    def put_back(self, leases: tuple[HeldLease, ...], nano: int) -> None:
        """Put back what was taken and no call needs any more."""
        for lease in leases:
            lease.free += nano
            lease.held -= nano
            lease.taken -= nano
            self._awake.add(lease)
            if lease.is_exact:
                self.return_soon(lease)

    def refresh(self) -> None:
        """React to a changed configuration: give back, so that the next call asks the database."""
        self._budget_sets.clear()
        for lease in self._leases.values():
            self.return_soon(lease)

    def return_soon(self, lease: HeldLease) -> None:
        # An order that failed is said again first: while the database is away calls go on from what is here.
        if lease.free and not (lease.is_returning or lease.is_unconfirmed):
            lease.is_returning = True
            aio.hold(self._return(lease), "budget-return")

    async def sweep(self) -> None:
        """Give back what no call has needed for a while, and forget windows that are long over."""
        now = clock.timestamp()
        returning = []
        for lease in tuple(self._awake):
            spare = lease.sweep() if lease.window.holds(now) else lease.free
            if lease.is_unconfirmed:
                spare = 0
            if spare or lease.is_unconfirmed:
                returning.append((lease, lease.free - spare))
            elif not lease.free:
                self._awake.discard(lease)
        for first in range(0, len(returning), SWEEP_MANY):
            some = returning[first : first + SWEEP_MANY]
            work = (_run_to_end(self._give_back(*each), "budget-return") for each in some)
            await asyncio.gather(*work)
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_SECONDS
            self._forget(now)

    async def _sweep_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(aio.seconds_to_tick(SWEEP_SECONDS))
            try:
                await self.sweep()
            except Exception:
                logger.exception("the periodic check of budget leases failed")

    # Orders to the database. Each runs in a task of its own: what was granted must be counted, whoever
    # leaves meanwhile.

    async def _draw(
        self, leases: tuple[HeldLease, ...], nano: int, queue: Queue | None
    ) -> GatewayError | None:
        """Draw what is lacking; return why there is not enough, or None."""
        async with _ordering(lease for lease in leases if lease.free < nano) as lacking:
            wanted = queue.wanted if queue is not None else 0
            parts = tuple(
                DrawPart(lease.window, lease.granted, nano - lease.free, wanted)
                for lease in lacking
                if lease.free < nano  # nobody drew meanwhile
            )
            return await self._send_draw(lacking, Draw(self._spool, parts)) if parts else None

    def _draw_soon(self, lease: HeldLease) -> None:
        lease.refill_below = 0  # once
        aio.hold(self._draw_ahead(lease), "budget-draw")

    async def _draw_ahead(self, lease: HeldLease) -> None:
        async with lease.ordering:
            if lease.is_exact or lease.free >= lease.block:
                return
            part = DrawPart(lease.window, lease.granted, max(lease.need, 1))
            await self._send_draw([lease], Draw(self._spool, (part,), is_ahead=True))

    async def _send_draw(self, leases: list[HeldLease], order: Draw) -> GatewayError | None:
        """Send an order to draw; return why nothing was granted, or None."""
        drawing = {part.window.place for part in order.parts}
        drawn_on = [lease for lease in leases if lease.window.place in drawing]
        try:
            drawn: DrawResult = await self._write(order)
        except (StoreUnavailable, Error):
            for lease in drawn_on:
                lease.is_unconfirmed = True
            return Unavailable(
                "The budget cannot be checked now; try again.", retry_after_seconds=2
            )
        finally:
            self._awake.update(drawn_on)
        if drawn.exhausted is not None:
            return _refusal(drawn_on, drawn)
        for lease, part, granted in zip(drawn_on, order.parts, drawn.granted, strict=True):
            lease.receive(granted, drawn.rest, part.need, is_exact=drawn.is_exact)
        return None

    async def _return(self, lease: HeldLease) -> None:
        try:
            await self._give_back(lease)
            while lease.is_exact and lease.free and not lease.is_unconfirmed:  # released meanwhile
                await self._give_back(lease)
        finally:
            lease.is_returning = False

    async def _give_back(self, lease: HeldLease, keep: int = 0) -> None:
        """Give back all but `keep`.

        Until it is known whether the order arrived, the amount belongs to nobody. The order is repeated
        with the next sweep, and a lease that still has the amount gives it to the next draw.
        """
        async with lease.ordering:
            # An order of which nobody knows is said again before more is given back.
            nano = 0 if lease.is_unconfirmed else max(lease.free - keep, 0)
            if not nano and not lease.is_unconfirmed:
                return
            lease.free -= nano
            lease.granted -= nano
            lease.is_unconfirmed = True
            try:
                await self._write(GiveBack(self._spool, lease.window, lease.granted))
            except (StoreUnavailable, Error) as error:
                logger.warning(
                    "unused budget could not be given back yet: %s", type(error).__name__
                )
                return
            lease.is_unconfirmed = False
            lease.rest += nano

    # Leases

    def _look_up(self, budgets: tuple[BudgetTerms, ...], timestamp: float) -> BudgetSet:
        windows = [window(terms, timestamp) for terms in budgets]
        leases = tuple(
            self._lease(of, terms.name)
            for of, terms in zip(windows, budgets, strict=True)
            if terms.is_hard
        )
        if len(self._budget_sets) >= MAX_CALLERS:
            self._budget_sets.clear()
        budget_set = self._budget_sets[id(budgets)] = BudgetSet(budgets, windows, leases)
        return budget_set

    def _lease(self, of: Window, name: str) -> HeldLease:
        lease = self._leases.get(of.place)
        if lease is None:
            if of.ends_at is not None and of.ends_at <= self._forgotten_until:
                raise Unavailable("The gateway's clock was set back.", retry_after_seconds=60)
            lease = self._leases[of.place] = HeldLease(of, name)
        lease.window, lease.name = of, name  # a period may have been made longer
        return lease

    def _forget(self, now: float) -> None:
        for place, lease in tuple(self._leases.items()):
            ends_at = lease.window.ends_at
            if ends_at is None or now < ends_at + FORGET_SECONDS:
                continue
            if lease.free or lease.is_unconfirmed or lease.ordering.locked():
                continue
            lease.is_exact = (
                True  # should a call still hold some of it, that goes back when it ends
            )
            # A lease must not be made twice for one lease: the second would count what the first has spent.
            self._forgotten_until = max(self._forgotten_until, ends_at)
            del self._leases[place]
            self._budget_sets.clear()


@contextlib.asynccontextmanager
async def _ordering(leases: Iterable[HeldLease]) -> AsyncIterator[list[HeldLease]]:
    """Hold the order locks of all leases, always taken in one order, so that none wait in a ring."""
    ordered = sorted(leases, key=lambda lease: lease.window.place)
    async with contextlib.AsyncExitStack() as stack:
        for lease in ordered:
            await stack.enter_async_context(lease.ordering)
        yield ordered


async def _run_to_end(work: Coroutine[Any, Any, T], name: str) -> T:
    """Wait for work that goes on if the caller is cancelled."""
    return await asyncio.shield(aio.hold(work, name))


def _refusal(leases: list[HeldLease], drawn: DrawResult) -> GatewayError:
    assert drawn.exhausted is not None
    place = drawn.exhausted.place
    refusing = next(lease for lease in leases if lease.window.place == place)
    refusing.record_refusal(drawn.rest, drawn.elsewhere, is_exact=drawn.is_exact)
    if drawn.is_gone:
        return Unavailable("A budget was just changed; try again.", retry_after_seconds=1)
    return BudgetExhausted(refusing.name, _until(refusing.window))


def _until(of: Window) -> str:
    if of.ends_at is None:
        return ""
    return f" before it resets at {datetime.fromtimestamp(of.ends_at, UTC):%Y-%m-%d %H:%M} UTC"
