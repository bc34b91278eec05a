"""Find kept answers, wait for those that are on their way, and keep new ones.

memory   looked at first, without awaiting
flight   one request of this process goes on, equal ones wait for it
table    the database, which all processes share
lease    one process asks a model, the others wait for its end and look into the table again
keep     into memory and to those who wait at once, into the table once the client has its answer

Whoever waits does so for WAIT_SECONDS at most, and asks by itself where the one it waited for had no answer.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from django.db import Error
from msgspec import Struct

from gateway_project.lib import aio, clock
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.secret import Secret
from gateway_project.lib.writer import Writer
from responses_api.cache import table
from responses_api.cache.asking import REFRESH, CacheUse
from responses_api.cache.entries import CacheEntry, entry_of
from responses_api.cache.flights import Flight, Flights
from responses_api.cache.memory import AnswerMemory
from responses_api.cache.repeats import Repeats
from responses_api.cache.table import AnswerPlace
from responses_api.calls.attempt import Attempt
from responses_api.enforcement.call import CallGuardrails

if TYPE_CHECKING:  # redis is imported only where it is used
    from responses_api.cache.leases import MissLease, MissLeases

logger = logging.getLogger("tollgate.cache")

WAIT_SECONDS = 10.0
# Those who waited in vain do not all ask at the same instant.
JITTER_SECONDS = 0.25
# While so much waits to be written, further answers are kept in memory alone.
MAX_WAITING_BYTES = 16 * 1024 * 1024
# A tenant's sum is looked at after each such part of what it may keep was written.
LOOKS_PER_SHARE = 64
STOP_SECONDS = 2.0
# Of the bytes of answers at hand, so many more are for the requests that were answered by them.
REPEATS_SHARE = 0.25


class CacheLimits(Struct, frozen=True):
    """The bytes that this process has at hand, and those each tenant may keep in the database."""

    memory_bytes: int
    tenant_bytes: int


class AnswerCache:
    """The response cache of one worker."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: Writer,
        limits: CacheLimits,
        redis_url: Secret | None,
    ) -> None:
        self._loop = loop
        self._writer = writer
        self.limits = limits
        self._memory = AnswerMemory(limits.memory_bytes)
        self.repeats = Repeats(int(limits.memory_bytes * REPEATS_SHARE))
        self._flights = Flights()
        self._leases = _leases(redis_url, loop)
        self._era = 0
        self._waiting_bytes = 0
        self._unlooked: dict[
            int, int
        ] = {}  # bytes written for each tenant since its sum was looked at
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Wait a moment for what is being written."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
        if self._leases is not None:
            await self._leases.stop()

    def forget(self) -> None:
        """Forget what is at hand: keys may have been revoked, and tenants deleted."""
        self._era += 1
        self._memory.clear()
        self.repeats.clear()
        self._flights.clear()

    @property
    def size(self) -> int:
        """Return the bytes at hand."""
        return self._memory.size

    @property
    def is_resting(self) -> bool:
        """Return whether nothing is on its way to the database."""
        return not self._tasks

    # Find

    async def find(self, use: CacheUse) -> CacheEntry | Lead:
        """Return a kept answer, or else the lead of the request that must ask for one. Whoever gets a lead
        ends it."""
        if use.mode == REFRESH:
            return Lead(self, use)
        flight = self._flights.waited_for(use.key, self._loop.time())
        if flight is not None:
            return await self._follow(flight, use)
        lead = Lead(self, use, Flight(self._loop, WAIT_SECONDS))
        self._flights.add(use.key, lead.flight)
        try:
            entry = await self._look_further(use, lead)
        except BaseException:  # the client left, say
            lead.end()
            raise
        if entry is None:
            return lead
        self._put(use.key, entry, lead.era)
        lead.flight.land(entry)
        lead.end()
        return entry

    def at_hand(self, use: CacheUse) -> CacheEntry | None:
        """Return an answer that needs no awaiting; None if there is none, or a new one is wanted."""
        if use.mode == REFRESH:
            return None
        entry = self._memory.get(use.key)
        if entry is None:
            return None
        if not entry.is_fresh(clock.timestamp(), use.policy.seconds):
            self._memory.drop(use.key)
            return None
        return entry

    async def _follow(self, flight: Flight, use: CacheUse) -> CacheEntry | Lead:
        """Wait for another's answer; where there is none return the lead of a request on its own."""
        left = max(flight.deadline - self._loop.time(), 0.0)
        await asyncio.wait((flight.answer,), timeout=left)
        if flight.answer.done() and (entry := flight.answer.result()) is not None:
            return entry
        await asyncio.sleep(random.random() * JITTER_SECONDS)  # noqa: S311
        return Lead(self, use)

    async def _look_further(self, use: CacheUse, lead: Lead) -> CacheEntry | None:
        """Look into the table, and wait there for what another process asks for."""
        entry = await self._stored(use)
        if entry is not None or self._leases is None:
            return entry
        lead.lease = await self._leases.take(use.key, WAIT_SECONDS)
        if lead.lease is None:
            await self._leases.wait_until_free(use.key, lead.flight.deadline)
        return await self._stored(use)  # it may have come since the first look

    async def _stored(self, use: CacheUse) -> CacheEntry | None:
        try:
            entry = await in_database_thread(table.find, use.tenant_id, use.key)
        except StoreUnavailable:
            return None  # whether a model can be asked is not for the cache to decide
        is_fresh = entry is not None and entry.is_fresh(clock.timestamp(), use.policy.seconds)
        return entry if is_fresh else None

    # Keep

    def _put(self, key: bytes, entry: CacheEntry, era: int) -> None:
        """Keep an answer at hand, unless the configuration has changed since it was asked for."""
        if era == self._era:
            self._memory.put(key, entry)

    def keep(self, lead: Lead, entry: CacheEntry) -> None:
        """Keep an answer; the database gets it beside what goes on."""
        self._put(lead.use.key, entry, lead.era)
        lead.flight.land(entry)
        if self._waiting_bytes + entry.size > MAX_WAITING_BYTES or self._writer.is_failing:
            logger.info("an answer is not kept in the database: too much waits to be written")
            return
        self._waiting_bytes += entry.size
        lead.is_written_later = True
        task = aio.hold(self._write(lead, entry), "keep-answer")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, lead: Lead, entry: CacheEntry) -> None:
        place = lead.place(entry)
        try:
            sealed = await asyncio.to_thread(table.seal, place, entry)
            await self._writer.write(sealed)
            await self._trim(place.tenant_id, len(sealed.sealed))
        except (StoreUnavailable, Error) as error:
            logger.warning("an answer is not kept in the database: %s", type(error).__name__)
        finally:
            self._waiting_bytes -= entry.size
            await lead.give_back_lease()

    async def _trim(self, tenant_id: int, written: int) -> None:
        """Delete the tenant's oldest answers, if enough was written that there may be too many."""
        unlooked = self._unlooked.get(tenant_id, 0) + written
        is_due = unlooked * LOOKS_PER_SHARE >= self.limits.tenant_bytes
        if not is_due:
            self._unlooked[tenant_id] = unlooked
            return
        self._unlooked.pop(tenant_id, None)
        await in_database_thread(table.trim, tenant_id, self.limits.tenant_bytes)

    async def give_back(self, lease: MissLease) -> None:
        """Let other processes ask now."""
        if self._leases is not None:
            await self._leases.give_back(lease)

    def new_flight(self) -> Flight:
        """Return a flight that nobody waits for."""
        return Flight(self._loop, WAIT_SECONDS)

    @property
    def era(self) -> int:
        """Return the number of changes of the configuration that were noticed."""
        return self._era


