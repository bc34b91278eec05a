"""The parent process: binds the port, runs the workers and the sandbox, replaces what dies or is stuck, and
gives way to a gateway that takes over.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from errno import EADDRINUSE
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.db import connections

from gateway_project.lib import clock
from gateway_project.lib.heartbeat import BEAT_SECONDS, STUCK_SECONDS
from gateway_project.serving import systemd
from gateway_project.serving.server import SHORTLY, UNTIL_DRAINED, run_worker
from gateway_project.serving.succession import Succession
from gateway_project.serving.watch import LOOK_SECONDS, STACKS_SIGNAL, Watch

logger = logging.getLogger("tollgate.serve")

BACKLOG = 2048
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
RESTART_PAUSE_SECONDS = 1.0
# How long a stuck worker is given to write its stacks down before it is killed.
STACKS_SECONDS = 1.0
# What has not ended so long after the drain time is killed.
OVERTIME_SECONDS = 5.0
# By then a gateway that takes over is ready, or leaves the port to the one that serves.
TAKEOVER_SECONDS = 60.0
# How much later than the gateway's own limit the kernel gives a client up that takes nothing.
STALL_MARGIN_SECONDS = 2.0
_fork = multiprocessing.get_context("fork")


class PortInUse(OSError):
    """The address cannot be bound; the message says why."""


class TakeoverFailed(Exception):
    """This gateway did not become ready, and the one before it goes on; the message says why."""


Start = Callable[[Connection, Watch], None]


@dataclass(slots=True)
class Child:
    """A process we keep alive. `line` closes when either end dies."""

    name: str
    start: Start
    process: BaseProcess
    line: Connection
    started_at: float
    watch: Watch

    @property
    def is_worker(self) -> bool:
        return self.name.startswith("worker-")


class Supervisor:
    """Runs until SIGTERM, SIGINT or a successor, then waits for the workers to drain."""

    def __init__(
        self,
        listener: socket.socket,
        workers: int,
        on_ready: Callable[[], None],
        succession: Succession,
    ) -> None:
        self._listener = listener
        self._workers = workers
        self._on_ready = on_ready
        self._succession = succession
        self._failure: str | None = None
        self._give_up_at = clock.monotonic() + TAKEOVER_SECONDS
        # Workers that were not ready yet, or have died since, until all of them are.
        self._unready = {_name_of(number) for number in range(workers)}
        self._has_begun = False
        self._children: list[Child] = []
        self._stopping = False
        self._is_signalled = False
        self._kill_at = float("inf")
        self._looked_at = clock.monotonic()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)

    def run(self, helpers: dict[str, Callable[[], None]]) -> None:
        """Serve until stopped. `helpers` are further processes to keep alive, by name.

        Raise TakeoverFailed.
        """
        connections.close_all()  # a connection must not be shared by two processes
        for sig in STOP_SIGNALS:
            signal.signal(sig, self._on_signal)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        for name, serve in helpers.items():
            self._spawn(name, partial(_serve_beside, serve))
        for number in range(self._workers):
            self._spawn(_name_of(number), self._serve)
        self._supervise()
        if self._failure is not None:
            raise TakeoverFailed(self._failure)

    def _serve(self, line: Connection, watch: Watch) -> None:
        run_worker(self._listener, line, watch, must_be_ready=self._succession.takes_over)

    def _spawn(self, name: str, start: Start) -> None:
        """Fork a child, unless we are stopping.

        Signals are blocked meanwhile: one that came between the fork and the list's entry would miss the
        child, and in the child it would run the parent's handler.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            if not self._stopping:
                ours, theirs = _fork.Pipe()
                watch = Watch()
                arguments = (name, start, theirs, ours, watch)
                process = _fork.Process(target=self._child_main, args=arguments, name=name)
                process.start()
                theirs.close()
                self._children.append(Child(name, start, process, ours, clock.monotonic(), watch))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _child_main(
        self,
        name: str,
        start: Start,
        line: Connection,
        parents_end: Connection,
        watch: Watch,
    ) -> None:
        _call_myself(name)
        for sig in STOP_SIGNALS:
            signal.signal(sig, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        os.setpgrp()  # the terminal's Ctrl-C is the parent's to handle; it passes on what is meant
        parents_end.close()
        self._succession.close_here()
        for sibling in self._children:
            sibling.line.close()
            sibling.watch.close()
        start(line, watch)

    def _on_signal(self, sig: int, frame: FrameType | None) -> None:
        """Pass on first and second signals alike; the workers tell them apart. Where a successor, or our own
        failure, has the workers end already, the first signal asks for what is being done."""
        is_first = not self._is_signalled
        self._is_signalled = True
        if is_first and self._stopping:
            return
        if is_first:
            systemd.notify("STOPPING=1")
        self._stop_by(None)
        if is_first and self._succession.keeps_listening:
            self._retire_workers(SHORTLY)
            return
        for child in self._worker_children():
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()

    def _stop_by(self, failure: str | None) -> None:
        """Begin to stop: start no process any more, and kill what has not ended in time."""
        if not self._stopping:
            self._kill_at = clock.monotonic() + settings.DRAIN_SECONDS + OVERTIME_SECONDS
            self._failure = failure
        self._stopping = True

    def _retire_workers(self, how: bytes) -> None:
        """Have the workers stop accepting, as somebody else does, and end once nothing is left to do."""
        for child in self._worker_children():
            with contextlib.suppress(OSError):
                child.line.send_bytes(how)

    def _give_up(self, reason: str) -> None:
        """Leave the port to the gateway that serves, because we do not become ready."""
        if not self._stopping:
            self._stop_by(f"{reason} The gateway that serves goes on.")
            self._retire_workers(SHORTLY)

    def _supervise(self) -> None:
        while self._has_to_wait():
            sentinels = [child.process.sentinel for child in self._children]
            lines = [child.line for child in self._children if not child.line.closed]
            others = self._succession.sockets
            ready = wait([*sentinels, *lines, *others, self._wake_reader], self._patience())
            if self._wake_reader in ready:
                self._wake_reader.recv(4096)
            if self._succession.hear(ready):
                self._stop_by(None)
                self._retire_workers(UNTIL_DRAINED)
            for child in tuple(self._children):
                if child.line in ready:
                    self._hear(child)
                if child.process.sentinel in ready:
                    self._bury(child)
            self._look_at_children()
        self._succession.end()
        self._end_helpers()

    def _has_to_wait(self) -> bool:
        """Wait for the workers and, being stopped, for a predecessor that still ends its calls: a service
        manager takes what is left of a service for superfluous once its first process has ended.
        """
        if not self._stopping or self._worker_children():
            return True
        predecessor = self._succession.predecessor
        is_awaited = predecessor is not None and predecessor.is_told
        return is_awaited and clock.monotonic() < self._kill_at

    def _patience(self) -> float:
        return min(LOOK_SECONDS, max(self._kill_at - clock.monotonic(), 0.0))

    def _look_at_children(self) -> None:
        now = clock.monotonic()
        passed = min(now - self._looked_at, 2 * LOOK_SECONDS)
        self._looked_at = now
        if not self._has_begun and now >= self._give_up_at and self._succession.takes_over:
            self._give_up(f"The workers were not ready within {TAKEOVER_SECONDS:.0f} s.")
        for child in tuple(self._children):
            child.watch.look(passed)
            if now >= self._kill_at and child.is_worker:
                logger.error("%s has not ended in time; killing it", child.name)
                self._kill(child)
            elif child.watch.silent_seconds >= STUCK_SECONDS:
                self._kill_stuck(child)

    def _kill_stuck(self, child: Child) -> None:
        """Kill a process that no longer answers, and log what it was doing."""
        assert child.process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.process.pid, STACKS_SIGNAL)
        wait([child.process.sentinel], STACKS_SECONDS)
        stacks = child.watch.stacks() or "(it wrote none: the process is stopped or still starting)"
        seconds = child.watch.silent_seconds
        logger.error(
            "%s has not answered for %.0f s; killing it. Its stacks:\n%s",
            child.name,
            seconds,
            stacks,
        )
        self._kill(child)

    def _kill(self, child: Child) -> None:
        child.process.kill()
        child.process.join()

    def _end_helpers(self) -> None:
        """End the helpers; what they leave undone is done at the next start."""
        for child in self._children:
            child.process.terminate()
        for child in self._children:
            child.process.join(OVERTIME_SECONDS)
            if child.process.is_alive():
                logger.error("%s has not ended in time; killing it", child.name)
                self._kill(child)

    def _hear(self, child: Child) -> None:
        try:
            child.line.recv_bytes()
        except (EOFError, OSError):
            child.line.close()
            return
        self._unready.discard(child.name)
        if not (self._unready or self._has_begun or self._stopping):
            self._has_begun = True
            self._succession.begin()
            self._on_ready()

    def _bury(self, child: Child) -> None:
        child.process.join()
        child.line.close()
        child.watch.close()
        self._children.remove(child)
        if self._stopping:
            return
        if child.is_worker and not self._has_begun:
            self._unready.add(child.name)
        if child.name in self._unready and self._succession.takes_over:
            self._give_up(f"{child.name} did not become ready.")
            return
        logger.error("%s ended with code %s; restarting", child.name, child.process.exitcode)
        if clock.monotonic() - child.started_at < RESTART_PAUSE_SECONDS:
            self._pause()
        if not self._stopping:
            self._spawn(child.name, child.start)

    def _pause(self) -> None:
        """Pause before a restart, so that a process that dies at once does not loop; a signal ends the
        pause.
        """
        wait([self._wake_reader], RESTART_PAUSE_SECONDS)

    def _worker_children(self) -> list[Child]:
        return [child for child in self._children if child.is_worker]


