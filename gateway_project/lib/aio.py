"""Tasks that are held until they end, so that nothing is fire-and-forget."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger("tollgate.aio")

_held: set[asyncio.Task[Any]] = set()


def hold(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run `work` beside the caller; keep a reference until it ends and log what it raises."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _held.add(task)
    task.add_done_callback(_release)
    return task


def _release(task: asyncio.Task[Any]) -> None:
    _held.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("task %s failed", task.get_name(), exc_info=error)


def seconds_to_tick(every: float) -> float:
    """Return how long it is to the next multiple of `every` on this loop's clock.

    What looks for something at such instants wakes its process together with whatever else does. The pause is
    never much shorter than `every`, nor more than a tenth longer.
    """
    left = every - asyncio.get_running_loop().time() % every
    return left if left > every / 10 else left + every


async def end(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task and wait until it has ended; its own exceptions were logged already."""
    if task is None:
        return
    task.cancel()
    await asyncio.wait([task])
