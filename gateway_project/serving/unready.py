"""Answer on the port of a gateway that cannot serve yet, because its database is away or not migrated."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any, ClassVar

import orjson

from gateway_project.lib import ids
from gateway_project.lib.errors import Unavailable
from gateway_project.preflight import NotYetFit
from gateway_project.serving import systemd
from gateway_project.serving.supervisor import PortInUse, bind

RETRY_AFTER_SECONDS = 2
# What a client sends is read before it is answered, or it may see a reset in place of the answer.
MOST_READ_BYTES = 1024 * 1024
CLIENT_SECONDS = 5.0


class UnreadyPort:
    """The port, from the first reason on why nothing is served. `listener` is then open, and stays open for
    whoever serves later; with `takes_over` another gateway may have it, which answers by itself.
    """

    def __init__(
        self, host: str, port: int, say: Callable[[str], object], *, takes_over: bool
    ) -> None:
        self._address = (host, port)
        self._takes_over = takes_over
        self._say = say
        self._server: _UnreadyServer | None = None
        self._is_open = False
        self.listener: socket.socket | None = None
        self.is_activated = False

    def tell(self, reason: NotYetFit) -> None:
        """Answer with this reason from now on. Raise PortInUse or UnusableSocket."""
        if not self._is_open:
            self._open()
        if self._server is not None:
            self._server.reason = reason.brief
        self._say(f"Waiting: {reason}")

    def close(self) -> None:
        """Answer nobody any more; who comes now waits for whoever serves on the socket. Clients that are
        slow to ask are hung up on, so that none of them holds the start up."""
        if self._server is None:
            return
        self._server.shutdown()
        patience = threading.Timer(CLIENT_SECONDS, self._server.hang_up)
        patience.start()
        self._server.server_close()
        patience.cancel()
        patience.join()  # no thread must live when processes are forked
        self._server = None

    def _open(self) -> None:
        self._is_open = True
        listener = systemd.listener()
        self.is_activated = listener is not None
        if listener is None:
            try:
                listener = bind(*self._address)
            except PortInUse:
                if not self._takes_over:
                    raise
                return
        self.listener = listener
        self._server = _UnreadyServer(listener.dup())
        threading.Thread(target=self._server.serve_forever, name="unready").start()


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """End this process in order at SIGTERM, which the first process of a container would not mind."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(0)
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(sig: int, frame: FrameType | None) -> None:
    sys.exit(0)


class _UnreadyServer(ThreadingHTTPServer):
    """Answers over a listening socket that is open already."""

    daemon_threads = False  # they are waited for: a thread must not live when processes are forked
    reason = ""

    def __init__(self, listener: socket.socket) -> None:
        super().__init__(listener.getsockname()[:2], UnreadyHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self._clients: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._clients.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._clients.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections there are: their time limit is one for each byte."""
        for client in tuple(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


class UnreadyHandler(BaseHTTPRequestHandler):
    """Answers one request a connection: alive, not ready, come again."""

    protocol_version = "HTTP/1.1"
    timeout = CLIENT_SECONDS
    server: _UnreadyServer
    server_version, sys_version = "tollgate", ""
    alive: ClassVar[bytes] = orjson.dumps({"status": "alive"})

    def handle_one_request(self) -> None:
        with contextlib.suppress(OSError):  # the client has gone, or says nothing
            super().handle_one_request()

    def _answer(self) -> None:
        self.close_connection = True
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._send(200, self.alive)
        elif path == "/readyz":
            self._send(503, orjson.dumps(_not_ready(self.server.reason)))
        else:
            self._read_body()
            error = Unavailable(
                "This server cannot answer yet; send the request again.",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
            self._send(503, orjson.dumps(error.body()))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def _read_body(self) -> None:
        length = self.headers.get("content-length", "")
        if length.isascii() and length.isdigit():
            self.rfile.read(min(int(length), MOST_READ_BYTES))

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.send_header("x-request-id", ids.request_id())
        if status != 200:
            self.send_header("retry-after", str(RETRY_AFTER_SECONDS))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Log nothing: balancers ask every second."""


def _not_ready(reason: str) -> dict[str, object]:
    """Return what `/readyz` says. The reason tells people what to do; it holds no secret."""
    return {
        "status": "not ready",
        "checks": {"database": False, "spool": True, "accepting": True},
        "warnings": [reason],
    }
