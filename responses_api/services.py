"""Bundle the things that one worker process shares among its requests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway_project.lib.current_request import Tracer
from gateway_project.lib.log import CallLog, RequestLog
from gateway_project.lib.rounds import Rounds
from gateway_project.lib.structure import Caps
from gateway_project.lib.writer import Writer
from responses_api.accounting.call_metrics import CallMetrics
from responses_api.accounting.refusal_writer import RefusalWriter
from responses_api.accounting.spool_writer import SpoolWriter
from responses_api.enforcement.guarding import Guardrails
from responses_api.process.held import HeldBytes
from responses_api.process.large_bodies import LargeBodies
from responses_api.process.registry import Registry
from responses_api.process.socket_limits import SocketLimits
from responses_api.process.timeouts import Timeouts
from routing.health.table import LaneTable
from routing.policy.affinity import AffinityMemory
from routing.resolve import Router
from routing.upstream.transport import Transport
from tenants.budgets.accounts import BudgetLeases
from tenants.keys.doorkeeper import Doorkeeper
from tenants.limits.gate import RateLimiter
from tenants.revision_watcher import RevisionWatcher


@dataclass(frozen=True, slots=True)
class Services:
    """The objects that calls are made with. Code that uses one or two of these takes them by name; code
    that hands on most of them takes all. A process builds, starts and stops them in one place
    (gateway_project/serving/worker.py)."""

    loop: asyncio.AbstractEventLoop  # on Python 3.11 asking for the running loop is a system call

    # Who may call, with what
    doorkeeper: Doorkeeper
    gate: RateLimiter
    large_bodies: LargeBodies
    max_body_bytes: int
    body_stall_seconds: float
    caps: Caps
    max_choices: int
    tells_cost: bool
    socket_limits: SocketLimits
    max_replay_bytes: int

    # Where calls go, and for how long
    router: Router
    affinity: AffinityMemory
    lane_health: LaneTable
    transport: Transport
    timeouts: Timeouts
    registry: Registry
    rounds: Rounds
    held: HeldBytes

    # What may not pass
    guardrails: Guardrails

    # What is written of them
    writer: Writer
    watcher: RevisionWatcher
    spool_writer: SpoolWriter
    refusals: RefusalWriter
    budgets: BudgetLeases
    call_log: CallLog
    request_log: RequestLog
    metrics: CallMetrics
    tracer: Tracer | None  # none is needed where no collector is named
