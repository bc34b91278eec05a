"""A receiver of webhooks on a real socket, which answers as it was told to."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.support.patience import GIVE_UP_SECONDS


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # many come at the same moment

    def handle_error(self, *_: object) -> None:
        """Ignore that the sender went away, or does not like our certificate."""


@dataclass(frozen=True, slots=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """Answers with `statuses` one after the other, then always with the last. 0: not before `release`."""

    statuses: tuple[int, ...] = (200,)
    location: str = ""
    tls: ssl.SSLContext | None = None
    at_port: int = 0
    received: list[Received] = field(default_factory=list)
    _release: threading.Event = field(default_factory=threading.Event)
    _arrived: threading.Condition = field(default_factory=threading.Condition)
    _server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        self._server = _Server(("127.0.0.1", self.at_port), _handler(self))
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return self.url_of("/hook?token=1")

    def url_of(self, path: str) -> str:
        """Return the address of another path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._release.set()
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, count: int) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.received) >= count, GIVE_UP_SECONDS)

    def answer(self, received: Received) -> int:
        with self._arrived:
            place = len(self.received)
            self.received.append(received)
            self._arrived.notify_all()
        status = self.statuses[min(place, len(self.statuses) - 1)]
        if status == 0:
            self._release.wait(GIVE_UP_SECONDS)
        return status or 200


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = receiver.answer(Received(self.path, headers, body))
            try:
                self.send_response(status)
                if receiver.location:
                    self.send_header("location", receiver.location)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:
                return  # the sender did not wait

        def log_message(self, *_: object) -> None:
            pass

    return Handler
