"""A cache that all workers share through Redis, and that goes on in each process while Redis is away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

from gateway_project.lib import clock

logger = logging.getLogger("tollgate.cache")
T = TypeVar("T")
PAUSE_SECONDS = 10.0


class SharedCache(RedisCache):
    """Django's Redis cache. It only holds counters that may be lost, so its failures fail nothing."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        options = {
            "socket_timeout": 0.5,
            "socket_connect_timeout": 0.5,
            **params.get("OPTIONS", {}),
        }
        super().__init__(server, {**params, "OPTIONS": options})
        self._own = LocMemCache("shared-cache", params)
        self._away_until = 0.0

    def add(self, *args: Any, **options: Any) -> bool:
        return bool(self._try(lambda cache: cache.add(*args, **options)))

    def get(self, *args: Any, **options: Any) -> Any:
        return self._try(lambda cache: cache.get(*args, **options))

    def set(self, *args: Any, **options: Any) -> None:
        self._try(lambda cache: cache.set(*args, **options))

    def incr(self, *args: Any, **options: Any) -> int:
        return int(self._try(lambda cache: cache.incr(*args, **options)))

    def delete(self, *args: Any, **options: Any) -> bool:
        return bool(self._try(lambda cache: cache.delete(*args, **options)))

    def _try(self, ask: Callable[[Any], T]) -> T:
        if clock.monotonic() < self._away_until:
            return ask(self._own)
        try:
            return ask(super())
        except RedisError as error:
            # Whoever signs in asks a dozen times, and would wait as often.
            self._away_until = clock.monotonic() + PAUSE_SECONDS
            logger.warning(
                "Redis cannot be asked; counting in this process: %s", type(error).__name__
            )
            return ask(self._own)
