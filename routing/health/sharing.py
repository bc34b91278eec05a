"""Share circuits among the processes of all hosts, through Redis: what one finds out is pushed to the others.

    tollgate:circuits            the names of circuits that are open, by when that is to be forgotten
    tollgate:circuit:<name>      one of them: until when (Redis's clock), how often in a row, by what, why
    tollgate:circuit-probe:<name>  who finds out at this moment whether it works again
    tollgate:circuit-news        the channel: what a process found out (messages.py)

Nothing waits for Redis but a call that is about to find out whether a lane works again. Without Redis each
process keeps its own circuits; when it comes back, all that are open are read once.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import redis
import redis.asyncio

from gateway_project.lib import aio, announcements, ids
from gateway_project.lib.secret import Secret
from routing.health import messages
from routing.health.messages import CircuitMessage
from routing.health.table import LaneTable

logger = logging.getLogger("tollgate.circuits")

CHANNEL = "tollgate:circuit-news"
INDEX = "tollgate:circuits"
PREFIX = "tollgate:circuit:"
PROBE_PREFIX = "tollgate:circuit-probe:"
PATIENCE_SECONDS = 0.5
AWAY_SECONDS = 1.0
# More news than this is old news by the time it could be sent.
MOST_WAITING = 1000
MOST_READ = 10_000

_LUA = Path(__file__).with_name("lua")
_OPEN, _CLOSE, _GIVE_BACK, _LIST = (
    _LUA.joinpath(f"{name}.lua").read_text(encoding="utf-8")
    for name in ("open", "close", "give_back", "list")
)


class CircuitSharing:
    """One process's part in it. Start it on the loop it serves, and stop it there."""

    def __init__(self, url: Secret, table: LaneTable) -> None:
        self._url = url
        self._table = table
        self._worker = f"{os.getpid()}-{ids.base62(8)}"
        self._client: redis.asyncio.Redis | None = None
        self._waiting: deque[CircuitMessage | Sequence[str]] = deque(maxlen=MOST_WAITING)
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.is_listening = False  # what others find out is heard from now on

    def start(self) -> None:
        self._client = _client(self._url)
        table = self._table
        table.tell, table.lease, table.give_back = self._say, self._lease, self._say_given_back
        listening = announcements.listen(self._url, self._hear, CHANNEL)
        self._tasks = [
            aio.hold(listening, "circuits-listen"),
            aio.hold(self._run(), "circuits-tell"),
        ]

    async def stop(self) -> None:
        table = self._table
        table.tell = table.lease = table.give_back = None
        for task in self._tasks:
            await aio.end(task)
        if self._client is not None:
            await self._client.aclose()

    # Hear

    def _hear(self, data: bytes) -> None:
        if not data:  # listening has begun, perhaps again
            self.is_listening = True
            aio.hold(self._read_all(), "circuits-read")
            return
        message = messages.decode(data)
        if message is not None and message.worker != self._worker:
            self._table.hear(message)

    async def _read_all(self) -> None:
        if self._client is not None:
            for message in await _read_open(self._client) or ():
                self._table.hear(message)

    # Tell

    def _say(self, message: CircuitMessage) -> None:
        self._waiting.append(message)
        self._wake.set()

    def _say_given_back(self, scopes: Sequence[str]) -> None:
        self._waiting.append(scopes)
        self._wake.set()

    async def _run(self) -> None:
        """Send what waits until cancelled; while Redis is away, forget it."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting = list(self._waiting)
            self._waiting.clear()
            try:
                await self._send(waiting)
            except (redis.RedisError, OSError) as error:
                logger.warning("redis: %s; circuits are not shared", type(error).__name__)
                await asyncio.sleep(AWAY_SECONDS)

    async def _send(self, waiting: list[CircuitMessage | Sequence[str]]) -> None:
        assert self._client is not None
        async with self._client.pipeline(transaction=False) as pipeline:
            for each in waiting:
                if isinstance(each, CircuitMessage):
                    _add(pipeline, msgspec.structs.replace(each, worker=self._worker))
                else:
                    keys = [PROBE_PREFIX + scope for scope in each]
                    pipeline.eval(_GIVE_BACK, len(keys), *keys, self._worker)
            await pipeline.execute()

    async def _lease(self, scopes: Sequence[str], seconds: float) -> bool:
        """Take the leases to find out; without Redis everybody finds out for itself."""
        assert self._client is not None
        taken: list[str] = []
        try:
            for scope in scopes:
                name = PROBE_PREFIX + scope
                until = max(int(seconds * 1000), 1)
                if not await self._client.set(name, self._worker, nx=True, px=until):
                    self._say_given_back(taken)
                    return False
                taken.append(scope)
        except (redis.RedisError, OSError) as error:
            logger.debug("redis: no lease: %s", type(error).__name__)
        return True


def _add(pipeline: Any, message: CircuitMessage) -> None:
    """Add what a message does in Redis, and its publication."""
    said = messages.encode(message)
    if message.kind == "open":
        keys = (PREFIX + message.scope, INDEX, PROBE_PREFIX + message.scope)
        told = message.seconds, message.openings, message.opened_by, message.reason
        pipeline.eval(_OPEN, len(keys), *keys, *told, CHANNEL, said, message.scope)
    elif message.kind == "close":
        keys = (PREFIX + message.scope, INDEX, PROBE_PREFIX + message.scope)
        pipeline.eval(_CLOSE, len(keys), *keys, CHANNEL, said, message.scope)
    else:
        pipeline.publish(CHANNEL, said)


async def look(url: Secret) -> list[CircuitMessage] | None:
    """Return the open circuits that Redis knows of; None if it is away."""
    client = _client(url)
    try:
        return await _read_open(client)
    finally:
        await client.aclose()


async def close(url: Secret, scope: str) -> None:
    """Close a circuit in Redis and in all processes that listen. A failure is logged, never raised."""
    client = _client(url)
    try:
        async with client.pipeline(transaction=False) as pipeline:
            _add(pipeline, CircuitMessage("close", scope))
            await pipeline.execute()
    except (redis.RedisError, OSError) as error:
        logger.warning("redis: %s; a circuit was not closed", type(error).__name__)
    finally:
        await client.aclose()


def _client(url: Secret) -> redis.asyncio.Redis:
    return redis.asyncio.Redis.from_url(
        url.reveal(), socket_connect_timeout=PATIENCE_SECONDS, socket_timeout=PATIENCE_SECONDS
    )


async def _read_open(client: redis.asyncio.Redis) -> list[CircuitMessage] | None:
    try:
        rows: Any = await client.eval(_LIST, 1, INDEX, PREFIX, MOST_READ)
    except (redis.RedisError, OSError) as error:
        logger.warning("redis: %s; open circuits were not read", type(error).__name__)
        return None
    return [_read_row(row) for row in rows]


def _read_row(row: Any) -> CircuitMessage:
    scope, seconds, openings, opened_by, reason = (
        each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in row
    )
    return CircuitMessage(
        "open",
        scope,
        seconds=float(seconds),
        openings=int(openings),
        opened_by="hold" if opened_by == "hold" else "failures",
        reason=reason,
    )
