"""Lease parts of a budget window to a process, in blocks, and take them back.

Runs in the caller's transaction, which is committed before anything is spent.

Orders state what the process knows it holds of a window, never by how much that changes, so that an order
that is carried out twice, because nobody knew whether its commit landed, has the effect of one: a lease
that holds more than its process knows gives that first, and one that is given back is set to what
remains. A process has one order for a window at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import F
from msgspec import Struct

from tenants.budgets import locks
from tenants.budgets.windows import Place, Window
from tenants.models import BudgetLease, BudgetWindow

# A block is a twentieth of what is left, but no more than a dollar, three times what is needed, or what all
# calls that wait together would take, whichever is most: calls go on from it while the database is away.
# Where what is needed is more than a twentieth of what is left, exactly that is granted and given back at
# once when it is free again, so that the last cent can be spent by whoever needs it.
BLOCK_SHARE = 20
BLOCK_NANO = 1_000_000_000
FEW_BLOCKS = 3


class DrawPart(Struct, frozen=True):
    """A draw from one window: `known` is what the process knows to be granted, `need` how much more it
    needs. `wanted` is what all calls that wait with it would take.
    """

    window: Window
    known: int
    need: int
    wanted: int = 0


class Draw(Struct, frozen=True):
    """An order for the needed amount from all of these windows or from none.

    `is_ahead`: no call waits for it, so that it is for a whole block or for nothing.
    """

    spool: str
    parts: tuple[DrawPart, ...]
    is_ahead: bool = False


class DrawResult(Struct, frozen=True):
    """The result of a draw.

    `granted` is what the process now has of each window in total. It is empty if one of them,
    `exhausted`, does not have what is needed; with `is_gone` that budget was deleted or disabled. `rest`:
    the least that any has left. `is_exact`: so little is left that exactly what is needed is granted, and
    goes back at once when it is free. `elsewhere`: what other processes have reserved of the exhausted
    window.
    """

    granted: tuple[int, ...]
    rest: int
    is_exact: bool = False
    exhausted: Window | None = None
    is_gone: bool = False
    elsewhere: int = 0


class GiveBack(Struct, frozen=True):
    """An order that sets what the process has of a window, in total."""

    spool: str
    window: Window
    granted: int


Order = Draw | GiveBack
_Locked = dict[Place, BudgetWindow | None]


def carry_out(orders: Sequence[Order]) -> list[DrawResult | None]:
    """Carry out orders one after the other, once all their windows are locked in order.

    The order of the locks keeps two processes from waiting for each other.
    """
    drawn = {
        part.window.place: part.window
        for order in orders
        if isinstance(order, Draw)
        for part in order.parts
    }
    given = {order.window.place: order.window for order in orders if isinstance(order, GiveBack)}
    rows: _Locked = {}
    for place, window in sorted({**given, **drawn}.items(), key=lambda item: item[0]):
        rows[place] = locks.lock_window(window, make=place in drawn)
    return [_carry_out_one(order, rows) for order in orders]


def _carry_out_one(order: Order, rows: _Locked) -> DrawResult | None:
    if isinstance(order, Draw):
        return _draw(order, rows)
    _give_back(order, rows)
    return None


def _draw(order: Draw, rows: _Locked) -> DrawResult:
    """Grant a draw. A budget that was deleted or disabled meanwhile grants nothing."""
    leases, rests = [], []
    for part in order.parts:
        row = rows[part.window.place]
        if row is None or not row.budget.enabled:
            return DrawResult((), 0, exhausted=part.window, is_gone=True)
        granted, charged = _lease(row, order.spool)
        # What the lease has beyond what its process knows was granted before.
        rest = _rest(row) + granted - part.known
        if rest < part.need:
            elsewhere = max(row.reserved_nano - (granted - charged), 0)
            return DrawResult(
                (), max(rest, 0), order.is_ahead, exhausted=part.window, elsewhere=elsewhere
            )
        leases.append(granted)
        rests.append(rest)
    need = max(part.need for part in order.parts)
    wanted = max(part.wanted for part in order.parts)
    block, is_exact = _block(min(rests), need, wanted)
    if is_exact and order.is_ahead:
        return DrawResult((), min(rests), is_exact=True, exhausted=order.parts[0].window)
    granted_now = []
    for part, had in zip(order.parts, leases, strict=True):
        granted_now.append(max(had, part.known + (part.need if block is None else block)))
        row = rows[part.window.place]
        assert row is not None
        _grant(row, order.spool, had, granted_now[-1])
    rest = min(_rest(row) for part in order.parts if (row := rows[part.window.place]) is not None)
    return DrawResult(tuple(granted_now), rest, is_exact=is_exact)


def _give_back(order: GiveBack, rows: _Locked) -> None:
    row = rows[order.window.place]
    if row is None:
        return
    lease = BudgetLease.objects.filter(window=row, spool=order.spool).first()
    if lease is None:
        return
    left = max(order.granted, lease.charged_nano)
    if left < lease.granted_nano:
        _grant(row, order.spool, lease.granted_nano, left)


def _block(rest: int, need: int, wanted: int) -> tuple[int | None, bool]:
    """Return the block to grant, None for exactly what is needed; and whether this is the end of the
    budget. `wanted` is what all who wait would take.
    """
    share = rest // BLOCK_SHARE
    block = min(share, max(BLOCK_NANO, FEW_BLOCKS * need, wanted))
    if block >= FEW_BLOCKS * need:
        return block, False
    return (None, True) if share < need else (max(block, need), False)


def _rest(row: BudgetWindow) -> int:
    return row.budget.amount_nano - row.spent_nano - row.reserved_nano


def _lease(row: BudgetWindow, spool: str) -> tuple[int, int]:
    """Return what the lease was granted and has not given back, and how much of it was booked."""
    lease = BudgetLease.objects.filter(window=row, spool=spool)
    return lease.values_list("granted_nano", "charged_nano").first() or (0, 0)


def _grant(row: BudgetWindow, spool: str, had: int, granted: int) -> None:
    """Set the lease to this amount."""
    if had == granted:
        return
    row.reserved_nano += granted - had
    BudgetWindow.objects.filter(pk=row.pk).update(
        reserved_nano=F("reserved_nano") + (granted - had)
    )
    if not BudgetLease.objects.filter(window=row, spool=spool).update(granted_nano=granted):
        BudgetLease.objects.create(window=row, spool=spool, granted_nano=granted)
