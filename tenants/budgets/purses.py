"""Track what this process holds of one budget window, in memory."""

from __future__ import annotations

import asyncio

from tenants.budgets.windows import Window

# What is taken in as many seconds is kept while calls run; the rest is other processes' to draw.
KEEP_SECONDS = 3


class HeldLease:
    """A process's lease of one window.

    `granted` is the known total of the lease; `free` is the part that no call holds or was charged.
    `is_unconfirmed`: the lease may have another amount, because nobody knows whether an order was carried
    out. `rest`: what the window had left when it was last asked. `is_exact`: the budget is nearly spent
    and grants exactly what is needed, so what is free goes back at once. `taken` is how much more calls
    took than they gave back since the last sweep, `least` the minimum of `free` since then; below
    `refill_below` more is drawn ahead. There is one order to the database at a time.

    `held` is what running calls of this process hold, `elsewhere` what other processes had reserved when
    the window was last asked: both may come back, so a call that finds too little can wait for it.
    """

    __slots__ = (
        "block",
        "elsewhere",
        "free",
        "granted",
        "held",
        "is_exact",
        "is_returning",
        "is_unconfirmed",
        "least",
        "name",
        "need",
        "ordering",
        "refill_below",
        "rest",
        "taken",
        "window",
    )

    def __init__(self, of: Window, name: str) -> None:
        self.window = of
        self.name = name
        self.granted = self.free = self.rest = 0
        self.taken = self.least = self.refill_below = 0
        self.need = self.block = 0
        self.held = self.elsewhere = 0
        self.is_exact = self.is_unconfirmed = self.is_returning = False
        self.ordering = asyncio.Lock()

    def receive(self, granted: int, rest: int, need: int, *, is_exact: bool) -> None:
        """Record the lease's new total."""
        self.block = granted - self.granted
        self.free += self.block
        self.granted, self.rest, self.need = granted, rest, need
        self.is_exact, self.is_unconfirmed = is_exact, False
        self._set_refill(self.taken)

    def record_refusal(self, rest: int, elsewhere: int, *, is_exact: bool) -> None:
        """Record a refusal: the window did not have what was needed or, with `is_exact`, a whole block."""
        self.rest, self.elsewhere, self.refill_below = rest, elsewhere, 0
        self.is_exact = self.is_exact or is_exact

    def sweep(self) -> int:
        """Return what was not needed since the last sweep, a second ago.

        A busy lease keeps a small surplus. Calls hold far more than they are charged, so what counts is
        not how much they took but how little was left while they had it.
        """
        taken, self.taken = max(self.taken, 0), 0
        least, self.least = self.least, self.free
        self._set_refill(taken)
        if self.is_exact:
            return self.free
        idle = min(least, self.free)
        if not taken:
            return idle
        spare = min(idle, self.free - KEEP_SECONDS * taken)
        return spare if spare > self.block // 2 else 0

    def _set_refill(self, taken: int) -> None:
        """Draw ahead when less is left than is taken in about a second."""
        self.refill_below = 0 if self.is_exact else min(self.block // 2, taken)
