"""A real gateway on a real socket, and the sandbox behind it, in a thread beside the test.

Only the provider is fake. The thread runs uvicorn as `serve` does; the test talks to it over TCP and looks
at its worker through `run`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

import uvicorn
import uvloop

from gateway_project.lib import db
from gateway_project.lib.log import RequestLog
from gateway_project.serving.server import configuration
from gateway_project.serving.supervisor import bind
from responses_api import worker as workers
from responses_api.background import local
from responses_api.worker import Worker, limits_from_settings, socket_limits_from_settings
from routing.sandbox.server import SandboxServer
from tenants import revision
from tests.faults.wire import until
from tests.support.patience import GIVE_UP_SECONDS

T = TypeVar("T")
NEVER = 1e6


class LiveGateway:
    """`base_url` (ending in /v1), the running `worker`, and the `sandbox` behind it."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop
        self.worker: Worker
        self.sandbox: SandboxServer
        self.port = 0
        self._server: uvicorn.Server
        self._up: Future[None] = Future()
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

    def stop(self) -> None:
        self._server.should_exit = True
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
        """As if freshly started: nothing cached, nothing scripted, default limits, no draining."""

        def fresh() -> None:
            self.worker.forget()
            self.worker.gate.clear()
            self.worker.limits = limits_from_settings()
            self.worker.socket_limits = socket_limits_from_settings()
            self.worker.registry.draining = False
            self.worker.writer._failed_at = None
            self.worker.request_log = RequestLog(self.worker._write_line)
            self.sandbox.calls.clear()

        self.call(fresh)

    def limit(self, **seconds: float) -> None:
        """Change some of the worker's time limits until the test is over."""

        def change() -> None:
            self.worker.limits = replace(self.worker.limits, **seconds)

        self.call(change)

    def limit_sockets(self, **limits: Any) -> None:
        """Change some of the limits of WebSockets opened from now on, until the test is over."""

        def change() -> None:
            self.worker.socket_limits = replace(self.worker.socket_limits, **limits)

        self.call(change)

    def idle(self) -> None:
        """Wait until neither the gateway nor the sandbox is busy with a call."""
        self.run(self._idle())

    def catch_up(self) -> None:
        """Wait until it knows the configuration as it is: until then it may forget whom it knows."""
        until(lambda: self.worker.watcher._seen == revision.current())

    async def _idle(self) -> None:
        await self.worker.registry._idle.wait()
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
        self._server = _Announcing(configuration(), self._ready)
        try:
            await self._server.serve(sockets=[listener])
        finally:
            await self.sandbox.stop()

    def _ready(self) -> None:
        self.worker = workers.current()
        self._up.set_result(None)


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()
