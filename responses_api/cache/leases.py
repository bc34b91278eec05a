"""Let one process of all ask a model for an answer, by a lease in Redis; the others wait for its end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import redis
import redis.asyncio

from gateway_project.lib import ids
from gateway_project.lib.secret import Secret

logger = logging.getLogger("tollgate.cache")

PREFIX = "tollgate:cache:"
ROUND_TRIP_SECONDS = 0.5
AWAY_SECONDS = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
# Give back a lease only if it is still one's own.
_GIVE_BACK = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
)


class MissLease:
    """The right to ask for an answer that others wait for. Without a `word` nothing was written."""

    __slots__ = ("name", "word")

    def __init__(self, name: str, word: str = "") -> None:
        self.name = name
        self.word = word


class MissLeases:
    """The leases of one process. While Redis is away, each process asks for itself."""

    def __init__(self, url: Secret, loop: asyncio.AbstractEventLoop) -> None:
        self._client = redis.asyncio.Redis.from_url(
            url.reveal(),
            socket_timeout=ROUND_TRIP_SECONDS,
            socket_connect_timeout=ROUND_TRIP_SECONDS,
        )
        self._loop = loop
        self._away_until = 0.0

    async def take(self, key: bytes, seconds: float) -> MissLease | None:
        """Return a lease; None if another process has it."""
        name, word = f"{PREFIX}{key.hex()}", ids.base62(16)
        taken = await self._ask("set", name, word, nx=True, px=int(seconds * 1000))
        if taken is _AWAY:
            return MissLease(name)
        return MissLease(name, word) if taken else None

    async def give_back(self, lease: MissLease) -> None:
        if lease.word:
            await self._ask("eval", _GIVE_BACK, 1, lease.name, lease.word)

    async def wait_until_free(self, key: bytes, deadline: float) -> None:
        """Wait until no process has the lease of this key, or until the loop's clock shows `deadline`."""
        name, pause = f"{PREFIX}{key.hex()}", FIRST_PAUSE
        while (left := deadline - self._loop.time()) > 0:
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)
            if await self._ask("exists", name) in (0, _AWAY):
                return

    async def stop(self) -> None:
        await self._client.aclose()

    async def _ask(self, command: str, *arguments: Any, **options: Any) -> Any:
        """Return Redis's answer; `_AWAY` if there is none."""
        if self._loop.time() < self._away_until:
            return _AWAY
        try:
            return await getattr(self._client, command)(*arguments, **options)
        except (redis.RedisError, OSError) as error:
            self._away_until = self._loop.time() + AWAY_SECONDS
            logger.warning("redis: %s; answers are asked for by each process", type(error).__name__)
            return _AWAY


_AWAY = object()
