"""Read on from an upstream for a moment after the client has left.

The last piece of text is often not the last thing an upstream sends: its report of usage follows, and with it
the reasoning that nobody saw. A client that leaves in between must still pay for it. So reading goes on until
the report arrives, but no longer than it takes to see that the end was not near: at the next piece of output,
or after READ_ON_SECONDS, the connection is closed, which tells the upstream to stop. A client that leaves
before any output has received nothing, so its call is closed at once.
"""

from __future__ import annotations

import asyncio

from gateway_project.lib.aio import hold
from gateway_project.lib.errors import UpstreamError
from responses_api.calls.attempt import Attempt

READ_ON_SECONDS = 2.0


class TrailingRead:
    """A read in a task of its own, so that it can be ended without ending the task that waits for it."""

    __slots__ = ("_task",)

    def __init__(self, attempt: Attempt) -> None:
        self._task = hold(_read_on(attempt), "read-on")

    async def wait(self) -> None:
        """Wait until the read has finished or was stopped."""
        try:
            await asyncio.wait([self._task], timeout=READ_ON_SECONDS)
        finally:
            self._task.cancel()

    def stop(self) -> None:
        """End the read now, so that whoever waits goes on."""
        self._task.cancel()


async def _read_on(attempt: Attempt) -> None:
    tally = attempt.reader.tally
    seen = tally.deltas
    try:
        while attempt.may_report and tally.deltas == seen:
            await attempt.pull()
    except UpstreamError:
        pass  # in that case there is no report
