"""What every test of a fault ends with: nothing is left of its calls."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway_project.lib.log import CallLog
from tests.faults.wire import close_all, until
from tests.support.live import LiveGateway

Outcomes = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No running exchange, no connection to an upstream, no task."""
    if "gateway" not in request.fixturenames:
        yield
        return
    gateway: LiveGateway = request.getfixturevalue("gateway")
    tasks = _tasks(gateway)
    yield
    close_all()
    gateway.idle()
    until(lambda: gateway.worker.transport.open_connections == 0)
    until(lambda: _tasks(gateway) <= tasks)
    assert len(gateway.worker.registry) == 0


def _tasks(gateway: LiveGateway) -> set[str]:
    """The names of the tasks that live on the gateway's loop, but the one that asks."""
    return gateway.call(
        lambda: {
            task.get_name()
            for task in asyncio.all_tasks()
            if task is not asyncio.current_task() and not task.done()
        }
    )


@pytest.fixture
def outcomes(gateway: LiveGateway) -> Iterator[Outcomes]:
    """The call log's lines, as they were written to the process's stderr."""
    stderr = gateway.worker.call_log
    with tempfile.TemporaryFile() as file:
        gateway.worker.call_log = CallLog(file.fileno(), as_json=True)

        def lines() -> list[dict[str, Any]]:
            gateway.idle()
            file.seek(0)
            return [json.loads(line) for line in file.read().splitlines()]

        yield lines
        gateway.worker.call_log = stderr
