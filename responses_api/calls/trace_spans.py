"""Make the spans of a request that has ended, in the thread that sends them.

Every name that OpenTelemetry gave stands in one table: those of generative AI are not final. No text of a
client's or a model's is among the values, no end user, and no address but the upstream's.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from gateway_project.lib.otlp import AttributeValue, SpanKind, TraceSpan
from gateway_project.lib.trace_context import span_of
from gateway_project.lib.trace_exporter import KeptTrace
from responses_api.calls.outcome import QUEUED, Outcome
from responses_api.calls.trace_parts import (
    FIRST_LEG_NUMBER,
    GUARDRAILS_NUMBER,
    SETTLE_NUMBER,
    GuardrailChecks,
    UpstreamLeg,
)
from routing.protocols.shared import said
from tenants.token_classes import Usage

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
STREAMED = "gen_ai.request.stream"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE = "gen_ai.usage.cache_creation.input_tokens"
REASONING = "gen_ai.usage.reasoning.output_tokens"
ERROR_TYPE = "error.type"
HTTP_METHOD = "http.request.method"
HTTP_STATUS = "http.response.status_code"
URL_PATH = "url.path"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

CHAT = "chat"
# Names that OpenTelemetry gave to vendors, by the host they are reached at.
VENDORS = {
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.openai.com": "openai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
}

Attributes = dict[str, AttributeValue | None]


def spans_of(kept: KeptTrace) -> list[TraceSpan]:
    """Return the spans of a request: its own first, then those of its parts."""
    request = kept.request
    spans = [_own(kept)]
    for part in request.parts:
        match part:
            case UpstreamLeg():
                spans.append(_leg(kept, part))
            case GuardrailChecks():
                spans.append(_checks(kept, part))
    if request.ending_at is not None:
        spans.append(_child(kept, "settle", SETTLE_NUMBER, request.ending_at, kept.ended_at, {}))
    return spans


def _own(kept: KeptTrace) -> TraceSpan:
    request = kept.request
    known, outcome = kept.facts
    name, attributes, is_failed = _told(known, outcome)
    is_run = bool(known.get("background")) and outcome is not None and outcome.status != QUEUED
    attributes["tollgate.request_id"] = request.request_id
    return TraceSpan(
        trace_id=request.trace.trace_id,
        span_id=request.trace.span_id,
        parent_id=request.trace.parent_id,
        name=name,
        kind=SpanKind.CONSUMER if is_run else SpanKind.SERVER,
        began_ns=kept.nanoseconds(request.began_at),
        ended_ns=kept.nanoseconds(kept.ended_at),
        attributes=attributes,
        is_failed=is_failed,
    )


def _told(known: dict[str, Any], outcome: Outcome | None) -> tuple[str, Attributes, bool]:
    """Return the name of a request's span, what it tells, and whether the fault is on this side. `known` are
    fields of its log line; without an `outcome` it is no call."""
    told: Attributes = {
        "tollgate.tenant": known.get("tenant"),
        "tollgate.key": known.get("key"),
    }
    if outcome is None:
        status = known["http_status"]
        told |= {
            HTTP_METHOD: known["method"],
            HTTP_STATUS: status or None,
            URL_PATH: known["path"],
            ERROR_TYPE: known["error"],
        }
        return known["method"], told, status >= 500
    alias = known["alias"]  # of a refused call nothing is told that a client made up
    told |= {
        OPERATION: CHAT,
        REQUEST_MODEL: alias,
        STREAMED: known["stream"],
        HTTP_STATUS: outcome.http_status or None,
        ERROR_TYPE: outcome.error_code,
        FIRST_CHUNK: None if outcome.ttft_ms is None else outcome.ttft_ms / 1000,
        "tollgate.door": known["door"],
        "tollgate.status": outcome.status,
        "tollgate.background": known["background"] or None,
        "tollgate.socket": known["socket"],
        "tollgate.cache": known.get("cache"),
        **_usage(outcome.usage, outcome.usage_source),
    }
    is_failed = outcome.status == "failed" or outcome.http_status >= 500
    return f"{CHAT} {alias}" if alias else CHAT, told, is_failed


def _leg(kept: KeptTrace, leg: UpstreamLeg) -> TraceSpan:
    opened = leg.opened
    host, port = _address(leg.base_url)
    first = leg.first_output_at
    attributes: Attributes = {
        OPERATION: CHAT,
        PROVIDER: VENDORS.get(host, opened.provider),
        REQUEST_MODEL: opened.upstream_model,
        STREAMED: opened.streamed,
        SERVER_ADDRESS: host,
        SERVER_PORT: port,
        HTTP_STATUS: leg.http_status or None,
        ERROR_TYPE: leg.error_code,
        FIRST_CHUNK: None if first is None else max(first - leg.sent_at, 0.0),
        RESPONSE_ID: leg.said.get(said.ID),
        RESPONSE_MODEL: leg.said.get(said.MODEL),
        FINISH_REASONS: tuple(leg.said.get(said.REASONS, ())) or None,
        "tollgate.provider": opened.provider,
        "tollgate.leg": opened.leg,
        "tollgate.route": opened.route,
        "tollgate.status": leg.status,
        **_usage(leg.usage, leg.usage_source),
    }
    name = f"{CHAT} {opened.upstream_model}"
    number = FIRST_LEG_NUMBER + opened.leg
    return _child(
        kept, name, number, leg.sent_at, leg.ended_at, attributes,
        kind=SpanKind.CLIENT, is_failed=leg.status == "failed",
    )  # fmt: skip


def _checks(kept: KeptTrace, checks: GuardrailChecks) -> TraceSpan:
    told: Attributes = {"tollgate.guardrails": checks.outcome}
    return _child(kept, "guardrails", GUARDRAILS_NUMBER, checks.began_at, checks.ended_at, told)


def _child(
    kept: KeptTrace,
    name: str,
    number: int,
    began_at: float,
    ended_at: float,
    attributes: Attributes,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    is_failed: bool = False,
) -> TraceSpan:
    """Return a span below the request's own."""
    request = kept.request
    return TraceSpan(
        trace_id=request.trace.trace_id,
        span_id=span_of(request.request_id, number),
        parent_id=request.trace.span_id,
        name=name,
        kind=kind,
        began_ns=kept.nanoseconds(began_at),
        ended_ns=kept.nanoseconds(ended_at),
        attributes=attributes,
        is_failed=is_failed,
    )


def _usage(usage: Usage | None, source: str) -> Attributes:
    if usage is None or source == "none":
        return {}
    inputs = usage.input_fresh + usage.input_audio + usage.cache_read
    written = usage.cache_write + usage.cache_write_long
    return {
        INPUT_TOKENS: inputs + written,
        OUTPUT_TOKENS: usage.output_visible + usage.output_audio + usage.output_reasoning,
        CACHE_READ: usage.cache_read or None,
        CACHE_WRITE: written or None,
        REASONING: usage.output_reasoning or None,
        "tollgate.usage_source": source,
    }


def _address(base_url: str) -> tuple[str, int | None]:
    """Return host and port of an upstream, whatever stands in its row."""
    try:
        parts = urlsplit(base_url)
        return (parts.hostname or "").lower(), parts.port
    except ValueError:
        return "", None
