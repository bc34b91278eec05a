"""With Redis: a change of keys or routes is announced to the workers of every host."""

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
RECONNECT_SECONDS = 2.0


async def listen(url: Secret, heard: Callable[[], None]) -> None:
    """Call `heard` for every announcement, until cancelled. Losing Redis is logged, never raised."""
    while True:
        try:
            await _listen_once(url, heard)
        except (redis.RedisError, OSError) as error:
            logger.warning("redis: %s; polling goes on", type(error).__name__)
        await asyncio.sleep(RECONNECT_SECONDS)


async def _listen_once(url: Secret, heard: Callable[[], None]) -> None:
    client = redis.asyncio.Redis.from_url(url.reveal())
    try:
        async with client.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            async for _ in channel.listen():
                heard()
    finally:
        await client.aclose()


def announce(url: Secret) -> None:
    """Tell the workers of every host that the revision moved. Failing is logged, never raised."""
    try:
        client = redis.Redis.from_url(url.reveal(), socket_connect_timeout=1, socket_timeout=1)
        with contextlib.closing(client):
            client.publish(CHANNEL, b"changed")
    except redis.RedisError as error:
        logger.warning("redis: change not announced: %s", type(error).__name__)
