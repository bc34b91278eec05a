"""A collector of traces on a real socket, which reads OTLP's JSON as strictly as its mapping demands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from gateway_project.lib.otlp_endpoint import OtlpEndpoint
from gateway_project.lib.secret import Secret
from gateway_project.lib.trace_exporter import TraceExporter
from responses_api.calls.trace_spans import spans_of
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.receiver import Receiver

Json = dict[str, Any]

_HEX_16, _HEX_8 = re.compile(r"(?!0{32})[0-9a-f]{32}\Z"), re.compile(r"(?!0{16})[0-9a-f]{16}\Z")
_INT64 = re.compile(r"-?[0-9]{1,19}\Z")
_SPAN = {
    "traceId",
    "spanId",
    "parentSpanId",
    "name",
    "kind",
    "startTimeUnixNano",
    "endTimeUnixNano",
}
_SPAN |= {"attributes", "status"}


@dataclass(frozen=True, slots=True)
class ReadSpan:
    """A span as a collector reads it."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    began: int
    ended: int
    status: int
    attributes: dict[str, Any]


def read(body: bytes) -> list[ReadSpan]:
    """Read the body of an export. Everything that the mapping does not know is an error."""
    (of_resource,) = _only(orjson.loads(body), {"resourceSpans"})["resourceSpans"]
    _only(of_resource, {"resource", "scopeSpans"})
    resource = attributes(_only(of_resource["resource"], {"attributes"})["attributes"])
    assert resource["service.name"] == "tollgate"
    (of_scope,) = of_resource["scopeSpans"]
    assert _only(of_scope, {"scope", "spans"})["scope"]["name"] == "tollgate"
    return [_span(each) for each in of_scope["spans"]]


def _only(value: Json, keys: set[str]) -> Json:
    assert set(value) <= keys, set(value) - keys
    return value


def _span(span: Json) -> ReadSpan:
    _only(span, _SPAN)
    parent, kind = span.get("parentSpanId", ""), span["kind"]
    assert _HEX_16.match(span["traceId"])
    assert _HEX_8.match(span["spanId"])
    assert "parentSpanId" not in span or _HEX_8.match(parent)
    assert type(kind) is int
    assert 1 <= kind <= 5
    for name in ("startTimeUnixNano", "endTimeUnixNano"):
        assert isinstance(span[name], str)
        assert _INT64.match(span[name])
    began, ended = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    assert 1_700_000_000_000_000_000 < began <= ended
    status = _only(span["status"], {"code"}).get("code", 0)
    assert status in (0, 2)
    told = attributes(span["attributes"])
    return ReadSpan(
        span["traceId"], span["spanId"], parent, span["name"], kind, began, ended, status, told
    )


def attributes(pairs: list[Json]) -> dict[str, Any]:
    found = {pair["key"]: _value(_only(pair, {"key", "value"})["value"]) for pair in pairs}
    assert len(found) == len(pairs), "an attribute is there twice"
    return found


def _value(value: Json) -> Any:
    ((kind, held),) = value.items()
    match kind:
        case "stringValue":
            assert isinstance(held, str)
        case "boolValue":
            assert isinstance(held, bool)
        case "intValue":
            assert isinstance(held, str)
            assert _INT64.match(held)
            return int(held)
        case "doubleValue":
            assert isinstance(held, float)
        case "arrayValue":
            return [_value(each) for each in _only(held, {"values"})["values"]]
        case _:
            raise AssertionError(kind)
    return held


@dataclass(frozen=True, slots=True)
class Collector:
    """A collector, and the exporter that sends it traces."""

    receiver: Receiver
    exporter: TraceExporter

    @property
    def bodies(self) -> list[bytes]:
        return [each.body for each in self.receiver.received]

    def spans(self, count: int) -> list[ReadSpan]:
        """Wait for so many spans, and return all there are."""

        def come() -> bool:
            self.exporter.send_now()
            return sum(len(read(body)) for body in self.bodies) >= count

        until(come)
        return [span for body in self.bodies for span in read(body)]


@contextmanager
def traced(
    gateway: LiveGateway,
    ratio: float = 1.0,
    statuses: tuple[int, ...] = (200,),
    headers: dict[str, Secret] | None = None,
) -> Iterator[Collector]:
    """Have the gateway send its traces to a collector, which answers with these statuses."""
    with Receiver(statuses) as receiver:
        endpoint = OtlpEndpoint(f"http://127.0.0.1:{receiver.port}", headers or {})
        exporter = TraceExporter(endpoint, ratio, {"service.name": "tollgate"}, spans_of)
        gateway.change(tracer=exporter)
        exporter.start()
        try:
            yield Collector(receiver, exporter)
        finally:
            gateway.change(tracer=None)
            gateway.run(exporter.stop())
