"""Write spans as OTLP/HTTP takes them in JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).

ids are hex, times are strings of nanoseconds, 64-bit integers are strings, enums are numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum

import orjson
from msgspec import Struct

from gateway_project.lib.json import Json

AttributeValue = str | bool | int | float | tuple[str, ...]
# A text that is longer says no more.
MAX_TEXT = 500
_ERROR = 2  # STATUS_CODE_ERROR


class SpanKind(IntEnum):
    """The values of OTLP's enum."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    CONSUMER = 5


class TraceSpan(Struct, frozen=True):
    """One span. Times are nanoseconds since the epoch; attributes that are None are left out."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: SpanKind
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, AttributeValue | None]
    is_failed: bool = False


def encode(resource: Mapping[str, AttributeValue], scope: str, spans: Iterable[TraceSpan]) -> bytes:
    """Return the body of a request that exports these spans."""
    of_scope = {"scope": {"name": scope}, "spans": [_span(span) for span in spans]}
    of_resource = {
        "resource": {"attributes": _attributes(resource)},
        "scopeSpans": [of_scope],
    }
    return orjson.dumps({"resourceSpans": [of_resource]})


def _span(span: TraceSpan) -> Json:
    fields: Json = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name[:MAX_TEXT],
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.began_ns),
        "endTimeUnixNano": str(max(span.ended_ns, span.began_ns)),
        "attributes": _attributes(span.attributes),
        "status": {"code": _ERROR} if span.is_failed else {},
    }
    if span.parent_id:
        fields["parentSpanId"] = span.parent_id
    return fields


def _attributes(attributes: Mapping[str, AttributeValue | None]) -> list[Json]:
    return [
        {"key": key, "value": _value(value)}
        for key, value in attributes.items()
        if value is not None
    ]


def _value(value: AttributeValue) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": _text(value)}
    return {"arrayValue": {"values": [{"stringValue": _text(each)} for each in value]}}


def _text(text: str) -> str:
    """Return text that is short, and that JSON can hold."""
    return text[:MAX_TEXT].encode("utf-8", "replace").decode()
