"""Make runs from threads without an event loop, such as a Celery worker's: one loop serves them all.

However many wait, each costs the thread that waits and nothing more: they share a loop, its connections
and its caches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import traceback
from concurrent.futures import CancelledError

import uvloop
from django.conf import settings

from gateway_project.serving import worker as workers
from gateway_project.serving.worker import Worker

LAST_WORDS_SECONDS = 1.5
STUCK_CODE = 70  # EX_SOFTWARE

logger = logging.getLogger("tollgate.background")


class LoopThread:
    """A thread with an event loop and the worker that lives on it."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="tollgate-runs", daemon=True
        )
        self._thread.start()
        self._worker = asyncio.run_coroutine_threadsafe(_current_worker(), self._loop).result()
        self._worker.leases.on_stuck = end_stuck_process

    def make(self, tenant_id: int, response_id: str) -> None:
        """Make a run; return once it has ended, or was left to another process."""
        made = asyncio.run_coroutine_threadsafe(self._make(tenant_id, response_id), self._loop)
        with contextlib.suppress(CancelledError):
            made.result()

    async def _make(self, tenant_id: int, response_id: str) -> None:
        await asyncio.shield(self._worker.runs.make(tenant_id, response_id))

    def drain(self) -> None:
        """Start nothing more; give what runs some time, then end it properly."""
        registry = self._worker.services.registry
        asyncio.run_coroutine_threadsafe(
            registry.drain(settings.DRAIN_SECONDS, LAST_WORDS_SECONDS), self._loop
        )


def end_stuck_process() -> None:
    """Log where the threads are, and exit: no run here makes progress, and the process will be restarted."""
    frames = sys._current_frames().items()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = "\n".join(
        f"{names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in frames
    )
    logger.error("the event loop of the runs does not turn; ending. Stacks:\n%s", stacks)
    os._exit(STUCK_CODE)


async def _current_worker() -> Worker:
    return workers.current()


_lock = threading.Lock()
_here: LoopThread | None = None


def run_in_worker(tenant_id: int, response_id: str) -> None:
    """Make a queued response, unless another process does; return once it has ended."""
    begin().make(tenant_id, response_id)


def begin() -> LoopThread:
    """Return the thread of this process, started when it is first needed."""
    global _here  # noqa: PLW0603  # one per process, and only where there is work
    with _lock:
        _here = _here or LoopThread()
        return _here


def drain() -> None:
    """Stop making runs, because the process was told to stop."""
    if _here is not None:
        _here.drain()
