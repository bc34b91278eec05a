"""Ask all workers a question over Redis: each puts its answer into a list that only the asker knows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio

from gateway_project.lib import ids
from gateway_project.lib.secret import Secret

logger = logging.getLogger("tollgate.live")

CONNECT_SECONDS = 0.3


def new_list() -> str:
    """Return the name of a list for the answers to one question."""
    return f"tollgate:live:{ids.base62(22)}"


async def ask(
    url: Secret,
    channel: str,
    question: bytes,
    reply_to: str,
    seconds: float,
    is_enough: Callable[[bytes], bool],
) -> tuple[int, list[bytes]] | None:
    """Return how many workers heard the question, and the answers that came in time; None if Redis is
    away. `is_enough` tells of an answer whether no other has to be waited for."""
    client = redis.asyncio.Redis.from_url(url.reveal(), socket_connect_timeout=CONNECT_SECONDS)
    answers: list[bytes] = []
    try:
        heard = int(await client.publish(channel, question))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(answers) < heard:
                    answer = await _next(client, reply_to)
                    answers.append(answer)
                    if is_enough(answer):
                        break
    except (redis.RedisError, OSError) as error:
        logger.warning("redis: %s; other workers were not asked", type(error).__name__)
        return None
    finally:
        with contextlib.suppress(redis.RedisError, OSError):
            await client.aclose()
    return heard, answers


async def _next(client: redis.asyncio.Redis, name: str) -> bytes:
    """Wait for the next element of a list, however long that takes."""
    found: Any = await client.blpop([name])
    answer: bytes = found[1]
    return answer


async def reply(url: Secret, reply_to: str, answer: bytes, forget_seconds: int) -> None:
    """Give an answer to whoever asked. A failure is logged, never raised."""
    client = redis.asyncio.Redis.from_url(url.reveal(), socket_connect_timeout=CONNECT_SECONDS)
    try:
        async with client.pipeline(transaction=False) as pipeline:
            pipeline.rpush(reply_to, answer)
            pipeline.expire(reply_to, forget_seconds)
            await pipeline.execute()
    except (redis.RedisError, OSError) as error:
        logger.warning(
            "redis: %s; a question about running calls went unanswered", type(error).__name__
        )
    finally:
        with contextlib.suppress(redis.RedisError, OSError):
            await client.aclose()
