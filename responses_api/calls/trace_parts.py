"""Note the parts of a request when they end, for its trace and its log line."""

from __future__ import annotations

from msgspec import Struct

from gateway_project.lib import clock, trace_context
from gateway_project.lib.current_request import current
from gateway_project.lib.json import Json
from tenants.ledger.records import Opened
from tenants.token_classes import Usage

# Numbers of a request's spans: 0 is its own, and its upstream calls come next in the order of the ledger.
FIRST_LEG_NUMBER = 1
GUARDRAILS_NUMBER = 0xFFF0
SETTLE_NUMBER = 0xFFF1
RUN_NUMBER = 0xFFFE  # a run in the background, which goes on when its request has ended


class UpstreamLeg(Struct, frozen=True):
    """One upstream call that has ended. `opened` is its record in the ledger; times are `clock.monotonic`;
    `said` is what the upstream said of its answer."""

    opened: Opened
    base_url: str
    sent_at: float
    ended_at: float
    first_output_at: float | None
    status: str
    http_status: int
    error_code: str | None
    usage: Usage
    usage_source: str
    said: Json


class GuardrailChecks(Struct, frozen=True):
    """The guardrails' look at a request, before anything was sent."""

    began_at: float
    ended_at: float
    outcome: str


def leg_headers(leg: int) -> dict[str, str]:
    """Return the headers by which an upstream makes its spans parts of ours."""
    request = current()
    if request is None:
        return {}
    trace = request.trace
    if (
        request.tracer is None and trace.parent_id
    ):  # we have no spans: those of the client's are its parents
        return trace_context.headers(trace, trace.parent_id, is_sampled=bool(trace.is_sampled))
    span_id = trace_context.span_of(request.request_id, FIRST_LEG_NUMBER + leg)
    return trace_context.headers(trace, span_id, is_sampled=request.is_sampled)


def run_headers() -> dict[str, str]:
    """Return the headers by which a run in the background becomes a part of the request that asked for it."""
    request = current()
    if request is None:
        return {}
    trace = request.trace
    is_sampled = trace.is_sampled if trace.is_sampled is not None else request.is_sampled
    return trace_context.headers(trace, trace.span_id, is_sampled=is_sampled)


def note_checks(began_at: float, outcome: str) -> None:
    """Note that the guardrails have looked at the request."""
    request = current()
    if request is not None and request.tracer is not None:
        request.parts.append(GuardrailChecks(began_at, clock.monotonic(), outcome))


def note_answered() -> None:
    """Note that the answer is whole: what follows is settling and storing it."""
    if (request := current()) is not None:
        request.ending_at = clock.monotonic()


def note_leg(
    opened: Opened,
    base_url: str,
    sent_at: float,
    first_output_at: float | None,
    *,
    status: str,
    http_status: int,
    error_code: str | None,
    usage: Usage,
    usage_source: str,
    said: Json,
) -> None:
    """Note that an upstream call has ended."""
    request = current()
    if request is None:
        return
    ended_at = clock.monotonic()
    request.upstream_seconds += ended_at - sent_at
    if request.tracer is not None:
        request.parts.append(
            UpstreamLeg(
                opened, base_url, sent_at, ended_at, first_output_at,
                status, http_status, error_code, usage, usage_source, said,
            )
        )  # fmt: skip
