"""A real gateway on a real socket, and the sandbox behind it, in a thread beside the test.

Only the provider is fake. The thread runs uvicorn as `serve` does; the test talks to it over TCP and looks
at its worker through `run`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import uvicorn
import uvloop

from gateway_project.lib import db
from gateway_project.lib.log import RequestLog
from gateway_project.sandbox.server import SandboxServer
from gateway_project.serving import worker as workers
from gateway_project.serving.server import configuration
from gateway_project.serving.supervisor import bind
from gateway_project.serving.worker import Worker
from responses_api.accounting.refusal_writer import RefusalWriter
from responses_api.background import local
from responses_api.calls import history
from responses_api.process.interruption import Interruption
from responses_api.services import Services
from responses_api.websocket.connection import SocketConnection
from tenants import revision
from tenants.revision_watcher import RevisionWatcher
from tests.support.patience import GIVE_UP_SECONDS, until

T = TypeVar("T")
NEVER = 1e6


class LiveGateway:
    """`base_url` (ending in /v1), the running `worker`, and the `sandbox` behind it."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop
        self.worker: Worker
        self._built: Services
        self.sandbox: SandboxServer
        self.port = 0
        self.server: uvicorn.Server
        self._up: Future[None] = Future()
        self._glances: Glances
        self._thread = threading.Thread(target=self._main, name="live-gateway", daemon=True)

    @property
    def root_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.root_url}/v1"

    def start(self) -> None:
        # Tests look by themselves: it would do what they do, whenever it liked.
        local.LOOK_SECONDS = NEVER
        self._thread.start()
        self._up.result(GIVE_UP_SECONDS)
        # It would do what tests do, whenever it liked; those that are about it start it again.
        self.run(self.worker.periodic.stop())
        self._glances = self.call(lambda: Glances(self.worker.watcher))

    def open_database(self) -> None:
        """Let it read the database, of which it knows the revision from now on."""
        self.run(self._glances.allow())

    def close_database(self) -> None:
        """Let it read nothing until the next test that has a database."""
        self.run(self._glances.forbid())

    def come_to_rest(self) -> None:
        """Wait until nothing that the test began is on its way to the database: what comes later would find
        none, and say so in the output of another test."""
        until(lambda: self.call(self._is_at_rest))

    def _is_at_rest(self) -> bool:
        leases = self.worker.services.budgets
        is_ordering = any(lease.is_returning or lease.ordering.locked() for lease in leases)
        is_keeping = not self.worker.state.answer_cache.is_resting
        return not (is_ordering or is_keeping) and self.worker.runs.run_watcher.is_resting

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(GIVE_UP_SECONDS)
        assert not self._thread.is_alive(), "the gateway did not stop"
        db.close_pool_connections()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the gateway's loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(GIVE_UP_SECONDS)

    def call(self, work: Callable[[], T]) -> T:
        """Run a function on the gateway's loop."""

        async def once() -> T:
            return work()

        return self.run(once())

    def reset(self) -> None:
        """Make it as if freshly started: nothing cached, nothing scripted, default limits, no draining."""

        def fresh() -> None:
            request_log = RequestLog(self._built.call_log)
            self.worker.services.refusals.flush()
            refusals = RefusalWriter(self.loop, self._built.spool_writer)
            services = replace(self._built, request_log=request_log, refusals=refusals)
            self.worker.state = replace(self.worker.state, services=services)
            self.worker.forget()
            services.gate.clear()
            services.lane_health.clear()
            services.lane_health.chance = lambda: 0.0  # no test waits by chance
            services.registry.draining = False
            services.writer.try_again()
            self.sandbox.forget()

        self.call(fresh)

    def between_cases(self) -> None:
        """Reset as for another test, but keep the rows (`tests.plugins.cases`)."""
        self.idle()
        self.reset()

    def change(self, **services: Any) -> None:
        """Give requests from now on other services, until the test is over."""
        self.call(partial(self._change, **services))

    def _change(self, **services: Any) -> None:
        changed = replace(self.worker.services, **services)
        self.worker.state = replace(self.worker.state, services=changed)

    def limit(self, **seconds: float) -> None:
        """Change some of the worker's time limits until the test is over."""

        def change() -> None:
            timeouts = replace(self.worker.services.timeouts, **seconds)
            self._change(timeouts=timeouts)

        self.call(change)

    @contextmanager
    def time_runs_out(self) -> Iterator[None]:
        """End the next call by its time limit as soon as its upstream has it: a real limit would end it
        earlier on a busy machine."""
        wanted = self.sandbox.received_calls + 1

        async def run_out() -> None:
            await self.sandbox.received(wanted)
            for running in self.worker.services.registry.running:
                running.interrupt(Interruption.TOTAL)

        ending = asyncio.run_coroutine_threadsafe(run_out(), self.loop)
        try:
            yield
        finally:
            ending.cancel()

    def limit_sockets(self, **limits: Any) -> None:
        """Change some of the limits of WebSockets opened from now on, until the test is over."""

        def change() -> None:
            socket_limits = replace(self.worker.services.socket_limits, **limits)
            self._change(socket_limits=socket_limits)

        self.call(change)

    def sockets_time_is_over(self) -> None:
        """End the lifetime of the open WebSockets: a short one would end too early on a busy machine."""

        def end() -> None:
            for each in self.worker.services.registry.sockets:
                cast("SocketConnection", each).end_of_time()

        self.call(end)

    @property
    def can_store(self) -> bool:
        return history.can_store(self.worker.services)

    def idle(self) -> None:
        """Wait until neither the gateway nor the sandbox is busy with a call."""
        self.run(self._idle())

    def catch_up(self) -> None:
        """Wait until it knows the configuration as it is: until then it may forget whom it knows."""
        until(lambda: self.worker.watcher.seen == revision.current())

    async def _idle(self) -> None:
        await self.worker.services.registry.idle()
        await self.sandbox.idle()

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.sandbox = SandboxServer()
        await self.sandbox.start()
        listener: socket.socket = bind("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self.server = _Announcing(configuration(), self._ready)
        try:
            await self.server.serve(sockets=[listener])
        finally:
            await self.sandbox.stop()

    def _ready(self) -> None:
        self.worker = workers.current()
        self._built = self.worker.services
        self._up.set_result(None)


class Glances:
    """The watcher's looks at the database, only while a test lets it have one: in the others every look would
    fail, and the gateway would go on for half a second as if its database were away."""

    def __init__(self, watcher: RevisionWatcher) -> None:
        self._usual = watcher.look
        self._is_allowed = False
        self._turn = asyncio.Lock()
        watcher.look = self._look  # type: ignore[method-assign]

    async def allow(self) -> None:
        async with self._turn:
            self._is_allowed = True
            await self._usual()

    async def forbid(self) -> None:
        async with self._turn:  # no look is under way
            self._is_allowed = False

    async def _look(self) -> None:
        async with self._turn:
            if self._is_allowed:
                await self._usual()


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()
