"""The port of a gateway that waits for its database."""

from __future__ import annotations

import socket

import pytest

from gateway_project.preflight import NotYetFit
from gateway_project.serving import unready
from gateway_project.serving.unready import UnreadyPort


def test_a_client_that_never_ends_its_request_does_not_hold_up_the_start(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(unready, "CLIENT_SECONDS", 0.05)
    # A client that sends a byte before each limit runs into none.
    monkeypatch.setattr(unready.UnreadyHandler, "timeout", None)
    port = UnreadyPort("127.0.0.1", 0, lambda said: None, takes_over=False)
    port.tell(NotYetFit("The database is away."))
    assert port.listener is not None
    with socket.create_connection(port.listener.getsockname()) as ready:
        ready.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
        assert ready.recv(1024).startswith(b"HTTP/1.1 503 ")
    with socket.create_connection(port.listener.getsockname()) as slow:
        slow.sendall(
            b"POST /v1/responses HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
        )
        assert b" 100 " in slow.recv(1024)  # its body is waited for
        port.close()
        assert slow.recv(1024) == b""
    port.listener.close()
