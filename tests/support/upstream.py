"""An upstream that sends what a test tells it to, when it tells it to."""

from __future__ import annotations

import contextlib
import socket

from tests.support.patience import GIVE_UP_SECONDS

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Upstream:
    """Answers one call at a time; `base_url` is its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(GIVE_UP_SECONDS)
        self._peer: socket.socket | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def begin(self, stream: bytes) -> None:
        """Wait for a call and begin to answer it with a stream."""
        self._hang_up()
        self._peer, _ = self._listener.accept()
        self._peer.settimeout(GIVE_UP_SECONDS)
        request = b""
        while b"\r\n\r\n" not in request:
            request += self._peer.recv(65536)
        head, _, body = request.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._peer.recv(65536)
        self._peer.sendall(_HEAD)
        self.send(stream)

    def send(self, stream: bytes) -> None:
        assert self._peer is not None
        self._peer.sendall(b"%x\r\n%b\r\n" % (len(stream), stream))

    def end(self) -> None:
        assert self._peer is not None
        with contextlib.suppress(
            ConnectionError
        ):  # the gateway may have closed it at the stream's end
            self._peer.sendall(b"0\r\n\r\n")

    def wait_for_close(self) -> None:
        """Wait until the gateway has closed the connection."""
        assert self._peer is not None
        try:
            while self._peer.recv(65536):
                pass
        except ConnectionError:
            pass

    def close(self) -> None:
        self._listener.close()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
