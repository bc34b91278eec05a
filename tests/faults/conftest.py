"""After every test of a fault nothing is left of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.wire import close_all


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
    until(lambda: gateway.worker.services.transport.open_connections == 0)
    until(lambda: _tasks(gateway) <= tasks)
    assert len(gateway.worker.services.registry) == 0


def _tasks(gateway: LiveGateway) -> set[str]:
    """The names of the tasks that live on the gateway's loop, but the one that asks."""
    return gateway.call(
        lambda: {
            task.get_name()
            for task in asyncio.all_tasks()
            if task is not asyncio.current_task() and not task.done()
        }
    )