def _name_of(number: int) -> str:
    return f"worker-{number + 1}"


def _call_myself(name: str) -> None:
    """Set the title that `ps` and `top` show, where the system allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"tollgate:{name}"[:15], encoding="ascii")


def _serve_beside(serve: Callable[[], None], line: Connection, watch: Watch) -> None:
    """Run a helper that beats until it ends, and ends with its parent however that ends."""
    watch.answer()
    threading.Thread(target=_beat_until_parent_ends, args=(line, watch), daemon=True).start()
    serve()


def _beat_until_parent_ends(line: Connection, watch: Watch) -> None:
    """Beat from a thread: a helper's work may take long, but its process must not stand still."""
    with contextlib.suppress(EOFError, OSError):
        while not line.poll(BEAT_SECONDS):
            watch.heartbeat.beat()
        line.recv_bytes()
    os.kill(os.getpid(), signal.SIGTERM)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raise PortInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        hint = " If a gateway serves there, --takeover takes its place."
        raise PortInUse(
            f"Cannot listen on {host}:{port}: {error.strerror}.{hint if error.errno == EADDRINUSE else ''}"
        ) from error
    listener.listen(BACKLOG)
    return prepare(listener)


def prepare(listener: socket.socket) -> socket.socket:
    """Set what a listening socket needs, whoever opened it."""
    _give_up_stalled_clients(listener)
    listener.setblocking(False)
    return listener


def _give_up_stalled_clients(listener: socket.socket) -> None:
    """Make the kernel reset accepted connections whose client takes nothing for too long.

    Closing such a connection does not end it: the server first waits for the client to take what is
    buffered, which never happens, so memory and connection would be lost for good.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        seconds = settings.SEND_STALL_SECONDS + STALL_MARGIN_SECONDS
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
