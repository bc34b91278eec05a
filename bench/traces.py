"""Measure what a trace costs a request as long as it runs, and the thread that makes spans and writes them.

Processor time, in batches, of which the median counts. It is a program of its own because it needs Django's
settings; `python -m bench` runs it and reads its JSON.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import orjson

from bench.planning import microseconds

PARENT = (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
STATE = (b"tracestate", b"vendor=0af7651916cd43dd8448eb211c80319c,other=1")
HEADERS = [(b"x-header-%d" % number, b"value") for number in range(10)]
MAX_WAITING = 5_000  # once in so many calls there is another tracer: a full queue keeps nothing
SPANS = 3  # of a call that its first upstream answers


class _Traced:
    """Calls with a tracer that sends nothing. Made once Django is set up."""

    def __init__(self, ratio: float) -> None:
        from gateway_project.lib import current_request, ids, otlp  # noqa: PLC0415
        from gateway_project.lib.otlp_endpoint import OtlpEndpoint  # noqa: PLC0415
        from gateway_project.lib.trace_exporter import TraceExporter  # noqa: PLC0415
        from responses_api.calls import trace_parts, trace_spans  # noqa: PLC0415

        self._enter, self._parts, self._encode = current_request.enter, trace_parts, otlp.encode
        self._spans_of = trace_spans.spans_of
        endpoint, resource = OtlpEndpoint("http://127.0.0.1:9", {}), {"service.name": "tollgate"}

        def make() -> TraceExporter:
            return TraceExporter(endpoint, ratio, resource, trace_spans.spans_of)

        self._make_tracer: Callable[[], TraceExporter] = make
        self.tracer = make()
        self._request_id = ids.request_id()
        self._opened, self._usage = _opened(self._request_id)
        self._facts = _facts()

    def begin(self, headers: list[tuple[bytes, bytes]], tracer: Any = None) -> Any:
        return self._enter(self._request_id, headers, tracer)

    def whole(self) -> None:
        """Do all that a call does for its trace, from its beginning on."""
        if self.tracer.waiting == MAX_WAITING:
            self.tracer = self._make_tracer()
        request = self.begin(HEADERS, self.tracer)
        self._parts.note_answered()
        self._parts.note_leg(
            self._opened, "https://up.example/v1", request.began_at, request.began_at,
            status="completed", http_status=200, error_code=None,
            usage=self._usage, usage_source="provider", said={"id": "chatcmpl-1", "model": "m"},
        )  # fmt: skip
        self.tracer.keep(request, self._facts, failed=False, is_known=True)

    def written(self) -> Callable[[], bytes]:
        """Return what the thread does for one span of a batch."""
        from gateway_project.lib.current_request import current  # noqa: PLC0415
        from gateway_project.lib.trace_exporter import KeptTrace  # noqa: PLC0415

        request = self.begin(HEADERS, self.tracer)
        self.whole()
        parts = current()
        kept = KeptTrace(parts or request, self._facts, 1_800_000_000.0, request.began_at + 1)
        return lambda: self._encode({"service.name": "tollgate"}, "t", self._spans_of(kept))


def _opened(request_id: str) -> tuple[Any, Any]:
    from tenants.ledger.records import Opened  # noqa: PLC0415
    from tenants.ledger.row_ids import row_id  # noqa: PLC0415
    from tenants.token_classes import Usage  # noqa: PLC0415

    opened = Opened(
        id=row_id(request_id, 0), leg=0, at_ms=0, tenant_id=1, tenant="acme", key_id=1, key="k",
        route="chat", alias="smart", provider="provider", upstream_model="m", input_estimate=100,
    )  # fmt: skip
    return opened, Usage(input_fresh=100, output_visible=50)


def _facts() -> Any:
    from responses_api.calls.outcome import refused_outcome  # noqa: PLC0415

    known = {
        "tenant": "acme", "key": "k", "door": "chat", "alias": "smart", "stream": False,
        "background": False, "socket": None,
    }  # fmt: skip
    return known, refused_outcome("completed", 200, None)


def measure() -> dict[str, float]:
    """Return microseconds by what was measured."""
    traced, untraced = _Traced(1.0), _Traced(0.0)
    return {
        "a call: its context, without a parent": microseconds(lambda: traced.begin(HEADERS)),
        "a call: its context, of a client": microseconds(
            lambda: traced.begin([*HEADERS, PARENT, STATE])
        ),
        "a call: all of it, not sampled": microseconds(untraced.whole),
        "a call: all of it, kept": microseconds(traced.whole),
        "the thread: a span": microseconds(traced.written()) / SPANS,
    }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        os.environ["TOLLGATE_DATA_DIR"] = folder
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
        import django  # noqa: PLC0415

        django.setup()
        sys.stdout.write(orjson.dumps(measure()).decode())


if __name__ == "__main__":
    main()
