"""End a request: its line in the log, and what is counted of it."""

from __future__ import annotations

from collections.abc import Sequence

from gateway_project.lib.errors import GatewayError
from responses_api.accounting.metered_call import MeteredCall
from responses_api.calls.admission import Admitted, GenerationRequest
from responses_api.calls.outcome import Outcome, describe_call, log_outcome
from responses_api.services import Services
from routing.route import Route

FAILED = ("failed", "refused")


def end_request(
    services: Services,
    known: GenerationRequest | Admitted,
    outcome: Outcome,
    error: GatewayError | None = None,
    calls: Sequence[MeteredCall] = (),
) -> None:
    """Log and count a request that has ended; `calls` are those that were made for it."""
    log_outcome(services.request_log, describe_call(known, _route(known)), outcome)
    count_request(services, known, outcome, error, calls)


def count_request(
    services: Services,
    known: GenerationRequest | Admitted,
    outcome: Outcome,
    error: GatewayError | None = None,
    calls: Sequence[MeteredCall] = (),
) -> None:
    """Count a request that has ended."""
    metrics, caller = services.metrics, known.caller
    tenant_id = None if caller is None else caller.tenant_id
    seconds = outcome.duration_ms / 1000
    door = known.door.name
    metrics.ended(door, _route(known), outcome.status, seconds, calls, tenant_id)
    if outcome.error_code is not None and outcome.status in FAILED:
        metrics.failed(outcome.error_code)
        if error is not None and error.limit:
            metrics.refused_by_limit(error.limit)


def _route(known: GenerationRequest | Admitted) -> Route | None:
    return known.route if isinstance(known, Admitted) else None
