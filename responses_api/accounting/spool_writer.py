"""Write a worker's spool safely when its disk is full: refuse new calls, and forget no settlement."""

from __future__ import annotations

import asyncio
import logging

from gateway_project.lib import aio
from gateway_project.lib.errors import Internal
from tenants.ledger.records import Noted, Opened, Refused, RefusedMore, Settled
from tenants.ledger.spool import Spool, SpoolFailed

logger = logging.getLogger("tollgate.accounting")

LOOK_SECONDS = 0.5


class SpoolWriter:
    """The ledger that metered calls write to. A settlement that the spool cannot take waits in memory
    until it can. If the process dies first, the call is settled from what the spool knows of it."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._waiting: list[Settled] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._spool.name

    @property
    def waits_for_disk(self) -> bool:
        """Return whether `durable` has anything to wait for."""
        return self._spool.waits_for_disk

    @property
    def is_healthy(self) -> bool:
        """Return whether new calls may be made."""
        return self._spool.healthy and not self._waiting

    def start(self) -> None:
        self._spool.check()
        self._task = aio.hold(self._look(), "spool_writer")

    async def stop(self) -> None:
        await aio.end(self._task)
        self._settle_waiting()
        self._spool.close()

    def open(self, record: Opened) -> None:
        """Write the record of a call that is about to be made. Raise SpoolFailed if that fails; the call
        must then not be made."""
        if self._waiting or not self._spool.healthy:
            raise SpoolFailed("the spool cannot be written; new calls are refused")
        self._spool.append(record)

    def book(self, opened: Opened, settled: Settled) -> None:
        """Write a call that begins and ends at once, whole or not at all. Raise SpoolFailed."""
        if not self.is_healthy:
            raise SpoolFailed("the spool cannot be written; new calls are refused")
        self._spool.append(opened, settled)

    def note(self, record: Noted) -> None:
        try:
            self._spool.append(record)
        except SpoolFailed as error:  # the call is settled all the same
            logger.warning("progress of a running call not written to the spool: %s", error)

    def settle(self, record: Settled) -> None:
        if not self._waiting:
            try:
                self._spool.append(record)
            except SpoolFailed as error:
                logger.error("settlement of a call waits in memory: %s", error)
            else:
                return
        self._waiting.append(record)

    def refuse(self, record: Refused | RefusedMore) -> bool:
        """Write down a refusal and return whether that was done: not while the spool has no room, which
        what is charged needs more."""
        if not self.is_healthy:
            return False
        try:
            self._spool.append(record)
        except SpoolFailed as error:
            logger.warning("a refused request was not written to the spool: %s", error)
            return False
        return True

    async def durable(self) -> None:
        """Wait until what was written would survive a loss of power, if the settings ask for that. Raise
        Internal on failure: the call is settled, but nobody may be told that it ended well."""
        try:
            await self._spool.durable()
        except SpoolFailed as error:
            logger.error("settlement not written: %s", error)
            raise Internal from error

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(aio.seconds_to_tick(LOOK_SECONDS))
            self._spool.check()
            self._settle_waiting()

    def _settle_waiting(self) -> None:
        try:
            while self._waiting:
                self._spool.append(self._waiting[0])
                del self._waiting[0]
        except SpoolFailed:
            return
