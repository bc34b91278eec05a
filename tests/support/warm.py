"""Start Python programs that need Django without the two seconds that importing it takes.

They are forks of a process that has imported it (`tests/support/warm_parent.py`), one for each process of a
run. The proof starts each as an operator does, as does a run where the system cannot fork so, and a test that
wants it.
"""

from __future__ import annotations

import array
import atexit
import itertools
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import IO, Any, Protocol

from tests.plugins import costs
from tests.plugins.tiers import TIER, Tier

ROOT = Path(__file__).resolve().parent.parent.parent
# The settings of these are others (`LATE_CONSOLE`).
SERVERS = frozenset({"background_worker", "beat", "serve"})
# A program that systemd starts finds its own number in its environment, and the socket as its fourth file.
HANDED_OVER = ("/bin/bash", "-c", 'exec env LISTEN_PID=$$ "$@" 3<&"$FILE"', "bash")
CONSOLE = "gateway_project.console_urls"
CAN_FORK = hasattr(os, "pidfd_open") and TIER is not Tier.PROOF


class Running(Protocol):
    """Name what tests use of `subprocess.Popen`, with text for streams."""

    stdin: IO[str] | None
    stdout: IO[str] | None
    stderr: IO[str] | None

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


def start(
    arguments: Sequence[str],
    environment: dict[str, str],
    *,
    leads_session: bool = False,
    is_cold: bool = False,
    listener: socket.socket | None = None,
) -> Running:
    """Start what `python ARGUMENTS` runs, with a pipe for each of its standard files. `listener` it gets as a
    service of systemd gets the socket of its unit.
    """
    if listener is not None:
        environment = {**environment, "LISTEN_FDS": "1", "FILE": str(listener.fileno())}
    if is_cold or not _can_fork(environment):
        given = [] if listener is None else [listener.fileno()]
        return Popen(
            [*(HANDED_OVER if given else ()), sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=leads_session,
            pass_fds=given,
        )
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = (os.pipe() for _ in "123")
    files = [in_read, out_write, err_write]
    if listener is not None:
        files.append(os.dup(listener.fileno()))
    forked = Forked(arguments, environment, leads_session, files)
    forked.stdin, forked.stdout, forked.stderr = (
        os.fdopen(in_write, "w"),
        os.fdopen(out_read),
        os.fdopen(err_read),
    )
    return forked


def run(
    arguments: Sequence[str], environment: dict[str, str], seconds: float, *, is_cold: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run what `python ARGUMENTS` runs to its end, without input."""
    if is_cold or not _can_fork(environment):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    with (
        open(os.devnull, "rb") as nothing,  # noqa: PTH123 - a descriptor is all that is wanted
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        files = [os.dup(file.fileno()) for file in (nothing, out, err)]
        forked = Forked(arguments, environment, False, files)
        try:
            code = forked.wait(seconds)
        except subprocess.TimeoutExpired:
            forked.kill()
            forked.wait()
            raise
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(list(arguments), code, out.read(), err.read())


def _can_fork(environment: dict[str, str]) -> bool:
    return CAN_FORK and not any(name.startswith("PYTHON") for name in environment)


class Forked:
    """A program that is a fork of the warm process; its standard files are closed here once it has them."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: dict[str, str],
        leads_session: bool,
        files: Sequence[int],
        parent: _Parent | None = None,
    ) -> None:
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        self.returncode: int | None = None
        self._arguments = list(arguments)
        self._told, telling = os.pipe()
        program = {
            "arguments": self._arguments,
            "environment": environment,
            "leads_session": leads_session,
        }
        try:
            asked = parent or _parent_for(self._arguments, environment)
            asked.ask(program, [*files, telling])
        finally:
            for file in (*files, telling):
                os.close(file)
        self._heard = b""
        self.pid = int(self._hear_line())

    def _hear_line(self) -> bytes:
        while b"\n" not in self._heard:
            heard = os.read(self._told, 1024)
            assert heard, "the warm process has ended"
            self._heard += heard
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self._arguments, timeout or 0)
            self.returncode, seconds = json.loads(self._hear_line())
            costs.add_elsewhere(seconds)
            os.close(self._told)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sig: int) -> None:
        # Not to whoever has its number next.
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(9)


class _Parent:
    """The process whose forks the programs are; it ends when its socket closes."""

    def __init__(self, start: Callable[[int], Popen[bytes] | Forked]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = start(theirs.detach())
        atexit.register(self._end)

    def ask(self, program: dict[str, Any], files: list[int]) -> None:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))
        self._control.sendmsg([json.dumps(program).encode()], [rights])

    def _end(self) -> None:
        self._control.close()
        self._process.wait()


def _importing(kind: str, environment: dict[str, str]) -> _Parent:
    """Return one that begins with nothing."""
    home = tempfile.mkdtemp(prefix="tollgate-warm-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)

    def start(control: int) -> Popen[bytes]:
        try:
            return Popen(
                [sys.executable, "-m", "tests.support.warm_parent", kind, str(control)],
                cwd=ROOT,
                env={
                    **environment,
                    "TOLLGATE_DATA_DIR": home,
                    "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
                },
                pass_fds=[control],
                stdin=subprocess.DEVNULL,
            )
        finally:
            os.close(control)

    return _Parent(start)


def _with_console(parent: _Parent) -> _Parent:
    """Return a fork of this one that imports the console too."""
    return _Parent(lambda control: Forked([CONSOLE], {}, False, [control], parent))


_parents: dict[tuple[str, ...], _Parent] = {}


def _parent_for(arguments: Sequence[str], environment: dict[str, str]) -> _Parent:
    """Return the parent whose imports read what this program's would: those of servers leave the console out,
    unless they have several workers, and Celery's read more."""
    kind = "serve" if not SERVERS.isdisjoint(arguments[:4]) else "command"
    tasks = environment.get("TOLLGATE_TASKS", "")
    family = (kind, tasks)
    if family not in _parents:
        inherited = ("PATH", "HOME")
        kept: dict[str, str] = {
            name: environment[name] for name in inherited if name in environment
        }
        if tasks:  # which needs a Redis: each program has its own
            kept |= {"TOLLGATE_TASKS": tasks, "REDIS_URL": environment.get("REDIS_URL", "")}
        _parents[family] = _importing(kind, {**kept, "TOLLGATE_LOG_FORMAT": "json"})
    if not _has_several_workers(arguments):
        return _parents[family]
    if (*family, CONSOLE) not in _parents:
        _parents[*family, CONSOLE] = _with_console(_parents[family])
    return _parents[*family, CONSOLE]


def _has_several_workers(arguments: Sequence[str]) -> bool:
    return any(
        name == "--workers" and number != "1" for name, number in itertools.pairwise(arguments)
    )
