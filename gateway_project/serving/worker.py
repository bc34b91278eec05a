"""Build one worker process from the settings, and start and stop it in order."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

from django.conf import settings

from gateway_project.lib import ids
from gateway_project.lib.heartbeat import SharedHeartbeat
from gateway_project.lib.log import CallLog, RequestLog, wants_json
from gateway_project.lib.metrics.tables import Tables
from gateway_project.lib.otlp import AttributeValue
from gateway_project.lib.renewals import Leases
from gateway_project.lib.rounds import Rounds
from gateway_project.lib.trace_exporter import TraceExporter
from gateway_project.lib.version import VERSION
from gateway_project.lib.writer import Writer
from gateway_project.serving.metrics_writer import MetricsWriter
from gateway_project.serving.peers import Peers
from gateway_project.serving.record_kinds import RECORD_KINDS
from responses_api.accounting.call_metrics import CallMetrics
from responses_api.accounting.refusal_writer import RefusalWriter
from responses_api.accounting.spool_writer import SpoolWriter
from responses_api.app_state import AppState
from responses_api.background import runner
from responses_api.background.local import LocalRuns
from responses_api.background.run_watcher import RunWatcher
from responses_api.cache.answers import AnswerCache, CacheLimits
from responses_api.calls.trace_spans import spans_of
from responses_api.enforcement.guarding import Guardrails
from responses_api.idempotency.calls import IdempotentCalls
from responses_api.live.answering import LiveAnswers
from responses_api.live.in_flight import InFlightCalls
from responses_api.periodic import Periodic
from responses_api.process.held import HeldBytes
from responses_api.process.large_bodies import LargeBodies, TurnLimits
from responses_api.process.registry import Registry
from responses_api.process.socket_limits import SocketLimits
from responses_api.process.timeouts import Timeouts
from responses_api.services import Services
from routing.health.table import LaneTable
from routing.policy.affinity import AffinityMemory
from routing.resolve import Router
from routing.upstream.transport import Transport
from tenants.budgets.accounts import BudgetLeases
from tenants.keys.authentication import Authenticator
from tenants.keys.doorkeeper import Doorkeeper
from tenants.ledger.spool import Spool
from tenants.limits import gate
from tenants.limits.gate import RateLimiter
from tenants.revision_watcher import RevisionWatcher

if TYPE_CHECKING:
    from routing.health.sharing import CircuitSharing


class Worker:
    """The worker of an event loop, living as long as the loop serves.

    `state` is given to every request; everything else works beside the requests.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.authenticator = Authenticator()
        self.watcher = RevisionWatcher(
            self.forget,
            poll_seconds=settings.REVISION_POLL_SECONDS,
            redis_url=settings.REDIS_URL,
        )
        self.tracer = _trace_exporter()
        services = _services(self.loop, self.authenticator, self.watcher, self.tracer)
        self.circuits = _circuit_sharing(services.lane_health)
        self.run_watcher = RunWatcher(settings.REDIS_URL)
        runs = LocalRuns(
            self._make_run,
            self.run_watcher,
            services.registry,
            settings.TASKS,
            limit=settings.BACKGROUND_RUNS,
            queue_seconds=settings.BACKGROUND_QUEUE_SECONDS,
        )
        calls = IdempotentCalls(services.writer, services.registry.interrupt)
        self.live_answers = LiveAnswers(services.registry, settings.REDIS_URL)
        in_flight = InFlightCalls(self.live_answers, settings.REDIS_URL)
        answer_cache = AnswerCache(
            self.loop, services.writer, cache_limits_from_settings(), settings.REDIS_URL
        )
        self.state = AppState(services, runs, calls, in_flight, answer_cache)
        self.heartbeat = SharedHeartbeat()
        self.leases = Leases(services.writer, self.heartbeat)
        self.leases.add(runs.renewal)
        self.leases.add(calls.renewal)
        self.periodic = Periodic(settings.TASKS)
        self.peers = Peers(settings.TASKS)
        self.metrics_writer = self._metrics_writer() if settings.IS_MEASURED else None

    @property
    def services(self) -> Services:
        return self.state.services

    @property
    def runs(self) -> LocalRuns:
        return self.state.runs

    @property
    def idempotent_calls(self) -> IdempotentCalls:
        return self.state.idempotent_calls

    def start(self) -> None:
        services = self.services
        self.heartbeat.start(self.loop)
        self.leases.start()
        services.gate.start()
        services.spool_writer.start()
        if self.tracer is not None:
            self.tracer.start()
        services.budgets.start()
        self.watcher.start()
        self.run_watcher.start()
        if self.circuits is not None:
            self.circuits.start()
        self.runs.start()
        self.live_answers.start()
        self.periodic.start()
        if self.metrics_writer is not None:
            self.metrics_writer.start()

    async def stop(self) -> None:
        services = self.services
        await self.periodic.stop()
        await self.live_answers.stop()
        await self.runs.stop()
        await self.run_watcher.stop()
        if self.circuits is not None:
            await self.circuits.stop()
        await self.watcher.stop()
        await services.registry.sockets.stop()
        await self.idempotent_calls.stop()
        self.leases.stop()
        self.heartbeat.stop()
        await services.budgets.stop()
        await self.state.answer_cache.stop()
        await services.writer.stop()
        await services.transport.close()
        await services.gate.stop()
        services.refusals.flush()
        await services.spool_writer.stop()
        if self.metrics_writer is not None:
            await self.metrics_writer.stop()
        if self.tracer is not None:
            await self.tracer.stop()

    def forget(self) -> None:
        """Drop cached keys, routes and answers; running exchanges keep what they resolved, open WebSockets
        check again.
        """
        services = self.services
        self.authenticator.clear()
        services.router.clear()
        services.guardrails.clear()
        self.state.answer_cache.forget()
        services.registry.sockets.keys_changed()
        services.budgets.refresh()

    @property
    def ready(self) -> dict[str, bool]:
        """Return what readiness depends on, and whether it holds."""
        services = self.services
        return {
            "database": self.watcher.is_current,
            "spool": services.spool_writer.is_healthy,
            "accepting": not services.registry.draining,
        }

    def _metrics_writer(self) -> MetricsWriter:
        services = self.services
        return MetricsWriter(
            settings.METRICS_DIR,
            services.metrics,
            services.registry,
            services.lane_health,
            lambda: self.ready,
            tenants=settings.METRICS_TENANTS,
            most_series=settings.METRICS_SERIES,
        )

    async def _make_run(self, tenant_id: int, response_id: str) -> None:
        await runner.run(self.services, self.runs, tenant_id, response_id)


