"""Notice from the supervisor that a worker's event loop, or a process, stands still, and learn where."""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile

from gateway_project.lib.heartbeat import SharedHeartbeat

LOOK_SECONDS = 2.0
STACKS_SIGNAL = signal.SIGUSR2
MAX_STACKS_BYTES = 32 * 1024


class Watch:
    """Shared state of a process and its supervisor. Made before the fork."""

    def __init__(self) -> None:
        self.heartbeat = SharedHeartbeat()
        self.silent_seconds = 0.0
        self._stacks = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._seen = self.heartbeat.at

    # In the worker

    def answer(self) -> None:
        """Dump the stacks of all threads to the supervisor's file whenever it asks.

        The signal's handler is C, and needs neither the event loop nor the interpreter's lock.
        """
        faulthandler.register(STACKS_SIGNAL, file=self._stacks, all_threads=True)

    # In the supervisor

    def look(self, passed_seconds: float) -> None:
        """Count the silence.

        Only time during which the supervisor was awake counts: while the whole machine or container
        stands still, nobody is stuck.
        """
        at = self.heartbeat.at
        self.silent_seconds = self.silent_seconds + passed_seconds if at == self._seen else 0.0
        self._seen = at

    def stacks(self) -> str:
        """Return the stacks the worker wrote when it was asked."""
        return os.pread(self._stacks.fileno(), MAX_STACKS_BYTES, 0).decode("utf-8", "replace")

    def close(self) -> None:
        self.heartbeat.close()
        self._stacks.close()
