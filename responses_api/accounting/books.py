"""A worker's spool, kept honest when its disk is full: no new calls, and no settlement forgotten."""

from __future__ import annotations

import asyncio
import logging

from gateway_project.lib import aio
from gateway_project.lib.errors import Internal
from tenants.ledger.records import Noted, Opened, Settled
from tenants.ledger.spool import Spool, SpoolFailed

logger = logging.getLogger("tollgate.accounting")

LOOK_SECONDS = 0.5


class Books:
    """What legs write to. A settlement the spool cannot take waits in memory until it can: should the process
    die first, the call is settled by what the spool knows of it."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._waiting: list[Settled] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._spool.name

    @property
    def is_healthy(self) -> bool:
        """Whether new calls may be made."""
        return self._spool.healthy and not self._waiting

    def start(self) -> None:
        self._spool.check()
        self._task = aio.hold(self._look(), "books")

    async def stop(self) -> None:
        await aio.end(self._task)
        self._settle_waiting()
        self._spool.close()

    def open(self, record: Opened) -> None:
        """Raises SpoolFailed: then the call must not be made."""
        if not self.is_healthy:
            raise SpoolFailed("the spool takes no new calls")
        self._spool.append(record)

    def note(self, record: Noted) -> None:
        try:
            self._spool.append(record)
        except SpoolFailed as error:  # it will be settled all the same
            logger.warning("a running call cannot be noted: %s", error)

    def settle(self, record: Settled) -> None:
        if not self._waiting:
            try:
                self._spool.append(record)
            except SpoolFailed as error:
                logger.error("a call cannot be settled now: %s", error)
            else:
                return
        self._waiting.append(record)

    async def durable(self) -> None:
        """Wait until what was written survives a loss of power, where that is asked for. Raises Internal if
        it does not: the call is settled, but nobody may be told that it ended well."""
        try:
            await self._spool.durable()
        except SpoolFailed as error:
            logger.error("a call that was settled: %s", error)
            raise Internal from error

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._spool.check()
            self._settle_waiting()

    def _settle_waiting(self) -> None:
        try:
            while self._waiting:
                self._spool.append(self._waiting[0])
                del self._waiting[0]
        except SpoolFailed:
            return
