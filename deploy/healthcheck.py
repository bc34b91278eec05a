"""Tell whether the server of this container answers: healthcheck.py [PORT]; exit code 0 or 1.

It runs every few seconds, so it asks by a bare socket: a client would cost more to import than to use.
"""

from __future__ import annotations

import socket
import sys

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SECONDS = 4.0


def is_alive(port: int) -> bool:
    try:
        with socket.create_connection(("localhost", port), SECONDS) as connection:
            connection.sendall(REQUEST)
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if is_alive(int(sys.argv[1]) if sys.argv[1:] else 8000) else 1)
