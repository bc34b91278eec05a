"""How the supervisor notices a worker whose event loop does not turn, and learns where it is stuck."""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile

from gateway_project.lib.heartbeat import Heartbeat

LOOK_SECONDS = 2.0
STACKS_SIGNAL = signal.SIGUSR2
MAX_STACKS_BYTES = 32 * 1024


class Watch:
    """What a worker and its supervisor share. Made before the fork."""

    def __init__(self) -> None:
        self.heartbeat = Heartbeat()
        self.silent_seconds = 0.0
        self._stacks = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._seen = self.heartbeat.at

    # In the worker

    def answer(self) -> None:
        """Write the stacks of all threads where the supervisor finds them, whenever it asks: the signal's
        handler is C, and needs neither the event loop nor the interpreter's lock."""
        faulthandler.register(STACKS_SIGNAL, file=self._stacks, all_threads=True)

    # In the supervisor

    def look(self, passed_seconds: float) -> None:
        """Count the silence. Only time that the supervisor was awake counts: while the whole machine or
        container stands still, nobody is stuck."""
        at = self.heartbeat.at
        self.silent_seconds = self.silent_seconds + passed_seconds if at == self._seen else 0.0
        self._seen = at

    def stacks(self) -> str:
        """What the worker wrote when it was asked."""
        return os.pread(self._stacks.fileno(), MAX_STACKS_BYTES, 0).decode("utf-8", "replace")

    def close(self) -> None:
        self.heartbeat.close()
        self._stacks.close()
