"""One worker process: uvicorn with a drain of our own.

No ASGI server guarantees that running streams get a terminal event when it stops, so the drain
happens before uvicorn begins to shut down: readiness goes red, new work is refused with
Retry-After, running streams finish or are ended properly, and only then the server stops.

Where somebody else accepts new connections meanwhile, a worker retires instead: it stops accepting, goes on
serving the connections it has, closing each after its next answer, and then drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import socket
import sys
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import uvicorn
from django.conf import settings

from gateway_project.lib import aio, clock
from gateway_project.serving import worker
from gateway_project.serving.connections import ConnectionLimits, affordable
from gateway_project.serving.http import connections_of, protocol_with
from gateway_project.serving.watch import Watch
from gateway_project.serving.websockets import WebSocketProtocol

logger = logging.getLogger("tollgate.serve")

APPLICATION = "gateway_project.asgi:application"
BODY_WINDOW_SECONDS = 10.0
LAST_WORDS_SECONDS = 1.5
SHUTDOWN_SECONDS = 1
# What the supervisor says on its line: that others accept, and how long connections without a request are
# kept for their next. A client that sends one just when it is closed sees a failure.
UNTIL_DRAINED, SHORTLY = b"retire", b"retire shortly"
SHORTLY_SECONDS = 1.0
RETIRED_LOOK_SECONDS = 0.05
TICKS_PER_SECOND = 10  # as uvicorn counts them
# A request makes some hundred objects and no cycles; the default walks them every few requests.
GC_THRESHOLDS = (20_000, 20, 20)

# uvicorn's words for what we do on purpose, and its access log of WebSockets: cutting a failed stream,
# upgrades that are not to WebSocket, handshakes with their query strings.
_EXPECTED = (
    "ASGI callable returned without completing",
    "Unsupported upgrade",
    '%s - "WebSocket %s"',
)


class DropExpected(logging.Filter):
    """Drops uvicorn's complaints about things done on purpose."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(_EXPECTED)


class DrainingServer(uvicorn.Server):
    """The first signal starts the drain; a second one ends every running stream at once."""

    def __init__(
        self,
        config: uvicorn.Config,
        supervisor: Connection | None,
        watch: Watch | None,
        *,
        must_be_ready: bool,
    ) -> None:
        super().__init__(config)
        self._must_be_ready = must_be_ready
        self._supervisor = supervisor
        self._watch = watch
        self._serving_loop: asyncio.AbstractEventLoop | None = None
        self._draining = False
        self._is_hurried = False
        self._has_drained = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._serving_loop = asyncio.get_running_loop()
        if self._watch is not None:
            self._watch.heartbeat.start(self._serving_loop)
        if self._must_be_ready:
            await _refuse_unready()
        await super().startup(sockets)
        if self._supervisor is not None:
            self._supervisor.send_bytes(b"ready")
            self._serving_loop.add_reader(self._supervisor.fileno(), self._hear)

    def _hear(self) -> None:
        """Stop accepting when somebody else does; drain when the supervisor died: no orphan goes on."""
        assert self._supervisor is not None
        assert self._serving_loop is not None
        try:
            said = self._supervisor.recv_bytes()
        except (EOFError, OSError):
            self._serving_loop.remove_reader(self._supervisor.fileno())
            if not self._draining:
                self._begin()
            return
        for server in self.servers:
            server.close()
        if not self._draining:
            self._draining = True
            idle_seconds = SHORTLY_SECONDS if said == SHORTLY else settings.DRAIN_SECONDS
            aio.hold(self._retire(idle_seconds), "retire")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._serving_loop is None:
            self.should_exit = True
        else:
            self._serving_loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if self._draining:
            self._is_hurried = True
            worker.current().services.registry.interrupt_all()
            return
        self._draining = True
        aio.hold(self._drain(settings.DRAIN_SECONDS), "drain")

    async def _retire(self, idle_seconds: float) -> None:
        """Serve the connections there are; drain once nothing is left to do, or when the time is over."""
        registry = worker.current().services.registry
        table = connections_of(self.server_state, self._limits, asyncio.get_running_loop())
        registry.retire()
        table.retire()
        began = clock.monotonic()
        while (passed := clock.monotonic() - began) < settings.DRAIN_SECONDS:
            is_busy = table.is_busy or registry.is_busy
            if self._is_hurried or not table.total or (passed >= idle_seconds and not is_busy):
                break
            await asyncio.sleep(RETIRED_LOOK_SECONDS)
        await self._drain(max(began + settings.DRAIN_SECONDS - clock.monotonic(), 0.0))

    @property
    def _limits(self) -> ConnectionLimits:
        limits: ConnectionLimits = self.config.http_protocol_class.limits  # type: ignore[attr-defined]  # ours
        return limits

    async def _drain(self, seconds: float) -> None:
        await worker.current().services.registry.drain(seconds, LAST_WORDS_SECONDS)
        self.should_exit = True
        self._has_drained.set()

    async def main_loop(self) -> None:
        """Tick once a second, which the date in answers needs; uvicorn's own wakes ten times as often."""
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += TICKS_PER_SECOND
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(aio.seconds_to_tick(1.0)):
                    await self._has_drained.wait()


