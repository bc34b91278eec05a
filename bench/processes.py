"""Start the measured processes, wait until they answer, and stop them."""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60
STOP_SECONDS = 40
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


class NotReady(RuntimeError):
    """A process ended or did not answer in time; its last words are in the message."""


def environment(data_dir: Path, **variables: str) -> dict[str, str]:
    """Return an environment without the caller's settings: the defaults are what is measured."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, "TOLLGATE_DATA_DIR": str(data_dir), **variables}


def free_port() -> int:
    """Return a port nobody has, below those that the kernel hands out: one of them another process could be
    given before it is used.
    """
    while True:
        port = 20_000 + secrets.randbelow(8_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def running(arguments: list[str], variables: Mapping[str, str], log: Path) -> Iterator[int]:
    """Run a Python process of this environment and yield its process id; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=variables, stdout=output, stderr=output
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(port: int, path: str, log: Path) -> None:
    """Return when GET `path` answers 200. Raises NotReady."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if _answers(port, path):
            return
        time.sleep(0.05)
    raise NotReady(f"Nothing answered on port {port}: {log.read_text(errors='replace')[-2000:]}")


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def only_worker(pid: int) -> int:
    """Return the one worker of a supervisor. Raises NotReady if it has none or several."""
    workers = [child for child in _children(pid) if _name(child).startswith("tollgate:worker")]
    if len(workers) != 1:
        raise NotReady(f"Expected one worker, found {len(workers)}.")
    return workers[0]


def serving(pid: int) -> tuple[int, ...]:
    """Return a supervisor and its processes, but for the built-in sandbox, which no real call meets."""
    return pid, *(child for child in _children(pid) if _name(child) != "tollgate:sandbox")


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
