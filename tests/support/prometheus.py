"""A real Prometheus, where there is one: it reads a gateway, and is asked for what it read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from bench.processes import free_port
from tests.support.patience import GIVE_UP_SECONDS, until

PROGRAM = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
IS_REQUIRED = os.environ.get("TOLLGATE_TESTS_REQUIRE_PROMETHEUS") == "1"


def needs_prometheus() -> None:
    """Skip the test where Prometheus is not installed, unless this run must have it."""
    if PROGRAM is None or PROMTOOL is None:
        assert not IS_REQUIRED, "prometheus and promtool are not installed"
        pytest.skip("prometheus and promtool are not installed")


class Prometheus:
    """Reads one target each second, from `with` on."""

    def __init__(self, folder: Path, target: str, token: str | None = None) -> None:
        self._port = free_port()
        self._folder = folder
        job: dict[str, Any] = {"job_name": "tollgate", "static_configs": [{"targets": [target]}]}
        if token is not None:
            job["authorization"] = {"credentials": token}
        settings = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
        (folder / "prometheus.json").write_text(json.dumps(settings))  # YAML is a superset of it
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        assert PROGRAM is not None
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    PROGRAM,
                    f"--config.file={self._folder / 'prometheus.json'}",
                    f"--storage.tsdb.path={self._folder / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(GIVE_UP_SECONDS)

    def ask(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return what an expression gives now: labels and numbers; nothing while it does not answer yet."""
        try:
            answer = httpx.get(
                f"http://127.0.0.1:{self._port}/api/v1/query",
                params={"query": expression},
                timeout=GIVE_UP_SECONDS,
                trust_env=False,
            )
        except httpx.TransportError:
            return []
        if answer.status_code == 503:  # it still starts
            return []
        assert answer.status_code == 200, answer.text
        found = answer.json()["data"]["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def number(self, expression: str) -> float:
        """Return the one number that an expression gives; 0 if it gives none."""
        return sum(number for _, number in self.ask(expression))

    def wait_for(self, expression: str, number: float) -> None:
        until(lambda: self.number(expression) == number)