async def _refuse_unready() -> None:
    """End this process if no call could succeed, before it accepts one that others would have served."""
    await worker.start_up()
    missing = [name for name, holds in worker.current().ready.items() if not holds]
    if missing:
        await worker.shut_down()
        logger.error("this worker is not ready: %s", ", ".join(missing))
        sys.exit(1)


def configuration() -> uvicorn.Config:
    """Return the uvicorn configuration that every worker uses, in tests too."""
    return uvicorn.Config(
        APPLICATION,
        loop="uvloop",
        http=protocol_with(connection_limits_from_settings(), _report_refusal),
        ws=WebSocketProtocol,
        ws_max_size=settings.MAX_BODY_BYTES,
        ws_per_message_deflate=False,  # three times the CPU and memory, for frames of 200 bytes
        ws_ping_interval=settings.KEEPALIVE_SECONDS,
        ws_ping_timeout=settings.SEND_STALL_SECONDS,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # whom to believe is decided by lib/client_address.py
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


def connection_limits_from_settings() -> ConnectionLimits:
    file_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ConnectionLimits(
        head_bytes=settings.MAX_HEAD_BYTES,
        head_seconds=settings.HEAD_SECONDS,
        idle_seconds=settings.IDLE_CONNECTION_SECONDS,
        body_bytes_per_second=settings.BODY_BYTES_PER_SECOND,
        # Whoever may pause for longer must not be taken for slow meanwhile.
        body_window_seconds=max(BODY_WINDOW_SECONDS, settings.BODY_STALL_SECONDS),
        total=affordable(settings.MAX_CONNECTIONS, file_limit),
        per_address=settings.MAX_CONNECTIONS_PER_ADDRESS,
        trusted=settings.TRUSTED_PROXIES,
    )


def _report_refusal(fields: dict[str, Any]) -> None:
    worker.current().services.request_log.write(fields)


def collect_seldom() -> None:
    """Collect garbage less often, once everything is loaded."""
    gc.collect()
    gc.freeze()  # what is loaded stays loaded: later collections need not walk it
    gc.set_threshold(*GC_THRESHOLDS)


def run_worker(
    listener: socket.socket,
    supervisor: Connection | None = None,
    watch: Watch | None = None,
    *,
    must_be_ready: bool = False,
) -> None:
    """Serve until told to stop. Called in a process of its own.

    `must_be_ready`: end if no call could succeed.
    """
    logging.getLogger("uvicorn.error").addFilter(DropExpected())
    if watch is not None:
        watch.answer()
    collect_seldom()
    server = DrainingServer(configuration(), supervisor, watch, must_be_ready=must_be_ready)
    server.run(sockets=[listener])