def _services(
    loop: asyncio.AbstractEventLoop,
    authenticator: Authenticator,
    watcher: RevisionWatcher,
    tracer: TraceExporter | None,
) -> Services:
    """Build what calls are made with; nothing of it has started."""
    rate_limits = gate.from_settings()
    writer = Writer(loop, RECORD_KINDS)
    spool_writer = SpoolWriter(spool_from_settings())
    transport = _transport()
    metrics = CallMetrics(Tables(settings.METRICS_SERIES), gen_ai=settings.METRICS_GEN_AI)
    call_log = CallLog(sys.stderr.fileno(), as_json=wants_json(settings.LOG_FORMAT))
    return Services(
        loop=loop,
        doorkeeper=_doorkeeper(rate_limits, authenticator),
        gate=rate_limits,
        large_bodies=LargeBodies(turns_from_settings()),
        max_body_bytes=settings.MAX_BODY_BYTES,
        body_stall_seconds=settings.BODY_STALL_SECONDS,
        caps=settings.CAPS,
        max_choices=settings.MAX_CHOICES,
        tells_cost=settings.USAGE_COST,
        socket_limits=socket_limits_from_settings(),
        max_replay_bytes=settings.MAX_REPLAY_BYTES,
        router=Router(),
        affinity=AffinityMemory(),
        lane_health=LaneTable(failure_seconds=settings.FIRST_BYTE_SECONDS),
        transport=transport,
        timeouts=timeouts_from_settings(),
        registry=Registry(),
        rounds=Rounds(loop),
        held=HeldBytes(),
        guardrails=Guardrails(loop, transport, writer, metrics),
        writer=writer,
        watcher=watcher,
        spool_writer=spool_writer,
        refusals=RefusalWriter(loop, spool_writer),
        budgets=BudgetLeases(writer.write, spool_writer.name),
        call_log=call_log,
        request_log=RequestLog(call_log),
        metrics=metrics,
        tracer=tracer,
    )


def _trace_exporter() -> TraceExporter | None:
    if settings.OTLP_ENDPOINT is None:
        return None
    resource: dict[str, AttributeValue] = {
        "service.name": "tollgate",
        "service.version": VERSION,
        "service.instance.id": str(ids.uuid7()),
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    return TraceExporter(settings.OTLP_ENDPOINT, settings.TRACES_RATIO, resource, spans_of)


def _doorkeeper(rate_limits: RateLimiter, authenticator: Authenticator) -> Doorkeeper:
    return Doorkeeper(
        rate_limits.lenient(),
        authenticator,
        trusted_proxies=settings.TRUSTED_PROXIES,
        all_traffic=settings.IP_LIMITS,
        failures=settings.FAILED_AUTH_LIMIT,
    )


def _circuit_sharing(table: LaneTable) -> CircuitSharing | None:
    if settings.REDIS_URL is None:
        return None
    from routing.health.sharing import CircuitSharing  # noqa: PLC0415  # redis only where it is used

    return CircuitSharing(settings.REDIS_URL, table)


def _transport() -> Transport:
    return Transport(
        connect_seconds=settings.CONNECT_SECONDS,
        pool_wait_seconds=settings.POOL_WAIT_SECONDS,
        max_connections=settings.MAX_UPSTREAM_CONNECTIONS,
        max_values=settings.MAX_UPSTREAM_VALUES,
    )


def timeouts_from_settings() -> Timeouts:
    return Timeouts(
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


def cache_limits_from_settings() -> CacheLimits:
    return CacheLimits(
        memory_bytes=settings.CACHE_MEMORY_BYTES, tenant_bytes=settings.CACHE_TENANT_BYTES
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
    """Return the worker of this thread's event loop, started when it is first asked for."""
    thread = threading.get_ident()
    worker = _workers.get(thread)
    if worker is None or worker.loop.is_closed():
        worker = _workers[thread] = Worker()
        worker.start()
    return worker


async def start_up() -> None:
    """Start this thread's worker, and let it read the configuration's revision before any request is
    answered.

    The first read makes it forget what it knows, and with the database unavailable by then nobody could
    go on.
    """
    await current().watcher.first_look(FIRST_LOOK_SECONDS)


async def shut_down() -> None:
    """Stop this thread's worker, if it has one."""
    worker = _workers.pop(threading.get_ident(), None)
    if worker is not None:
        await worker.stop()
