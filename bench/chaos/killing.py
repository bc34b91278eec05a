"""Kill the processes of a gateway at random moments, as the kernel would: without warning."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random

WORKER, INGESTER = "worker", "ingester"
WORKER_SHARE = 0.6
# The supervisor pauses before it restarts what lived shorter than that: mostly such would be mostly pauses.
RIPE_SECONDS = 1.0
UNRIPE_SHARE = 0.1


class Killer:
    """Kills processes. `killed` counts them by kind."""

    def __init__(self, supervisor: int, pause_seconds: tuple[float, float], chance: Random) -> None:
        self._supervisor = supervisor
        self._pause_seconds = pause_seconds
        self._chance = chance
        self._known_since: dict[int, float] = {}
        self.killed: Counter[str] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(*self._pause_seconds)):
                    await stop.wait()
            if not stop.is_set():
                self._kill_one()

    def _kill_one(self) -> None:
        kinds = {kind: children(self._supervisor, kind) for kind in (WORKER, INGESTER)}
        ages = {pid: self._age(pid) for pids in kinds.values() for pid in pids}
        kind = WORKER if self._chance.random() < WORKER_SHARE else INGESTER
        least = 0.0 if self._chance.random() < UNRIPE_SHARE else RIPE_SECONDS
        victims = [pid for pid in kinds[kind] if ages[pid] >= least]
        if victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._chance.choice(victims), signal.SIGKILL)
                self.killed[kind] += 1

    def _age(self, pid: int) -> float:
        """Return the age since it was first seen; a process id is seldom reused."""
        now = time.monotonic()
        return now - self._known_since.setdefault(pid, now)


def children(supervisor: int, kind: str) -> list[int]:
    """Return the living processes of that kind; one that was just forked has no name yet."""
    listed = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text(encoding="ascii")
    name = f"tollgate:{kind}"[:15]
    return [int(pid) for pid in listed.split() if _is_called(pid, name)]


def _is_called(pid: str, name: str) -> bool:
    try:
        called = Path(f"/proc/{pid}/comm").read_text(encoding="ascii")
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return called.startswith(name) and state != "Z"
