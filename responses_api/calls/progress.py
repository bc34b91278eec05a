"""Track how far a call is: what it waits for, since when, and when its upstream was last heard."""

from __future__ import annotations

import asyncio
from enum import Enum

from gateway_project.lib import clock


class Phase(Enum):
    """The thing a call waits for."""

    SHORTENING = "shortening"  # a summary of what is too long
    LANE = "lane"  # a lane that may be asked
    WAITING = "waiting"  # the upstream's headers
    STREAMING = "streaming"  # the upstream's next bytes
    SENDING = "sending"  # the client to take bytes
    STORING = "storing"  # the ledger and the database to keep the answer, which is whole
    ENDED = "ended"


class Progress:
    """The progress of a call, written by an exchange and its attempts and read by the watchdog.

    `since` is when the phase was entered, or when frames last came in it; `last_sent` is when the client last
    got something. Both are the event loop's time; the upstream's instants are `clock.monotonic`.
    """

    __slots__ = (
        "first_output_at", "heard_at", "last_sent", "opened_at", "phase", "since", "time",
    )  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.time = loop.time
        self.phase = Phase.WAITING
        self.since = self.last_sent = self.time()
        self.opened_at = self.heard_at = clock.monotonic()
        self.first_output_at: float | None = None

    def enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self.time()

    @property
    def ttft_ms(self) -> int | None:
        """Return the time to the first output in milliseconds; None before it."""
        first = self.first_output_at
        return None if first is None else int((first - self.opened_at) * 1000)
