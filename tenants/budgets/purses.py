"""What a process holds of one window, in memory."""

from __future__ import annotations

import asyncio

from tenants.budgets.windows import Window

# What is taken in as many seconds is kept while calls run; the rest is other processes' to draw.
KEEP_SECONDS = 3


class Purse:
    """`granted`: what the lease is known to have, in all; that of it which belongs to no call and was charged
    by none is `free`. `is_unsure`: the lease may have another figure, because an order was sent of which
    nobody knows whether it was carried out. `rest`: what the window had left when it was last asked.
    `is_tail`: it gives no more than is needed, so what is not needed goes back at once. `taken` is how much
    more calls took than they gave back since the last sweep, `least` what was free at least since then, and
    `low` what is free at least before more is drawn ahead. There is one order to the database at a time.

    `held` is what running calls of this process hold, `elsewhere` what other processes had reserved when the
    window was last asked: both may come back, so that a call that finds too little can wait for it."""

    __slots__ = (
        "block",
        "elsewhere",
        "free",
        "granted",
        "held",
        "is_returning",
        "is_tail",
        "is_unsure",
        "least",
        "low",
        "name",
        "need",
        "ordering",
        "rest",
        "taken",
        "window",
    )

    def __init__(self, of: Window, name: str) -> None:
        self.window = of
        self.name = name
        self.granted = self.free = self.rest = 0
        self.taken = self.least = self.low = 0
        self.need = self.block = 0
        self.held = self.elsewhere = 0
        self.is_tail = self.is_unsure = self.is_returning = False
        self.ordering = asyncio.Lock()

    def receive(self, granted: int, rest: int, need: int, *, is_tail: bool) -> None:
        """What the lease has now, in all."""
        self.block = granted - self.granted
        self.free += self.block
        self.granted, self.rest, self.need = granted, rest, need
        self.is_tail, self.is_unsure = is_tail, False
        self._set_low(self.taken)

    def lack(self, rest: int, elsewhere: int, *, is_tail: bool) -> None:
        """The window has not what was needed, or with `is_tail` no whole block."""
        self.rest, self.elsewhere, self.low = rest, elsewhere, 0
        self.is_tail = self.is_tail or is_tail

    def sweep(self) -> int:
        """Called every second: what of it was not needed for that long. What little more than is needed a
        busy one has, it keeps. Calls hold far more than they are charged, so that what counts is not how
        much they took but how little was left while they had it."""
        taken, self.taken = max(self.taken, 0), 0
        least, self.least = self.least, self.free
        self._set_low(taken)
        if self.is_tail:
            return self.free
        idle = min(least, self.free)
        if not taken:
            return idle
        spare = min(idle, self.free - KEEP_SECONDS * taken)
        return spare if spare > self.block // 2 else 0

    def _set_low(self, taken: int) -> None:
        """About what is taken in a second, so that it is drawn before it is needed."""
        self.low = 0 if self.is_tail else min(self.block // 2, taken)
