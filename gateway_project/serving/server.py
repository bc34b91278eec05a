"""One worker process: uvicorn with a drain of our own.

No ASGI server guarantees that running streams get a terminal event when it stops, so the drain
happens before uvicorn begins to shut down: readiness goes red, new work is refused with
Retry-After, running streams finish or are ended properly, and only then the server stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import socket
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import uvicorn
from django.conf import settings

from gateway_project.lib import aio
from gateway_project.serving import worker
from gateway_project.serving.connections import ConnectionLimits, affordable
from gateway_project.serving.http import protocol_with
from gateway_project.serving.watch import Watch
from gateway_project.serving.websockets import WebSocketProtocol

APPLICATION = "gateway_project.asgi:application"
BODY_WINDOW_SECONDS = 10.0
LAST_WORDS_SECONDS = 1.5
SHUTDOWN_SECONDS = 1
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
        self, config: uvicorn.Config, supervisor: Connection | None, watch: Watch | None
    ) -> None:
        super().__init__(config)
        self._supervisor = supervisor
        self._watch = watch
        self._serving_loop: asyncio.AbstractEventLoop | None = None
        self._draining = False
        self._has_drained = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._serving_loop = asyncio.get_running_loop()
        if self._watch is not None:
            self._watch.heartbeat.start(self._serving_loop)
        await super().startup(sockets)
        if self._supervisor is not None:
            self._supervisor.send_bytes(b"ready")
            # The supervisor's end closes only when it died: an orphan must not go on serving.
            self._serving_loop.add_reader(self._supervisor.fileno(), self._begin)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._serving_loop is None:
            self.should_exit = True
        else:
            self._serving_loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if self._supervisor is not None and self._serving_loop is not None:
            self._serving_loop.remove_reader(self._supervisor.fileno())
        if self._draining:
            worker.current().services.registry.interrupt_all()
            return
        self._draining = True
        aio.hold(self._drain(), "drain")

    async def _drain(self) -> None:
        await worker.current().services.registry.drain(settings.DRAIN_SECONDS, LAST_WORDS_SECONDS)
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
    listener: socket.socket, supervisor: Connection | None = None, watch: Watch | None = None
) -> None:
    """Serve until told to stop. Called in a process of its own."""
    logging.getLogger("uvicorn.error").addFilter(DropExpected())
    if watch is not None:
        watch.answer()
    collect_seldom()
    DrainingServer(configuration(), supervisor, watch).run(sockets=[listener])
