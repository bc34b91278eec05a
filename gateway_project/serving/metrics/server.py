"""Answer GET /metrics over HTTP, and nothing else."""

from __future__ import annotations

import contextlib
import http.server
import logging
import socket
import threading
from typing import Any

from gateway_project.lib import clock
from gateway_project.lib.secret import Secret
from gateway_project.serving.metrics.report import Report, may_read

logger = logging.getLogger("tollgate.metrics")

PATH = "/metrics"
# A client that sends or takes nothing for so long is left, and so is one that has not ended by then.
PATIENCE_SECONDS = 10.0
MOST_CLIENTS = 16


class MetricsServer(http.server.ThreadingHTTPServer):
    """Answers GET /metrics, and nothing else."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, found: Report, token: Secret | None) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.report = found
        self.token = token
        self._places = threading.BoundedSemaphore(MOST_CLIENTS)
        self._began_at: dict[socket.socket, float] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            self._began_at[request] = clock.monotonic()
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._began_at.pop(request, None)
            self._places.release()

    def service_actions(self) -> None:
        """End whoever takes too long in all: a byte now and then would keep a place for ever. Called every
        half second."""
        latest = clock.monotonic() - PATIENCE_SECONDS
        for request, began_at in list(self._began_at.items()):
            if began_at < latest:
                with contextlib.suppress(OSError):  # it has just ended
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        logger.info("a request for metrics ended early", exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request; HTTP/1.0, so that no connection stays open."""

    server: MetricsServer
    timeout = PATIENCE_SECONDS
    server_version, sys_version = "tollgate", ""

    def do_GET(self) -> None:  # the library names it so
        if self.path.partition("?")[0] != PATH or not self._may_read():
            self._answer(404, "text/plain; charset=utf-8", b"Metrics are at /metrics.\n")
            return
        try:
            kind, text = self.server.report.in_format(self.headers.get("accept") or "")
        except OSError as error:
            logger.error("metrics cannot be read: %s", error)
            self._answer(
                500, "text/plain; charset=utf-8", b"Metrics cannot be read; see the log.\n"
            )
            return
        self._answer(200, kind, text)

    def _may_read(self) -> bool:
        token, given = self.server.token, self.headers.get("authorization") or ""
        return token is None or may_read(given.encode("utf-8", "surrogateescape"), token)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library names it so
        """Say nothing: it is asked every few seconds."""
