"""What one worker process shares among its requests."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from django.conf import settings

from gateway_project.lib.heartbeat import Heartbeat
from gateway_project.lib.log import CallLog, RequestLog, wants_json
from gateway_project.lib.structure import Caps
from responses_api.accounting.books import Books
from responses_api.background.hub import Hub
from responses_api.background.local import LocalRuns
from responses_api.doorkeeper import Doorkeeper
from responses_api.held import HeldBytes
from responses_api.idempotency.calls import IdempotentCalls
from responses_api.large_bodies import LargeBodies, TurnLimits
from responses_api.leases import Leases
from responses_api.outcome import Outcome, log_fields
from responses_api.peers import Peers
from responses_api.periodic import Periodic
from responses_api.registry import Registry
from responses_api.storage import budget_records, records  # noqa: F401  # how they are written
from responses_api.storage.writer import Writer
from responses_api.watchdog import Limits
from responses_api.watcher import RevisionWatcher
from responses_api.websocket.limits import SocketLimits
from routing.resolve import Router
from routing.transport import Transport
from tenants.authentication import Authenticator
from tenants.budgets.accounts import Accounts
from tenants.ledger.spool import Spool
from tenants.limits import gate


class Worker:
    """Caches, connections and running exchanges; lives as long as its event loop serves."""

    def __init__(self) -> None:
        # Kept here because asking asyncio for the running loop is a system call on Python 3.11.
        self.loop = asyncio.get_running_loop()
        self.authenticator = Authenticator()
        self.gate = gate.from_settings()
        self.doorkeeper = Doorkeeper(
            self.gate.lenient(),
            self.authenticator,
            trusted_proxies=settings.TRUSTED_PROXIES,
            all_traffic=settings.IP_LIMITS,
            failures=settings.FAILED_AUTH_LIMIT,
        )
        self.router = Router()
        self.registry = Registry()
        self.transport = Transport(
            connect_seconds=settings.CONNECT_SECONDS,
            pool_wait_seconds=settings.POOL_WAIT_SECONDS,
            max_connections=settings.MAX_UPSTREAM_CONNECTIONS,
            max_values=settings.MAX_UPSTREAM_VALUES,
        )
        self.writer = Writer(self.loop)
        self.heartbeat = Heartbeat()
        self.leases = Leases(self.writer, self.heartbeat)
        self.books = Books(spool_from_settings())
        self.budgets = Accounts(self.writer.write, self.books.name)
        self.hub = Hub(settings.REDIS_URL)
        self.runs = LocalRuns(
            self,
            settings.TASKS,
            limit=settings.BACKGROUND_RUNS,
            queue_seconds=settings.BACKGROUND_QUEUE_SECONDS,
        )
        self.idempotent_calls = IdempotentCalls(self.writer, self.registry.interrupt)
        self.leases.add(self.runs.renewal)
        self.leases.add(self.idempotent_calls.renewal)
        self.limits = limits_from_settings()
        self.socket_limits = socket_limits_from_settings()
        self.max_body_bytes: int = settings.MAX_BODY_BYTES
        self.max_choices: int = settings.MAX_CHOICES
        self.caps: Caps = settings.CAPS
        self.held = HeldBytes()
        self.large_bodies = LargeBodies(turns_from_settings())
        self.max_replay_bytes: int = settings.MAX_REPLAY_BYTES
        self.body_stall_seconds: float = settings.BODY_STALL_SECONDS
        self.call_log = CallLog(sys.stderr.fileno(), as_json=wants_json(settings.LOG_FORMAT))
        self.request_log = RequestLog(self._write_line)
        self.watcher = RevisionWatcher(
            self.forget,
            poll_seconds=settings.REVISION_POLL_SECONDS,
            redis_url=settings.REDIS_URL,
        )
        self.periodic = Periodic(settings.TASKS)
        self.peers = Peers(settings.TASKS)

    def start(self) -> None:
        self.heartbeat.start(self.loop)
        self.leases.start()
        self.gate.start()
        self.books.start()
        self.budgets.start()
        self.watcher.start()
        self.hub.start()
        self.runs.start()
        self.periodic.start()

    async def stop(self) -> None:
        await self.periodic.stop()
        await self.runs.stop()
        await self.hub.stop()
        await self.watcher.stop()
        await self.registry.sockets.stop()
        await self.idempotent_calls.stop()
        self.leases.stop()
        self.heartbeat.stop()
        await self.budgets.stop()
        await self.writer.stop()
        await self.transport.close()
        await self.gate.stop()
        await self.books.stop()

    def forget(self) -> None:
        """Drop what is remembered of keys and routes; running exchanges keep what they resolved, open
        WebSockets are looked at again."""
        self.authenticator.clear()
        self.router.clear()
        self.registry.sockets.keys_changed()
        self.budgets.refresh()

    @property
    def can_store(self) -> bool:
        """Whether the database answered when it was last asked."""
        return not (self.watcher.is_failing or self.writer.is_failing)

    @property
    def ready(self) -> dict[str, bool]:
        """What readiness depends on, and whether it holds."""
        return {
            "database": self.watcher.is_current,
            "spool": self.books.is_healthy,
            "accepting": not self.registry.draining,
        }

    def record(self, facts: dict[str, Any], outcome: Outcome) -> None:
        """Keep what is known of a call that has ended."""
        self.request_log.write({"event": "call", **facts, **log_fields(outcome)})

    def _write_line(self, fields: dict[str, Any]) -> None:
        self.call_log.write(fields)


def limits_from_settings() -> Limits:
    return Limits(
        first_byte=settings.FIRST_BYTE_SECONDS,
        idle=settings.IDLE_SECONDS,
        total=settings.TOTAL_SECONDS,
        total_stream=settings.TOTAL_STREAM_SECONDS,
        commit=settings.COMMIT_SECONDS,
        keepalive=settings.KEEPALIVE_SECONDS,
        send_stall=settings.SEND_STALL_SECONDS,
    )


def turns_from_settings() -> TurnLimits:
    return TurnLimits(
        size=settings.LARGE_BODY_BYTES,
        in_all=settings.LARGE_BODIES,
        per_key=settings.LARGE_BODIES_PER_KEY,
        wait_seconds=settings.LARGE_BODY_WAIT_SECONDS,
    )


def spool_from_settings() -> Spool:
    return Spool(
        settings.SPOOL_DIR,
        mode=settings.DURABILITY,
        least_free_percent=settings.SPOOL_LEAST_FREE_PERCENT,
    )


def socket_limits_from_settings() -> SocketLimits:
    return SocketLimits(
        lifetime=settings.WEBSOCKET_SECONDS,
        memory_bytes=settings.WEBSOCKET_MEMORY_BYTES,
        waiting_bytes=settings.MAX_BODY_BYTES,
    )


# A worker whose database does not answer at all begins without it.
FIRST_LOOK_SECONDS = 5.0

_workers: dict[int, Worker] = {}


def current() -> Worker:
    """The worker of this thread's event loop, started when it is first asked for."""
    thread = threading.get_ident()
    worker = _workers.get(thread)
    if worker is None or worker.loop.is_closed():
        worker = _workers[thread] = Worker()
        worker.start()
    return worker


async def start_up() -> None:
    """Start this thread's worker, and let it look at the configuration's revision before anybody is answered:
    the first look makes it forget what it knows, and were the database away by then, nobody could go on."""
    await current().watcher.first_look(FIRST_LOOK_SECONDS)


async def shut_down() -> None:
    """Stop this thread's worker, if it has one."""
    worker = _workers.pop(threading.get_ident(), None)
    if worker is not None:
        await worker.stop()
