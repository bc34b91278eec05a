"""Tell whether the server of this container answers: healthcheck.py [PORT]; exit code 0 or 1.

It runs every few seconds, so it asks by a bare socket: a client would cost more to import than to use.
"""

from __future__ import annotations

import socket
import sys

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
# Addresses rather than a name, for which a container may have no file of hosts.
ADDRESSES = ("127.0.0.1", "::1")
SECONDS = 2.0


def is_alive(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), SECONDS) as connection:
            connection.sendall(REQUEST)
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


if __name__ == "__main__":
    port = int(sys.argv[1]) if sys.argv[1:] else 8000
    sys.exit(0 if any(is_alive(address, port) for address in ADDRESSES) else 1)
