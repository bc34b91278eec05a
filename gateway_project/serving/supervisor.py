"""The parent process: binds the port, runs the workers and the sandbox, and restarts what dies."""

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
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.db import connections

from gateway_project.lib import clock
from gateway_project.serving.server import run_worker

logger = logging.getLogger("tollgate.serve")

BACKLOG = 2048
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
RESTART_PAUSE_SECONDS = 1.0
# How much later than the gateway's own limit the kernel gives a client up that takes nothing.
STALL_MARGIN_SECONDS = 2.0
_fork = multiprocessing.get_context("fork")


class PortInUse(OSError):
    """The address cannot be bound; the message says so in words."""


@dataclass(slots=True)
class Child:
    """A process we keep alive. `line` closes when either end dies."""

    name: str
    start: Callable[[Connection], None]
    process: BaseProcess
    line: Connection
    started_at: float


class Supervisor:
    """Runs until SIGTERM or SIGINT, then waits for the workers to drain."""

    def __init__(self, listener: socket.socket, workers: int, on_ready: Callable[[], None]) -> None:
        self._listener = listener
        self._workers = workers
        self._on_ready = on_ready
        self._waiting_for_ready = workers
        self._children: list[Child] = []
        self._stopping = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)

    def run(self, helpers: dict[str, Callable[[], None]]) -> None:
        """Serve. `helpers` are further processes to keep alive, by name."""
        connections.close_all()  # a connection must not be shared by two processes
        for sig in STOP_SIGNALS:
            signal.signal(sig, self._on_signal)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        for name, serve in helpers.items():
            self._spawn(name, partial(_serve_beside, serve))
        for number in range(self._workers):
            self._spawn(f"worker-{number + 1}", self._serve)
        self._supervise()

    def _serve(self, line: Connection) -> None:
        run_worker(self._listener, line)

    def _spawn(self, name: str, start: Callable[[Connection], None]) -> None:
        """Fork a child, unless we are stopping. Signals wait meanwhile: one that came between the fork
        and the list's entry would miss the child, and in the child it would run the parent's handler."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            if not self._stopping:
                ours, theirs = _fork.Pipe()
                arguments = (name, start, theirs, ours)
                process = _fork.Process(target=self._child_main, args=arguments, name=name)
                process.start()
                theirs.close()
                self._children.append(Child(name, start, process, ours, clock.monotonic()))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _child_main(
        self,
        name: str,
        start: Callable[[Connection], None],
        line: Connection,
        parents_end: Connection,
    ) -> None:
        _call_myself(name)
        for sig in STOP_SIGNALS:
            signal.signal(sig, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        os.setpgrp()  # the terminal's Ctrl-C is the parent's to handle; it passes on what is meant
        parents_end.close()
        for sibling in self._children:
            sibling.line.close()
        start(line)

    def _on_signal(self, sig: int, frame: FrameType | None) -> None:
        """First and second signals alike are passed on; the workers tell them apart."""
        self._stopping = True
        for child in self._worker_children():
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()

    def _supervise(self) -> None:
        while self._worker_children() or not self._stopping:
            sentinels = [child.process.sentinel for child in self._children]
            lines = [child.line for child in self._children if not child.line.closed]
            ready = wait([*sentinels, *lines, self._wake_reader])
            if self._wake_reader in ready:
                self._wake_reader.recv(4096)
            for child in tuple(self._children):
                if child.line in ready:
                    self._hear(child)
                if child.process.sentinel in ready:
                    self._bury(child)
        for child in self._children:
            child.process.terminate()
            child.process.join()

    def _hear(self, child: Child) -> None:
        try:
            child.line.recv_bytes()
        except (EOFError, OSError):
            child.line.close()
            return
        self._waiting_for_ready -= 1
        if self._waiting_for_ready == 0:
            self._on_ready()

    def _bury(self, child: Child) -> None:
        child.process.join()
        child.line.close()
        self._children.remove(child)
        if self._stopping:
            return
        logger.error("%s ended with code %s; restarting", child.name, child.process.exitcode)
        if clock.monotonic() - child.started_at < RESTART_PAUSE_SECONDS:
            self._pause()
        if not self._stopping:
            self._spawn(child.name, child.start)

    def _pause(self) -> None:
        """A process that dies at once must not be restarted in a tight loop; a signal ends the pause."""
        wait([self._wake_reader], RESTART_PAUSE_SECONDS)

    def _worker_children(self) -> list[Child]:
        return [child for child in self._children if child.name.startswith("worker-")]


def _call_myself(name: str) -> None:
    """What `ps` and `top` show, where the system lets a process say."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"tollgate:{name}"[:15], encoding="ascii")


def _serve_beside(serve: Callable[[], None], line: Connection) -> None:
    """Run a helper; it ends with its parent, however that ends."""
    threading.Thread(target=_end_with_parent, args=(line,), daemon=True).start()
    serve()


def _end_with_parent(line: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        line.recv_bytes()
    os.kill(os.getpid(), signal.SIGTERM)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises PortInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _give_up_stalled_clients(listener)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortInUse(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _give_up_stalled_clients(listener: socket.socket) -> None:
    """Have the kernel reset accepted connections whose client takes nothing for too long.

    Closing such a connection does not end it: the server first waits for the client to take what is
    buffered, which never happens, so that memory and the connection would be lost for good.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        seconds = settings.SEND_STALL_SECONDS + STALL_MARGIN_SECONDS
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
