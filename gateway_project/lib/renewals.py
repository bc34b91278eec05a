"""Renew this worker's time-limited leases from a thread that a busy event loop cannot starve.

One request that keeps the loop busy for some seconds must not cost the others their runs and keys. A loop
that does not turn at all is different: once its heartbeat is old, others take over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from gateway_project.lib.heartbeat import SharedHeartbeat
from gateway_project.lib.writer import Writer

RENEW_SECONDS = 3.0

Told = Callable[[Any], None]


class Renewal(NamedTuple):
    """A record to write and a callback for its result.

    The callback runs in the writer's thread, with None if the record could not be written.
    """

    record: Any
    told: Told | None = None


# What there is to renew now, if anything. Called in the thread of the leases.
Holder = Callable[[], Renewal | None]


class Leases:
    """The leases of one worker. `on_stuck` is called where nobody else would end a process whose loop is
    stuck: `serve` has its supervisor.
    """

    def __init__(self, writer: Writer, heartbeat: SharedHeartbeat) -> None:
        self._writer = writer
        self._heartbeat = heartbeat
        self._holders: list[Holder] = []
        self.on_stuck: Callable[[], object] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tollgate-leases", daemon=True)

    def add(self, holder: Holder) -> None:
        """Add a renewal; only before the thread is started."""
        self._holders.append(holder)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def look(self) -> None:
        """Renew what is due, unless the loop is stuck."""
        if self._heartbeat.is_stuck:
            if self.on_stuck is not None:
                self.on_stuck()
            return
        for holder in self._holders:
            if (renewal := holder()) is not None:
                self._writer.post(*renewal)

    def _work(self) -> None:
        while not self._stopped.wait(RENEW_SECONDS):
            self.look()
