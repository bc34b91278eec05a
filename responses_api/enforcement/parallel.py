"""Run external checks of the input beside the upstream call, of which nothing is given away before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gateway_project.lib.aio import hold
from gateway_project.lib.errors import GatewayError, Internal


class ParallelChecks:
    """The checks of one call: begun with it, waited for before its answer is let go, ended with it."""

    __slots__ = ("_task", "_work", "refusal")

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`work` asks the checks, and raises GatewayError if the call may not go on."""
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self.refusal: GatewayError | None = None

    def start(self, refuse: Callable[[], None]) -> None:
        """Begin; `refuse` is called once it is known that the call may not go on."""
        self._task = hold(self._run(refuse), "parallel-guardrails")

    async def wait(self) -> None:
        """Wait for the verdict. Raise the refusal."""
        if self._task is not None:
            await asyncio.wait([self._task])
        if self.refusal is not None:
            raise self.refusal

    def stop(self) -> None:
        """End them: nobody waits for their verdict any more."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self, refuse: Callable[[], None]) -> None:
        try:
            await self._work()
        except GatewayError as error:
            self.refusal = error
        except Exception:
            self.refusal = Internal()
            refuse()
            raise
        if self.refusal is not None:
            refuse()
