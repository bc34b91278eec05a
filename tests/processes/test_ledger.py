"""A call in a spool survives the death of the process that wrote it, and `serve` books it by itself."""

from __future__ import annotations

import signal
from contextlib import closing
from typing import Any

import pytest

from gateway_project.sandbox import SandboxServer
from tests.processes.conftest import Prepared, Serve
from tests.processes.money_watch import Reader
from tests.processes.served import environment, eventually, kill
from tests.support import wire
from tests.support.client import question
from tests.support.wire import Wire

ROWS = """
SELECT status, usage_source, output_visible, input_fresh, alias FROM tenants_usagerow ORDER BY id
"""


def booked(prepared: Prepared) -> list[tuple[Any, ...]]:
    with closing(Reader(environment(prepared.data_dir))) as query:
        return query(ROWS)


def test_calls_are_booked_while_the_gateway_serves(serve: Serve, prepared: Prepared) -> None:
    served = serve()
    assert wire.ask(served.root_url, "chat", prepared, "sandbox-chat").status == 200
    assert wire.ask(served.root_url, "responses", prepared, "sandbox-anthropic").status == 200
    eventually(lambda: len(booked(prepared)) == 2)
    assert [row[:2] for row in booked(prepared)] == [("completed", "provider")] * 2


def test_a_stream_whose_worker_is_killed_is_booked_at_what_was_noted(
    serve: Serve, prepared: Prepared, provider: SandboxServer
) -> None:
    served = serve()
    client = Wire(served.root_url)
    body = question("chat", "endless", "[pace=2]", stream=True)
    client.send(wire.request("chat", prepared, body))
    while client.received.count(b'"content":') < 200:
        assert client.receive()
    (worker,) = served.workers
    kill(worker, signal.SIGKILL)
    eventually(lambda: len(booked(prepared)) == 1)
    ((status, source, output, entered, alias),) = booked(prepared)
    assert (status, source, alias) == ("abandoned", "counted", "endless")
    assert output >= 64
    assert entered > 0


@pytest.mark.long
def test_no_call_is_lost_or_doubled_however_often_worker_and_ingester_are_killed(
    serve: Serve, prepared: Prepared, provider: SandboxServer
) -> None:
    served = serve()
    answered = 0
    for attempt in range(6):
        for _ in range(20):
            answer = wire.ask(served.root_url, "chat", prepared, "sandbox-chat")
            answered += answer.status == 200
        victims = served.named("ingester") if attempt % 2 else served.workers
        for victim in victims:
            kill(victim, signal.SIGKILL)
        eventually(lambda: bool(served.workers) and served.is_ready)
    eventually(lambda: len(booked(prepared)) == answered)
    assert answered == len(provider.calls) == 120
    assert {row[:2] for row in booked(prepared)} == {("completed", "provider")}
