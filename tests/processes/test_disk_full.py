"""A real disk that is full: no call goes upstream that could not be written down, and none is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_project.sandbox import SandboxServer
from tests.processes.conftest import Prepared, Serve
from tests.processes.served import Served, environment, eventually, shell
from tests.support import wire
from tests.support.client import question
from tests.support.wire import Wire

BOOKED = """
import json
from tenants.models import UsageRow
print(json.dumps(list(UsageRow.objects.order_by("id").values_list("status", "output_visible"))))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """8 MB of memory as a disk of its own."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tollgate-test", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Write a file until there is no room for another byte."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def ask(served: Served, prepared: Prepared) -> wire.Answer:
    return wire.ask(served.root_url, "chat", prepared, "sandbox-chat")


@pytest.mark.parametrize("least_free", ["5", "0"], ids=["almost full", "no byte left"])
@pytest.mark.some_of("full disks")
def test_a_full_disk_refuses_work_and_loses_nothing(
    serve: Serve, prepared: Prepared, provider: SandboxServer, small_disk: Path, least_free: str
) -> None:
    served = serve(
        TOLLGATE_SPOOL_DIR=str(small_disk / "spool"), TOLLGATE_SPOOL_LEAST_FREE_PERCENT=least_free
    )
    assert ask(served, prepared).status == 200
    running = Wire(served.root_url)
    body = question("chat", "sandbox-chat", "[chunks=150] [pace=20]", stream=True)
    running.send(wire.request("chat", prepared, body))
    while running.received.count(b'"content":') < 5:
        assert running.receive()

    ballast = fill(small_disk)
    eventually(lambda: ask(served, prepared).status == 503)
    eventually(lambda: not served.is_ready)
    assert served.ready().json()["checks"]["spool"] is False
    calls = len(provider.calls)
    refused = [ask(served, prepared) for _ in range(5)]
    assert {answer.status for answer in refused} == {503}
    assert "retry-after" in refused[0].headers
    assert len(provider.calls) == calls
    answer = running.answer()  # what ran goes on to its end
    assert answer.data[-1] == b"[DONE]"

    ballast.unlink()
    eventually(lambda: served.is_ready)
    eventually(lambda: ask(served, prepared).status == 200)
    served.signal()
    assert served.wait() == 0
    rows = shell(environment(prepared.data_dir), BOOKED)
    assert len(rows) == len(provider.calls)
    assert {status for status, _ in rows} == {"completed"}
    assert max(output for _, output in rows) >= 150
