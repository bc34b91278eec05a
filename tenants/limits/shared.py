"""Keep rate-limit buckets in Redis, for all workers of all hosts: one round trip for all limits of a
request.

A worker uses one connection for them. Requests made while a round trip is in progress go out together
with the next. The clock is Redis's own, so that hosts need not agree on the time. Concurrent calls are
counted by leases, which expire where a worker died without releasing them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import redis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

from gateway_project.lib import aio
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.secret import Secret
from tenants.limits.policy import NOTHING, Limit, RateLimits, UnitCounts, corrections
from tenants.limits.verdict import CONCURRENCY_WAIT_SECONDS, SLACK_UNITS, Verdict

logger = logging.getLogger("tollgate.limits")

PREFIX = "tollgate:limit:"
ROUND_TRIP_SECONDS = 0.5
LAST_LOOK_SECONDS = 0.25
AWAY_SECONDS = 1.0
LEASE_SECONDS = 60.0
RENEW_SECONDS = 20.0
MICROSECONDS = 1e6

_NEVER_OVER = int(1e15)  # thirty years
_LEASE = int(LEASE_SECONDS * MICROSECONDS)
_SCRIPTS = {
    name: Path(__file__).with_name("lua").joinpath(f"{name}.lua").read_text(encoding="utf-8")
    for name in ("take", "correct", "release", "renew")
}


class _Asked(NamedTuple):
    """A script with its keys and arguments; without an `answer` nobody waits for it."""

    script: str
    keys: Sequence[str]
    arguments: Sequence[str | int]
    answer: asyncio.Future[Any] | None = None


class SharedBuckets:
    """Buckets in Redis. Start it on the loop it serves, and stop it there."""

    def __init__(self, url: Secret) -> None:
        self._pool = ConnectionPool.from_url(url.reveal(), socket_timeout=None)
        self._connection: AbstractConnection | None = None
        self._digests: dict[str, bytes] = {}  # of the scripts, as Redis knows them
        self._waiting: list[_Asked] = []
        self._wake = asyncio.Event()
        self.is_away = False
        self._leases: set[tuple[str, str]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        running, renewing = self._run(), self._renew()
        self._tasks = [aio.hold(running, "limits"), aio.hold(renewing, "limits-renew")]

    async def stop(self) -> None:
        for task in self._tasks:
            await aio.end(task)
        await self._flush()
        await self._disconnect()

    # Store

    async def take(
        self,
        limits: RateLimits,
        tokens: int,
        holder: str,
        *,
        units: UnitCounts = NOTHING,
        commit: bool = True,
    ) -> Verdict:
        """Charge or check a request. Raise StoreUnavailable."""
        if self.is_away:
            raise StoreUnavailable("Redis does not answer")
        arguments: list[str | int] = [holder, int(commit), _LEASE]
        for limit in limits.all:
            if limit.counts_unit:
                arguments += _unit_arguments(limit, units.get(limit.metric, 0))
            else:
                arguments += _script_arguments(limit, tokens if limit.counts_tokens else 1)
        answer = self._loop.create_future()
        self._ask("take", limits.all, arguments, answer)
        if commit and limits.at_once:
            self._leases.update((limit.bucket, holder) for limit in limits.at_once)
        try:
            refused, wait, *levels = await answer
        except BaseException:
            self.release(limits, holder)  # it may have been charged all the same
            raise
        if refused:
            self._leases.difference_update((limit.bucket, holder) for limit in limits.at_once)
        return _verdict(limits.all, refused, wait, levels)

    def correct(self, limits: RateLimits, tokens: int, units: UnitCounts = NOTHING) -> None:
        found = list(corrections(limits, tokens, units))
        if found:
            more = [f"{amount * _interval(limit):.3f}" for limit, amount in found]
            self._ask("correct", [limit for limit, _ in found], more)

    def release(self, limits: RateLimits, holder: str) -> None:
        held = [limit for limit in limits.at_once if (limit.bucket, holder) in self._leases]
        if held:
            self._leases.difference_update((limit.bucket, holder) for limit in held)
            self._ask("release", held, [holder])

    # The connection

    def _ask(
        self,
        script: str,
        limits: Sequence[Limit],
        arguments: Sequence[str | int],
        answer: asyncio.Future[Any] | None = None,
    ) -> None:
        if self.is_away:
            return
        keys = [PREFIX + limit.bucket for limit in limits]
        self._waiting.append(_Asked(script, keys, arguments, answer))
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            await self._flush()
            if self.is_away:
                await self._come_back()

    async def _flush(self) -> None:
        """Send everything that waits in one round trip."""
        batch, self._waiting = self._waiting, []
        self._wake.clear()
        if not batch:
            return
        patience = asyncio.timeout(None)
        timer = self._loop.call_later(ROUND_TRIP_SECONDS, self._last_look, patience)
        try:
            async with patience:
                await self._round_trip(batch)
        except asyncio.CancelledError:
            self._fail(batch, "stopped")
            raise
        except Exception as error:  # whoever waits must hear of it, and the next be served
            if not isinstance(error, redis.RedisError | OSError | TimeoutError):
                logger.exception("limits cannot be checked")
            logger.error("redis: %s: limits are not shared", type(error).__name__)
            self.is_away = True
            # Also those that have asked meanwhile: nothing is sent any more until Redis is back.
            meanwhile, self._waiting = self._waiting, []
            self._fail(batch + meanwhile, type(error).__name__)
            await self._disconnect()
        finally:
            timer.cancel()

    def _last_look(self, patience: asyncio.Timeout) -> None:
        """Look once more before giving up on Redis.

        This worker may have stood still while Redis's answer was already there: a loop that comes back
        runs its timers before it reads.
        """
        patience.reschedule(self._loop.time() + LAST_LOOK_SECONDS)

    async def _round_trip(self, batch: list[_Asked]) -> None:
        connection = self._connection or await self._connect()
        digests = self._digests
        packed = connection.pack_commands(
            ("EVALSHA", digests[asked.script], len(asked.keys), *asked.keys, *asked.arguments)
            for asked in batch
        )
        await connection.send_packed_command(packed, check_health=False)
        for asked in batch:
            said = await connection.read_response()
            if asked.answer is not None and not asked.answer.done():
                asked.answer.set_result(said)

    async def _connect(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        self._connection = connection
        await connection.connect()  # type: ignore[no-untyped-call]
        loads = connection.pack_commands(("SCRIPT", "LOAD", text) for text in _SCRIPTS.values())
        await connection.send_packed_command(loads, check_health=False)
        self._digests = {name: await connection.read_response() for name in _SCRIPTS}
        return connection

    async def _come_back(self) -> None:
        """Probe Redis until it answers again.

        Only this task waits for that: a Redis that hangs must not hold up requests each time it is tried.
        """
        while self.is_away:
            await asyncio.sleep(AWAY_SECONDS)
            try:
                async with asyncio.timeout(ROUND_TRIP_SECONDS):
                    await self._connect()
            except (redis.RedisError, OSError, TimeoutError):
                await self._disconnect()
            else:
                self.is_away = False
                logger.warning("redis answers again: limits are shared")

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def _fail(self, batch: list[_Asked], why: str) -> None:
        for asked in batch:
            if asked.answer is not None and not asked.answer.done():
                asked.answer.set_exception(StoreUnavailable(f"Redis: {why}"))

    # Leases

    async def _renew(self) -> None:
        """Renew the leases of concurrent calls, including those that last for hours."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if not self.is_away:
                held = ((PREFIX + bucket, holder) for bucket, holder in self._leases)
                self._waiting += [_Asked("renew", [key], [holder, _LEASE]) for key, holder in held]
                self._wake.set()


def _interval(limit: Limit) -> float:
    return limit.interval * MICROSECONDS


def _script_arguments(limit: Limit, units: int) -> list[str | int]:
    """Return the script's arguments for a limit."""
    if not limit.seconds:
        return [0, limit.amount, 0]
    interval, most = _interval(limit), int(limit.seconds * MICROSECONDS)
    return [f"{units * interval:.3f}", most, f"{interval * SLACK_UNITS:.6f}"]


def _unit_arguments(limit: Limit, counted: int) -> list[str | int]:
    """Return the script's arguments for a limit of a unit, which binds nobody who takes none of it."""
    arguments = _script_arguments(limit, counted)
    return arguments if counted else [*arguments[:2], _NEVER_OVER]


def _verdict(limits: Sequence[Limit], refused: int, wait: int, levels: list[int]) -> Verdict:
    """Build a verdict from Redis's whole microseconds. `refused` counts from one there."""
    told = [
        level / MICROSECONDS if limit.seconds else level
        for limit, level in zip(limits, levels, strict=True)
    ]
    seconds = wait / MICROSECONDS
    if refused and not limits[refused - 1].seconds:
        seconds = CONCURRENCY_WAIT_SECONDS
    return Verdict(refused - 1, seconds, told)
