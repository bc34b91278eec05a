"""`manage.py serve` as a process of its own, with a data directory of its own."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from tests.plugins.environment import PATIENT
from tests.support import warm
from tests.support.patience import GIVE_UP_SECONDS, until

READY = "Tollgate serves "
# What is started so ends with the test run, even if that is killed.
TETHERED = ("-m", "tests.support.tethered")


# Several workers want a Redis. Where a test is not about it, one that is away will do.
REDIS_AWAY = "redis://127.0.0.1:1/0"


def environment(data_dir: Path, **variables: str) -> dict[str, str]:
    """Return an environment that has nothing of the test run's own settings."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {
        **inherited,
        "TOLLGATE_DATA_DIR": str(data_dir),
        "TOLLGATE_LOG_FORMAT": "json",
        "TOLLGATE_ALLOWED_HOSTS": "localhost,127.0.0.1,gateway",
        **PATIENT,
        "TOLLGATE_FAILED_AUTH_LIMIT": "none",  # everybody is at one address, also with a revoked key
        **variables,
    }


def manage(variables: dict[str, str], *arguments: str, seconds: float = GIVE_UP_SECONDS) -> str:
    """Run a management command and return what it prints."""
    ended = warm.run(["manage.py", *arguments], variables, seconds)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def shell(variables: dict[str, str], script: str) -> Any:
    """Run a script with Django set up; it prints one JSON value."""
    return json.loads(manage(variables, "shell", "--no-imports", "-v", "0", "-c", script))


HOLD = """
import sys
print("ready", flush=True)
sys.stdin.readline()
"""


@contextmanager
def held_back(variables: dict[str, str], script: str) -> Iterator[Callable[[], Any]]:
    """A script as for `shell` that has begun and waits to be called: starting Django takes seconds on a busy
    machine."""
    arguments = ["shell", "--no-imports", "-v", "0", "-c", HOLD + script]
    with Program(variables, *arguments, before=()) as program:  # it reads
        until(lambda: program.stdout == "ready\n")

        def go() -> Any:
            program.say("\n")
            assert program.end() == 0, program.stderr
            return json.loads(program.stdout.removeprefix("ready\n"))

        yield go


class Program:
    """A management command that runs until it is stopped; `stderr` grows meanwhile."""

    def __init__(
        self,
        variables: dict[str, str],
        *arguments: str,
        before: tuple[str, ...] = TETHERED,
        listener: socket.socket | None = None,
    ) -> None:
        command = [*before, "manage.py", *arguments]
        self._process = warm.start(command, variables, listener=listener)
        self.stdout = ""
        self.stderr = ""
        self._readers = [
            threading.Thread(target=self._read_out),
            threading.Thread(target=self._read),
        ]

    def __enter__(self) -> Self:
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(GIVE_UP_SECONDS)
        for reader in self._readers:
            reader.join(GIVE_UP_SECONDS)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = GIVE_UP_SECONDS) -> int:
        return self._process.wait(seconds)

    def end(self) -> int:
        """Wait until it has ended and all it wrote was read."""
        code = self.wait()
        for reader in self._readers:
            reader.join(GIVE_UP_SECONDS)
        return code

    def say(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def _read_out(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.stdout += line

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.stderr += line


class Served:
    """A running gateway; `stderr` grows while it runs."""

    def __init__(
        self, variables: dict[str, str], *arguments: str, starts_cold: bool = False
    ) -> None:
        self.variables = variables
        self._process = warm.start(
            [*TETHERED, "manage.py", "serve", "--port", "0", *arguments],
            variables,
            leads_session=True,
            is_cold=starts_cold,
        )
        self.stdout = ""
        self.stderr = ""
        self._announced: queue.Queue[str] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read_stdout),
            threading.Thread(target=self._read_stderr),
        ]
        for reader in self._readers:
            reader.start()
        self.root_url = ""

    def __enter__(self) -> Self:
        try:
            announced = self._announced.get(timeout=GIVE_UP_SECONDS)
            assert announced, self.stderr
        except BaseException:
            self.__exit__()
            raise
        self.root_url = announced.removeprefix(READY).partition("/v1")[0]
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            children = self.children
            self._process.kill()
            for pid in children:
                kill(pid, signal.SIGKILL)
        self.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def children(self) -> list[int]:
        """Workers and helpers, in the order they were started."""
        try:
            listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            return []
        return [int(pid) for pid in listed.split()]

    @property
    def workers(self) -> list[int]:
        """The child processes that serve requests."""
        return self.named("worker")

    @contextmanager
    def alone(self, worker: int) -> Iterator[None]:
        """Stop the other workers meanwhile: whoever connects now is accepted by this one.

        One that was stopped refuses calls until it has read the configuration's revision again.
        """
        others = [pid for pid in self.workers if pid != worker]
        for pid in others:
            kill(pid, signal.SIGSTOP)
        try:
            eventually(lambda: self.is_ready)
            yield
        finally:
            for pid in others:
                kill(pid, signal.SIGCONT)

    def named(self, name: str) -> list[int]:
        """Return the child processes with this name."""
        return [pid for pid in self.children if _name(pid).startswith(f"tollgate:{name}"[:15])]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log, line by line."""
        return [json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")]

    def signal(self, number: int = signal.SIGTERM) -> float:
        """Send a signal; return the moment at which it was sent."""
        self._process.send_signal(number)
        return time.monotonic()

    def wait(self, seconds: float = GIVE_UP_SECONDS) -> int:
        """Wait until the process has ended and everything it wrote was read."""
        code = self._process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
            assert not reader.is_alive(), "something still holds the process's output"
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()
        return code

    def helper(self, name: str) -> int:
        """Return the only child process with this name, once it has it: it is forked before."""
        eventually(lambda: len(self.named(name)) == 1)
        (found,) = self.named(name)
        return found

    @property
    def is_ready(self) -> bool:
        """Tell whether it answers, and that it is ready: a worker may just be killed."""
        try:
            return self.ready().status_code == 200
        except httpx.HTTPError:
            return False

    def ready(self) -> httpx.Response:
        return httpx.get(f"{self.root_url}/readyz", timeout=GIVE_UP_SECONDS, trust_env=False)

    def _read_stdout(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.stdout += line
            if line.startswith(READY):
                self._announced.put(line)
        self._announced.put("")

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.stderr += line


def kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def is_running(pid: int) -> bool:
    """Tell whether the process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def eventually(holds: Callable[[], bool], seconds: float = GIVE_UP_SECONDS) -> None:
    until(holds, seconds)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return ""
