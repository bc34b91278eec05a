"""Open the port of metrics, and serve it from a process that does nothing else."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from gateway_project.serving.metrics import report
from gateway_project.serving.metrics.server import MetricsServer
from gateway_project.serving.supervisor import PortInUse

CLAIM = "claim"
BACKLOG = 16


class MetricsPort:
    """A listening socket for the metrics of one data directory, until it is closed.

    Gateways on the same data share the port, as while one drains and the next serves already: both tell the
    same. Another has to take another port. Whose it is says a lock that each of them holds.
    """

    def __init__(self, host: str, port: int, directory: Path) -> None:
        """Raise PortInUse."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._claim = os.open(directory / CLAIM, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if self._is_first():
                _bound(host, port, is_shared=False).close()
            self.listener = _bound(host, port, is_shared=True)
        except OSError as error:
            os.close(self._claim)
            reason = error.strerror or error
            message = f"Metrics cannot be served on {host}:{port}: {reason}."
            raise PortInUse(message) from error
        self.listener.listen(BACKLOG)

    def _is_first(self) -> bool:
        """Claim the directory, and tell whether nobody had done so."""
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_first = True
        except BlockingIOError:
            is_first = False
        fcntl.flock(self._claim, fcntl.LOCK_SH)
        return is_first

    def close(self) -> None:
        self.listener.close()
        os.close(self._claim)


def _bound(host: str, port: int, *, is_shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if is_shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


def helper() -> dict[str, Callable[[], None]]:
    """Return the port as a process to keep alive, if it is asked for. Raise PortInUse."""
    if settings.METRICS_PORT is None:
        return {}
    port = MetricsPort(settings.METRICS_HOST, settings.METRICS_PORT, settings.METRICS_DIR)
    return {"metrics": lambda: serve_forever(port)}


def serve_forever(port: MetricsPort) -> None:
    """Serve until the process ends."""
    MetricsServer(port.listener, report.from_settings(), settings.METRICS_TOKEN).serve_forever()
