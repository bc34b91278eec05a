"""The image, built here, and what is in it, run as a container would run it (`make image-test`)."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy import building
from tests.deploy.building import Image
from tests.deploy.files import ROOT
from tests.support.patience import GIVE_UP_SECONDS, until

pytestmark = pytest.mark.proof

USER = 10001


class Container:
    """A program of the image as the first process of its own, with a data directory."""

    def __init__(self, image: Image, data: Path, arguments: list[str], **variables: str) -> None:
        environment = [
            *image.config["Env"],
            *(f"{key}={value}" for key, value in variables.items()),
        ]
        command = [
            "unshare", "--mount", "--pid", "--fork", "--kill-child",
            ROOT / "tests/deploy/tools/container.sh", image.root, data,
            "env", "-i", "-C", image.config["WorkingDir"], *environment, *arguments,
        ]  # fmt: skip
        self._log = data.with_name(f"{len(list(data.parent.iterdir()))}.log")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    @property
    def told(self) -> str:
        return self._log.read_text()

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

    def terminate(self) -> None:
        """Send SIGTERM to its first process, as whoever stops a container does."""
        outer = self._process.pid
        [first] = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)

    def end(self) -> int:
        return self._process.wait(GIVE_UP_SECONDS)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


Start = Callable[..., Container]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    if lacks := building.missing():
        pytest.skip(f"building needs {', '.join(lacks)}")
    with building.built() as image:
        yield image


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume, new."""
    place = tmp_path / "data"
    place.mkdir(mode=0o700)
    os.chown(place, USER, USER)
    return place


@pytest.fixture
def start(image: Image, data: Path) -> Iterator[Start]:
    started: list[Container] = []

    def start(*arguments: str, **variables: str) -> Container:
        command = [*image.config["Entrypoint"], *arguments]
        started.append(Container(image, data, command, **variables))
        return started[-1]

    yield start
    for it in started:
        it.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_the_image_says_how_it_is_run(image: Image):
    config = image.config

    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/opt/venv/bin/python", "manage.py"]
    assert config["Cmd"] == ["serve", "--host", "0.0.0.0"]
    assert config["Volumes"] == {"/var/lib/tollgate": {}}
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_image_holds_the_program_compiled_and_nothing_to_build_or_test_with(image: Image):
    app, packages = image.root / "app", image.root / "opt/venv/lib/python3.11/site-packages"

    found = {path.name for path in app.iterdir()} - {"__pycache__"}
    assert {"manage.py", "gateway_project", "tenants", "routing", "responses_api"} <= found
    assert not found & {"tests", "bench", "var", ".git", "Makefile"}
    sources = [*app.rglob("*.py"), *packages.glob("django/**/*.py")]
    compiled = [
        path
        for path in sources
        if (path.parent / f"__pycache__/{path.stem}.cpython-311.pyc").exists()
    ]
    assert len(compiled) > 0.99 * len(sources)  # templates of Django's own code are no Python
    assert (image.root / "usr/bin/pg_dump").exists()
    assert not (packages / "pip").exists()
    assert not (packages / "pytest").exists()


def bytecode(path: Path) -> Path:
    return path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc"


def test_nothing_of_it_belongs_to_whoever_runs_it(image: Image):
    owned = [
        path
        for place in ("app", "opt", "usr", "etc", "var")
        for path in (image.root / place).rglob("*")
        if not path.is_symlink() and path.stat().st_uid == USER
    ]

    assert owned == [image.root / "var/lib/tollgate"]


def test_it_serves_a_call_read_only_without_rights_and_ends_when_told(
    image: Image, data: Path, start: Start
):
    refused = start("serve")
    assert refused.end() == 1
    assert "The database is empty: run manage.py migrate" in refused.told
    assert start("migrate", "-v", "0").end() == 0

    port, sandbox = free_port(), free_port()
    serving = start(
        "serve", "--host", "0.0.0.0", "--port", str(port), "--quickstart", TOLLGATE_SANDBOX_PORT=str(sandbox)
    )  # fmt: skip
    until(lambda: "Tollgate serves" in serving.told or serving.is_over)
    assert not serving.is_over, serving.told
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").status_code == 200
        assert answer_of(client, data) == "completed"
        page = client.get("/console/login/", follow_redirects=True)
        assert page.status_code == 200
        style = re.findall(r'href="(/static/[^"]+\.css)"', page.text)[0]
        assert client.get(style).headers["content-type"].startswith("text/css")
    assert health(image, port) == 0
    assert health(image, free_port()) == 1

    serving.terminate()
    assert serving.end() == 0, serving.told
    assert {path.stat().st_uid for path in data.rglob("*")} == {USER}


def answer_of(client: httpx.Client, data: Path) -> Any:
    """Make a call with the key that was made at first start."""
    key = json.loads((data / "quickstart.json").read_text())["api_key"]
    made = client.post(
        "/v1/responses",
        headers={"Authorization": f"Bearer {key}"},
        json={"model": "sandbox-responses", "input": "Hello"},
        timeout=GIVE_UP_SECONDS,
    )
    return made.json()["status"]


def health(image: Image, port: int) -> int:
    """Return what the image's own health check says."""
    check = image.config["Healthcheck"]["Test"][1:]
    command = ["chroot", image.root, "env", "-C", "/app", *check, str(port)]
    return subprocess.run(command, check=False).returncode


def test_a_command_that_waits_ends_when_told_although_it_is_the_first_process(
    data: Path, start: Start
):
    with (data / "tollgate.sqlite3.migrate.lock").open("w") as lock:
        os.chown(lock.fileno(), USER, USER)
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = start("migrate")
        until(lambda: "Another process is migrating" in waiting.told or waiting.is_over)

        waiting.terminate()

        assert waiting.end() == 128 + signal.SIGTERM


def test_nothing_can_be_written_but_data_and_temporary_files(image: Image, data: Path):
    places = "/app /opt/venv /etc / /tmp /var/lib/tollgate"
    script = f"for place in {places}; do touch $place/x && echo $place; done"
    tried = Container(image, data, ["sh", "-c", script])
    tried.end()

    written = [line for line in tried.told.splitlines() if line.startswith("/")]
    assert written == ["/tmp", "/var/lib/tollgate"]
