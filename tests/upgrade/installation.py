"""An installation of an older version, unpacked for one test, and the world around it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from gateway_project.sandbox import SandboxServer
from tests.processes.served import environment

Json = dict[str, Any]
HERE = Path(__file__).parent
COMMIT = "2849a78"
# How long the upgrade took, by the clock of the installation.
PAUSE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Installation:
    """`told`: what its clients know, and its books as its own version told them (making/make.py)."""

    variables: dict[str, str]
    told: Json

    @property
    def keys(self) -> dict[str, str]:
        keys: dict[str, str] = self.told["keys"]
        return keys

    @property
    def books(self) -> Json:
        books: Json = self.told["books"]
        return books


def unpacked(kind: str, home: Path, **more: str) -> Installation:
    """Unpack its data directory below `home`, as it was when it was stopped."""
    with tarfile.open(HERE / COMMIT / f"{kind}.tar.xz") as archive:
        archive.extractall(home, filter="data")
    told = json.loads((home / "told.json").read_text())
    then = datetime.fromisoformat(told["stopped_at"]) + PAUSE
    variables = environment(
        home / "data",
        PYTHONPATH=str(HERE / "making"),
        DJANGO_SETTINGS_MODULE="then",
        THEN_AHEAD_SECONDS=repr(then.timestamp() - time.time()),
        TOLLGATE_SANDBOX_PORT=str(told["port"]),
        TOLLGATE_SPOOL_LEAST_FREE_PERCENT="0",
        **more,
    )
    return Installation(variables, told)


def restore(url: str, home: Path) -> None:
    """Give an empty database of PostgreSQL what the older version's had."""
    with psycopg.connect(url) as connection:
        connection.execute((home / "dump.sql").read_bytes())


@contextmanager
def upstream(port: int) -> Iterator[SandboxServer]:
    """The sandbox at the address the installation's providers have; it remembers what it is asked.
    Another test run on this machine waits for the address."""
    with (Path(tempfile.gettempdir()) / f"tollgate-upgrade-{port}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _sandbox(port) as server:
            yield server


@contextmanager
def _sandbox(port: int) -> Iterator[SandboxServer]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="upstream")
    thread.start()
    server = SandboxServer(port=port)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
