"""What is still read of an upstream after the client has left.

The last piece of text is often not the last thing an upstream sends: its report of usage follows, and with
it the reasoning that nobody saw. A client that leaves in between must pay for it all the same. So reading
goes on until the report is there, but no longer than it takes to see that this was not the end: at the next
piece of output, or after READ_ON_SECONDS, the connection is closed, which tells the upstream to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway_project.lib.aio import hold
from gateway_project.lib.errors import UpstreamError
from responses_api.relay import Relay

READ_ON_SECONDS = 2.0

Pull = Callable[[], Awaitable[bytes]]


def may_report(relay: Relay) -> bool:
    """Whether the end may be near: some output was seen, and neither an end nor a failure. A client that
    leaves before any output has got nothing, so its call is closed at once."""
    return relay.has_output and not relay.ended and relay.failure is None


class ReadingOn:
    """Reads in a task of its own, so that it can be ended without ending who waits for it."""

    __slots__ = ("_task",)

    def __init__(self, relay: Relay, pull: Pull) -> None:
        """`pull` reads once from the upstream and hands what came to the relay."""
        self._task = hold(_read_on(relay, pull), "read-on")

    async def ended(self) -> None:
        """Wait until it has read what there was, or may not read any more."""
        try:
            await asyncio.wait([self._task], timeout=READ_ON_SECONDS)
        finally:
            self._task.cancel()

    def stop(self) -> None:
        """End it now: whoever waits goes on."""
        self._task.cancel()


async def _read_on(relay: Relay, pull: Pull) -> None:
    seen = relay.tally.deltas
    try:
        while may_report(relay) and relay.tally.deltas == seen:
            await pull()
    except UpstreamError:
        pass  # then there is no report
