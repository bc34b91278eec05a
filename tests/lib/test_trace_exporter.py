"""The exporter where a collector does not what it should, and how the settings of OTLP are read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from gateway_project.lib import ids, otlp, trace_exporter
from gateway_project.lib.current_request import CurrentRequest
from gateway_project.lib.env import Env, SettingError
from gateway_project.lib.otlp import SpanKind, TraceSpan
from gateway_project.lib.otlp_endpoint import OtlpEndpoint, read_headers
from gateway_project.lib.trace_context import TraceContext, begin
from gateway_project.lib.trace_exporter import MAX_QUEUED, KeptTrace, TraceExporter
from tests.support.collector import read
from tests.support.patience import until
from tests.support.receiver import Receiver

ENDPOINT, HEADERS = "TOLLGATE_OTLP_ENDPOINT", "TOLLGATE_OTLP_HEADERS"


def one_span(kept: KeptTrace) -> list[TraceSpan]:
    trace, at = kept.request.trace, kept.nanoseconds(kept.ended_at)
    kind = SpanKind.SERVER
    return [TraceSpan(trace.trace_id, trace.span_id, "", kept.facts, kind, at, at, {"n": 1})]


def exporter_to(receiver: Receiver, ratio: float = 1.0) -> TraceExporter:
    endpoint = OtlpEndpoint(f"http://127.0.0.1:{receiver.port}/otlp/", {})
    return TraceExporter(endpoint, ratio, {"service.name": "tollgate"}, one_span)


@contextmanager
def started(exporter: TraceExporter) -> Iterator[TraceExporter]:
    exporter.start()
    try:
        yield exporter
    finally:
        asyncio.run(exporter.stop())


def keep(exporter: TraceExporter, name: str = "x", *, failed: bool = False) -> None:
    request_id = ids.request_id()
    request = CurrentRequest(request_id, begin(request_id, []), exporter, 0.0)
    exporter.keep(request, name, failed=failed, is_known=True)


def has_dropped(exporter: TraceExporter, spans: int) -> bool:
    return exporter.unsent == spans


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(trace_exporter, "FIRST_PAUSE_SECONDS", 0.0)


def test_what_the_collector_could_not_take_is_sent_again() -> None:
    with Receiver((503, 429, 200)) as receiver, started(exporter_to(receiver)) as exporter:
        keep(exporter)
        exporter.send_now()
        receiver.wait_for(3)
        until(lambda: exporter.sent == 1)
    first, *others = receiver.received
    assert {each.body for each in others} == {first.body}
    assert first.path == "/otlp/v1/traces"
    assert [span.name for span in read(first.body)] == ["x"]


def test_what_it_refuses_for_good_is_dropped_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "tollgate.traces")
    with Receiver((400,)) as receiver, started(exporter_to(receiver)) as exporter:
        for dropped in (1, 2):
            keep(exporter)
            exporter.send_now()
            until(partial(has_dropped, exporter, dropped))
    assert len(receiver.received) == 2
    lines = [record for record in caplog.records if record.name == "tollgate.traces"]
    assert len(lines) == 1
    assert "status 400" in lines[0].getMessage()


def test_a_queue_that_is_full_drops_and_counts() -> None:
    with Receiver((0,)) as receiver:
        exporter = exporter_to(receiver)
        for _ in range(MAX_QUEUED + 7):
            keep(exporter)
        assert exporter.waiting == MAX_QUEUED
        assert exporter.overflowed == 7


def test_a_collector_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_exporter, "STOP_SECONDS", 0.05)
    with Receiver((0,)) as receiver:
        exporter = exporter_to(receiver)
        exporter.start()
        keep(exporter)
        exporter.send_now()
        receiver.wait_for(1)
        keep(exporter)
        asyncio.run(exporter.stop())  # comes back although nobody answers
        assert exporter.sent == 0


def test_failures_are_kept_beyond_the_share_up_to_a_bound() -> None:
    with Receiver() as receiver:
        exporter = exporter_to(receiver, ratio=0.0)
        keep(exporter)
        assert exporter.waiting == 0
        for _ in range(2 * trace_exporter.FAILURES_BURST):
            keep(exporter, failed=True)
        assert trace_exporter.FAILURES_BURST <= exporter.waiting < 2 * trace_exporter.FAILURES_BURST


def test_a_stranger_has_nothing_kept_by_wishing_for_it() -> None:
    with Receiver() as receiver:
        exporter = exporter_to(receiver)
        trace = TraceContext("a" * 32, "b" * 16, "c" * 16, True)
        request = CurrentRequest(ids.request_id(), trace, exporter, 0.0)
        exporter.keep(request, "x", failed=False, is_known=False)
        assert exporter.waiting == 0
        exporter.keep(request, "x", failed=False, is_known=True)
        assert exporter.waiting == 1


def test_what_makes_no_spans_does_not_end_the_exporter() -> None:
    with Receiver() as receiver, started(exporter_to(receiver)) as exporter:
        keep(exporter, name=None)  # type: ignore[arg-type]  # which no span can be called
        exporter.send_now()
        until(lambda: exporter.waiting == 0)
        keep(exporter, name="good")
        exporter.send_now()
        receiver.wait_for(1)


def test_texts_are_bounded_and_written_so_that_json_can_hold_them() -> None:
    told = {"long": "x" * 9000, "half": "\ud800", "list": ("a", "b"), "none": None, "no": False}
    span = TraceSpan("a" * 32, "b" * 16, "", "n", SpanKind.CLIENT, 1_800_000_000 * 10**9, 0, told)
    (read_again,) = read(otlp.encode({"service.name": "tollgate"}, "tollgate", [span]))
    assert read_again.attributes == {
        "long": "x" * otlp.MAX_TEXT, "half": "?", "list": ["a", "b"], "no": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "collector:4318",
        "ftp://collector",
        "http://",
        "http://user:secret@collector",
        "http://collector/?token=1",
        "http://collector:99999",
        "http://collector/a b",
    ],
)
def test_an_endpoint_that_is_none_names_its_variable_and_no_secret(url: str) -> None:
    with pytest.raises(SettingError, match=ENDPOINT) as raised:
        Env({ENDPOINT: url}).otlp_endpoint(ENDPOINT, HEADERS)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("text", ["nothing", "a b=1", "host=x", "x=%0d%0aevil: 1", "=1"])
def test_headers_that_are_none_name_their_variable_and_no_value(text: str) -> None:
    with pytest.raises(SettingError, match=HEADERS) as raised:
        Env({HEADERS: text}).otlp_endpoint(ENDPOINT, HEADERS)
    assert "evil" not in str(raised.value)


def test_headers_are_read_as_opentelemetry_writes_them() -> None:
    found = read_headers("Authorization=Bearer%20a%2Cb, x-team = one ")
    assert {name: value.reveal() for name, value in found.items()} == {
        "authorization": "Bearer a,b",
        "x-team": "one",
    }
