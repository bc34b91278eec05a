"""Tell readiness checks whether the processes beside this one show signs of life."""

from __future__ import annotations

import logging

from gateway_project.lib import aio, clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from tenants import heartbeats

logger = logging.getLogger("tollgate.peers")

LOOK_SECONDS = 10.0
# Celery's queues, by who is missed if nobody serves them.
QUEUES = ("tollgate", "tollgate.background")


class Peers:
    """Cached answers for health checks, which must not wait for the database."""

    def __init__(self, tasks: str) -> None:
        self._tasks = tasks
        self._look_at = float("-inf")
        self._missing: list[str] = []

    def missing(self) -> list[str]:
        """Return a sentence for each process that should run and does not seem to."""
        if clock.monotonic() >= self._look_at:
            self._look_at = clock.monotonic() + LOOK_SECONDS
            aio.hold(self._look(), "peers")
        return self._missing

    async def _look(self) -> None:
        try:
            self._missing = await in_database_thread(self._ask)
        except StoreUnavailable:
            self._look_at = float("-inf")
        except Exception:
            logger.exception("heartbeats could not be read")

    def _ask(self) -> list[str]:
        return heartbeats.missing(QUEUES, tasks=self._tasks, here=heartbeats.host_name())
