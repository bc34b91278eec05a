"""After every test of a WebSocket nothing is left of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.conftest import nothing_is_left  # noqa: F401
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer
from tests.support.sockets import Socket, opened


@pytest.fixture
def ws(gateway: LiveGateway, acme: Customer) -> Iterator[Socket]:
    with opened(gateway, acme.headers) as socket:
        yield socket
    until(lambda: len(gateway.worker.services.registry.sockets) == 0)
