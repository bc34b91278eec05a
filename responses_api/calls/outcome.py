"""Describe how a call ended as one value, logged as one structured line."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, structs

from gateway_project.lib import current_request
from gateway_project.lib.asgi import CLIENT
from gateway_project.lib.log import RequestLog, scrub_text
from responses_api.calls.admission import Admitted, GenerationRequest
from routing.route import Route
from tenants.keys.authentication import claimed_id
from tenants.token_classes import Usage

QUEUED = "queued"
_FAILED = frozenset({"failed", "refused"})


class Outcome(Struct, frozen=True):
    """The outcome of a call, settled exactly once.

    status         completed | incomplete | failed | refused (never sent) | cancelled (by us) |
                   client_gone | replayed (answered as another with the same Idempotency-Key)
    http_status    the status the client got; 0 if it was gone before anything was sent
    usage_source   provider (its final report) | counted (by us, because there is none to trust)
    times          in milliseconds; `ttft_ms` to the first output, None if there was none
    bytes_out      of the answer's body, as far as it was known when it was settled
    targets        those tried, in order, each "provider/model" or "provider/model: error code"
    """

    status: str
    http_status: int
    error_code: str | None
    usage: Usage | None
    usage_source: str
    ttft_ms: float | None
    duration_ms: float
    targets: tuple[str, ...]
    frames: int
    frames_dropped: int
    bytes_out: int | None = None


def describe_call(
    known: GenerationRequest | Admitted, route: Route | None = None
) -> dict[str, Any]:
    """Return how the line of a call begins: whose it is and what it asks for, as far as that is known."""
    caller, call = known.caller, known.call
    if isinstance(known, GenerationRequest):
        request_id, client = known.id, known.scope.get(CLIENT)
    else:
        request_id, client = known.request_id, known.client
    request = current_request.current()
    traced = {} if request is None else request.log_fields()
    fields = {
        "event": "call",
        **traced,
        "request_id": request_id,
        "client": client,
        "door": known.door.name,
        "tenant": caller.tenant_slug if caller else None,
        "key": caller.key_public_id if caller else None,
        "model": _named_model(call.model, route) if call else None,
        "alias": route.alias if route else None,
        "stream": call.stream if call else None,
        "background": bool(call and call.body.get("background")),
        "socket": known.socket,
        "bytes_in": call.size if call else None,
    }
    if isinstance(known, Admitted) and known.keeper is not None:
        fields["cache"] = known.keeper.outcome
    if caller is None and isinstance(known, GenerationRequest):
        fields["claimed_key"] = claimed_id(known.scope["headers"])
    return fields


def _named_model(model: str, route: Route | None) -> str:
    """Return the model's name for the log. What a client sent may be a key in the wrong place, but not
    where it is the name of the alias, which the line tells anyway."""
    return model if route is not None and model == route.alias else scrub_text(model[:200])


def refused_outcome(status: str, http_status: int, error_code: str | None) -> Outcome:
    """Return the outcome of a request that was not sent upstream."""
    return Outcome(
        status=status,
        http_status=http_status,
        error_code=error_code,
        usage=None,
        usage_source="none",
        ttft_ms=None,
        duration_ms=0.0,
        targets=(),
        frames=0,
        frames_dropped=0,
    )


def unbilled_outcome(http_status: int, seconds: float) -> Outcome:
    """Return the outcome of a request that was answered without asking a model."""
    return structs.replace(
        refused_outcome("completed", http_status, None), duration_ms=seconds * 1000
    )


def log_outcome(log: RequestLog, known: dict[str, Any], outcome: Outcome) -> None:
    """Log a call that has ended, and keep its trace. `known` is what `describe_call` gave; it becomes the
    whole line."""
    request = current_request.current()
    duration_ms = outcome.duration_ms if request is None else request.duration_ms
    _add_outcome(known, outcome, duration_ms)
    if request is not None:
        known["upstream_ms"] = _rounded(request.upstream_seconds * 1000)
    log.write(known)
    if request is not None and request.tracer is not None:
        has_failed = outcome.error_code is not None or outcome.status in _FAILED
        is_known = known["key"] is not None
        request.tracer.keep(request, (known, outcome), failed=has_failed, is_known=is_known)


def keep_queued(admitted: Admitted) -> None:
    """Keep the trace of a request whose answer is made in the background; its log line comes with that."""
    request = current_request.current()
    if request is not None and request.tracer is not None:
        known = describe_call(admitted, admitted.route)
        outcome = refused_outcome(QUEUED, 200, None)
        request.tracer.keep(request, (known, outcome), failed=False, is_known=True)


def _add_outcome(line: dict[str, Any], outcome: Outcome, duration_ms: float) -> None:
    """Add the outcome's part to a log line, which is not copied for it."""
    ttft_ms = outcome.ttft_ms
    line["status"] = outcome.status
    line["http_status"] = outcome.http_status
    line["error"] = outcome.error_code
    line["ttft_ms"] = None if ttft_ms is None else _rounded(ttft_ms)
    line["duration_ms"] = _rounded(duration_ms)
    line["targets"] = outcome.targets
    line["frames"] = outcome.frames
    line["frames_dropped"] = outcome.frames_dropped
    line["bytes_out"] = outcome.bytes_out
    if (usage := outcome.usage) is not None:
        line["usage_source"] = outcome.usage_source
        line["input_fresh"] = usage.input_fresh
        line["input_audio"] = usage.input_audio
        line["cache_read"] = usage.cache_read
        line["cache_write"] = usage.cache_write
        line["cache_write_long"] = usage.cache_write_long
        line["output_visible"] = usage.output_visible
        line["output_audio"] = usage.output_audio
        line["output_reasoning"] = usage.output_reasoning
        line["usage_anomaly"] = usage.anomaly


def _rounded(milliseconds: float) -> float:
    """Round to microseconds. Python's `round` writes the number as text, and reads that."""
    return int(milliseconds * 1000 + 0.5) / 1000
