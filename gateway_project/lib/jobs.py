"""Define periodic jobs, and run one to its end."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import time, timedelta
from time import sleep
from typing import Any, TypeAlias

# Between steps, so that others get SQLite's only write lock.
PAUSE_SECONDS = 0.02
# The longest time a job rests because its last run took long.
MOST_REST = timedelta(seconds=60)

Work: TypeAlias = Iterator[None] | Coroutine[Any, Any, object]


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is repeated. It may be late, interrupted, or done twice at once without harm.

    `work` is a generator function: each `yield` ends a short step, after which the job may be stopped. It may
    also be a coroutine function, if all it does is wait. `is_due` cheaply checks whether there is work.
    `at` is when Celery's beat starts it: the time of day (UTC), or the minute of an hourly job.
    `at_once` above 1 is for work whose parts are claimed one by one: every process may run it, that many
    times at once. All other jobs run in one process at a time.
    `rest` is for work that grows with what there is, such as summing the running hour anew: after each run it
    rests that many times as long as the run took, so that it never takes more than its part of a core.
    """

    name: str
    every: timedelta
    work: Callable[[], Work]
    at: time | None = None
    is_due: Callable[[], bool] | None = None
    at_once: int = 1
    rest: int = 0

    def rest_after(self, busy_seconds: float) -> timedelta:
        """Return how long to leave it alone after a run that took so long."""
        return min(MOST_REST, timedelta(seconds=self.rest * busy_seconds))

    @property
    def is_coroutine(self) -> bool:
        return inspect.iscoroutinefunction(self.work)

    def run(self) -> None:
        """Do all the work there is, in the thread of the caller."""
        work = self.work()
        if isinstance(work, Coroutine):
            asyncio.run(work)
            return
        for _ in work:
            sleep(PAUSE_SECONDS)