class Lead:
    """The request that asks a model for an answer and keeps it. Implements `AnswerKeeper`."""

    __slots__ = ("_cache", "era", "flight", "is_written_later", "lease", "outcome", "use")

    def __init__(self, cache: AnswerCache, use: CacheUse, flight: Flight | None = None) -> None:
        """Begin a lead; nobody waits for one without a `flight`."""
        self._cache = cache
        self.use = use
        self.flight = flight or cache.new_flight()
        self.era = cache.era
        self.lease: MissLease | None = None
        self.is_written_later = False
        self.outcome = "refresh" if use.mode == REFRESH else "miss"

    def keep(self, attempt: Attempt, guardrails: CallGuardrails | None) -> None:
        entry = entry_of(attempt, self.use.replay, guardrails, clock.timestamp())
        if entry is not None:
            self._cache.keep(self, entry)

    def place(self, entry: CacheEntry) -> AnswerPlace:
        """Return where in the table the answer belongs."""
        use, policy = self.use, self.use.policy
        return AnswerPlace(
            key=use.key,
            tenant_id=use.tenant_id,
            key_id=use.key_id,
            alias_id=policy.alias_id,
            generation=policy.generation,
            expires_at=entry.made_at + policy.seconds,
        )

    def end(self) -> None:
        """End the lead: whoever still waits for its answer waits in vain."""
        self.flight.land(None)
        if self.lease is not None and not self.is_written_later:
            aio.hold(self.give_back_lease(), "give-back-lease")

    async def give_back_lease(self) -> None:
        lease, self.lease = self.lease, None
        if lease is not None:
            await self._cache.give_back(lease)


def _leases(url: Secret | None, loop: asyncio.AbstractEventLoop) -> MissLeases | None:
    if url is None:
        return None
    from responses_api.cache.leases import MissLeases  # noqa: PLC0415  # redis only where it is used

    return MissLeases(url, loop)
