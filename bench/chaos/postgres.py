"""Run a PostgreSQL of the run's own, which can be made to crash: deploy/services starts it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import scripts
from bench.processes import ROOT

CRASH_SECONDS = (3.0, 7.0)


class Server:
    """The server. `url` names its database."""

    def __init__(self, home: Path, synchronous_commit: str) -> None:
        self._services = scripts.load(ROOT / "deploy" / "services")
        self._home = home
        if os.geteuid() == 0:
            shutil.chown(home, *self._services.owner_of_postgres())
        setting = f"synchronous_commit = {synchronous_commit}\n"
        self.url: str = self._services.start_postgres(home, setting)

    async def crash(self) -> None:
        """Crash it, losing what it had not written to its log; return once it answers again."""
        await asyncio.to_thread(self._services.restart_postgres, self._home)

    def stop(self) -> None:
        self._services.pg_ctl(self._home, "stop", "-m", "immediate", "-t", "10")


@contextlib.contextmanager
def server(synchronous_commit: str) -> Iterator[Server]:
    home = Path(tempfile.mkdtemp(prefix="tollgate-chaos-postgres-"))
    try:
        made = Server(home, synchronous_commit)
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)
