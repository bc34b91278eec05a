"""Equal requests at once over two server processes: one asks a model, all are answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway_project.sandbox import SandboxServer
from tests.processes.conftest import Prepared
from tests.processes.served import Served, environment, shell
from tests.support import wire
from tests.support.client import question
from tests.support.redis_server import PROGRAM, RedisServer
from tests.support.wire import Answer, Wire

REQUESTS = 64
KEEPS = """
from routing.models import Alias
Alias.objects.update(cache_seconds=600)
print("null")
"""


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    if PROGRAM is None:
        pytest.skip("needs redis-server")
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def two(prepared: Prepared, redis_server: RedisServer) -> Iterator[tuple[Served, Served]]:
    """Two server processes with one database and one Redis."""
    shell(environment(prepared.data_dir), KEEPS)
    patient = {"DJANGO_SETTINGS_MODULE": "tests.processes.patient"}
    variables = environment(prepared.data_dir, REDIS_URL=redis_server.url, **patient)
    with ExitStack() as running:
        one, other = Served(variables), Served(variables)
        yield running.enter_context(one), running.enter_context(other)


def test_64_equal_requests_at_once_on_two_processes_are_one_call_upstream(
    two: tuple[Served, Served], prepared: Prepared, provider: SandboxServer
) -> None:
    for door, stream in (("chat", False), ("responses", True)):
        provider.calls.clear()
        body = question(door, f"sandbox-{door}", "[wait=1000] Hi", stream, temperature=0)

        def ask(served: Served, door: str = door, body: object = body) -> Answer:
            with Wire(served.root_url) as client:
                client.send(wire.request(door, prepared, body))
                return client.answer()

        with ThreadPoolExecutor(REQUESTS) as pool:
            answers = list(pool.map(ask, two * (REQUESTS // 2)))

        assert [answer.status for answer in answers] == [200] * REQUESTS
        assert all(answer.is_whole for answer in answers)
        said = Counter(answer.headers["x-tollgate-cache"] for answer in answers)
        assert said == {"miss": 1, "hit": REQUESTS - 1}
        assert len(provider.calls) == 1
