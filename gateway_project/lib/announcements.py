"""Announce to the workers of every host, through Redis, what they should look at now.

Everything announced is also in the database, where each worker looks regularly, so a lost announcement
costs a moment and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import redis
import redis.asyncio

from gateway_project.lib.secret import Secret

logger = logging.getLogger("tollgate.announcements")

CHANNEL = "tollgate:revision"
RUNS_CHANNEL = "tollgate:runs"
RECONNECT_SECONDS = 2.0
CHANGED = b"changed"


async def listen(url: Secret, heard: Callable[[bytes], None], channel: str = CHANNEL) -> None:
    """Call `heard` with every announcement, until cancelled.

    It is also called with empty bytes whenever listening begins or begins again, because announcements may
    have been missed before. Losing Redis is logged, never raised.
    """
    while True:
        try:
            await _listen_once(url, heard, channel)
        except (redis.RedisError, OSError) as error:
            logger.warning("redis: %s; falling back to polling", type(error).__name__)
        await asyncio.sleep(RECONNECT_SECONDS)


async def _listen_once(url: Secret, heard: Callable[[bytes], None], channel: str) -> None:
    client = redis.asyncio.Redis.from_url(url.reveal())
    try:
        async with client.pubsub() as subscription:
            await subscription.subscribe(channel)
            async for message in subscription.listen():
                heard(message["data"] if message["type"] == "message" else b"")
    finally:
        await client.aclose()


def announce(url: Secret, said: bytes = CHANGED, channel: str = CHANNEL) -> None:
    """Tell the workers of every host. A failure is logged, never raised."""
    try:
        client = redis.Redis.from_url(url.reveal(), socket_connect_timeout=1, socket_timeout=1)
        with contextlib.closing(client):
            client.publish(channel, said)
    except redis.RedisError as error:
        logger.warning("redis: change not announced: %s", type(error).__name__)


class Announcer:
    """Batches announcements: those made while a message is in flight go out with the next one."""

    def __init__(self, url: Secret, channel: str, pause_seconds: float) -> None:
        self._url = url
        self._channel = channel
        self._pause_seconds = pause_seconds
        self._waiting: set[str] = set()
        self._wake = asyncio.Event()

    def say(self, word: str) -> None:
        self._waiting.add(word)
        self._wake.set()

    async def run(self) -> None:
        """Send announcements until cancelled."""
        client = redis.asyncio.Redis.from_url(
            self._url.reveal(), socket_connect_timeout=1, socket_timeout=1
        )
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                said, self._waiting = " ".join(self._waiting), set()
                await self._publish(client, said)
                await asyncio.sleep(self._pause_seconds)
        finally:
            await client.aclose()

    async def _publish(self, client: redis.asyncio.Redis, said: str) -> None:
        try:
            await client.publish(self._channel, said)
        except (redis.RedisError, OSError) as error:
            logger.debug("redis: not announced: %s", type(error).__name__)
