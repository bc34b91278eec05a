"""Two workers with a Redis: what both run is seen from either, and a call is stopped wherever it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from gateway_project.sandbox import SandboxServer
from tests.processes.conftest import Prepared, Serve
from tests.processes.served import Served, environment, eventually, manage, shell
from tests.support import warm, wire
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.redis_server import PROGRAM, RedisServer
from tests.support.wire import Wire

PEOPLE = """
import json
from tenants.access.access import OPERATOR
from tenants.keys import api_tokens
from tests.support import console_session
_, token = api_tokens.create(OPERATOR, "ops", ["*"])
print(json.dumps([token.reveal(), console_session.operator().cookie]))
"""


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[RedisServer]:
    if PROGRAM is None:
        pytest.skip("redis-server is not installed")
    found = RedisServer(tmp_path)
    found.start()
    yield found
    found.stop()


def running(served: Served, token: str) -> dict[str, Any]:
    answer = httpx.get(
        f"{served.root_url}/api/v1/in-flight",
        headers={"authorization": f"Bearer {token}"},
        timeout=GIVE_UP_SECONDS,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_in_flight_shows_the_calls_of_both_workers_and_stops_those_of_either(
    serve: Serve, prepared: Prepared, provider: SandboxServer, private_redis: RedisServer
) -> None:
    variables = environment(prepared.data_dir, REDIS_URL=private_redis.url)
    token, cookie = shell(variables, PEOPLE)
    served = serve("--workers", "2", REDIS_URL=private_redis.url, TOLLGATE_API_LIMITS="none")

    def is_gone(request_id: str) -> bool:
        command = ["manage.py", "stop_request", request_id, "--json"]
        warm.run(command, variables, GIVE_UP_SECONDS)
        found = running(served, token)
        is_told = found["workers_answered"] == 2
        return is_told and request_id not in {each["request_id"] for each in found["data"]}

    with ExitStack() as stack:
        streams: list[Wire] = []

        def both_run_some() -> bool:
            """Begin one stream more, on a connection that either may get."""
            client = wire.started(served.root_url, "chat", prepared, "endless")
            streams.append(stack.enter_context(client))
            client.wait_for(b'"content":')
            found = running(served, token)
            return {row["pid"] for row in found["data"]} == set(served.workers)

        eventually(both_run_some)

        rows: list[Any] = []

        def all_are_told() -> bool:
            found = running(served, token)
            rows[:] = found["data"]
            answered = found["workers_asked"], found["workers_answered"]
            return (*answered, found["total"]) == (2, 2, len(streams))

        eventually(all_are_told)

        # The console's socket is of one of them, and tells of both.
        socket = stack.enter_context(
            connect(
                served.root_url.replace("http", "ws") + "/console/ws/",
                additional_headers={"cookie": f"sessionid={cookie}", "origin": served.root_url},
                open_timeout=GIVE_UP_SECONDS,
                proxy=None,
            )
        )
        socket.send(json.dumps({"watch": "in-flight", "as": "1"}))
        told = json.loads(socket.recv(GIVE_UP_SECONDS))["data"]
        while len(told["calls"]) < len(streams):  # a worker was too busy to answer in time
            told = json.loads(socket.recv(GIVE_UP_SECONDS))["data"]
        pids = {int(call["worker"].rpartition(" ")[2]) for call in told["calls"]}
        assert pids == set(served.workers)

        # One of each, by the command, which is in neither process. On a busy machine a worker may be too late
        # to say what it has done.
        for pid in served.workers:
            row = next(each for each in rows if each["pid"] == pid)
            eventually(partial(is_gone, row["request_id"]))
        eventually(lambda: [call.ended for call in provider.calls].count("client_closed") == 2)
        eventually(lambda: running(served, token)["total"] == len(streams) - 2)


def test_without_redis_a_command_says_where_to_look(prepared: Prepared) -> None:
    with pytest.raises(AssertionError, match="REDIS_URL is not set"):
        manage(environment(prepared.data_dir), "in_flight")
