"""`serve --wait`: a gateway beside a job that migrates says what it waits for, and goes on by itself."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx

from tests.processes.served import Program, Served, environment, eventually, manage
from tests.support import warm
from tests.support.patience import GIVE_UP_SECONDS, growing

WAITS = ("--wait", str(GIVE_UP_SECONDS))


def free_address() -> tuple[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    return port, f"http://127.0.0.1:{port}"


def answer(url: str, method: str = "GET", **request: object) -> httpx.Response | None:
    try:
        return httpx.request(method, url, trust_env=False, timeout=GIVE_UP_SECONDS, **request)  # type: ignore[arg-type]
    except httpx.TransportError:
        return None


def test_it_is_alive_and_not_ready_until_the_tables_are_there_and_then_serves(
    tmp_path: Path,
) -> None:
    variables = environment(tmp_path)
    port, url = free_address()
    served = Served(variables, "--port", port, *WAITS)
    try:
        eventually(lambda: answer(f"{url}/healthz") is not None)
        alive, ready = answer(f"{url}/healthz"), answer(f"{url}/readyz")
        assert alive is not None
        assert ready is not None
        assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
        assert ready.status_code == 503
        assert ready.json()["checks"]["database"] is False
        assert ready.json()["warnings"] == ["The database is empty."]
        call = answer(f"{url}/v1/responses", "POST", json={"input": "x" * 100_000})
        assert call is not None
        assert (call.status_code, call.headers["retry-after"]) == (503, "2")
        assert call.json()["error"]["code"] == "service_unavailable"
        eventually(lambda: "Waiting: The database is empty: run manage.py migrate" in served.stderr)
        manage(variables, "migrate")
        with served:
            assert served.root_url == url
            assert served.ready().status_code == 200
            served.signal()
            assert served.wait() == 0
    finally:
        served.__exit__()


def test_it_ends_when_it_is_told_to_or_the_time_is_over(tmp_path: Path) -> None:
    away = environment(tmp_path, DATABASE_URL="postgres://nobody:hidden@127.0.0.1:1/none")
    port, url = free_address()
    with Program(away, "serve", "--port", port, *WAITS) as waiting:
        eventually(lambda: answer(f"{url}/readyz") is not None)
        ready = answer(f"{url}/readyz")
        assert ready is not None
        # What the driver says of hosts and people is for the log.
        assert ready.json()["warnings"] == ["The database cannot be reached."]
        waiting.signal(signal.SIGTERM)
        assert waiting.end() == 0
        assert "127.0.0.1" in waiting.stderr
        assert "hidden" not in waiting.stderr
    celery = {"TOLLGATE_TASKS": "celery", "REDIS_URL": "redis://127.0.0.1:9/0"}
    for arguments in (("serve", "--port", "0"), ("background_worker",)):
        for seconds in growing(1.0):  # in which a busy machine has looked once
            command = ["manage.py", *arguments, "--wait", str(seconds)]
            ended = warm.run(command, {**away, **celery}, GIVE_UP_SECONDS)
            if "Waiting: " in ended.stderr:
                break
        assert ended.returncode == 1, arguments
        assert "CommandError: The database cannot be reached" in ended.stderr
        assert ended.stderr.count("Waiting: ") == 1
