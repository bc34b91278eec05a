"""Speak with systemd, where it started this process: take its socket, and tell it how far we are.

Both are short protocols over environment variables (sd_listen_fds(3), sd_notify(3)).
"""

from __future__ import annotations

import contextlib
import os
import socket

FIRST_DESCRIPTOR = 3


class UnusableSocket(Exception):
    """The socket of the unit cannot be served on; the message says why."""


def listener() -> socket.socket | None:
    """Return the listening socket that systemd opened for this process, once. Raise UnusableSocket."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    if pid != str(os.getpid()):
        return None
    if count != "1":
        raise UnusableSocket(f"The unit passes {count} sockets; `serve` takes one ListenStream=.")
    os.set_inheritable(FIRST_DESCRIPTOR, False)
    found = socket.socket(fileno=FIRST_DESCRIPTOR)
    is_listening = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if found.family not in (socket.AF_INET, socket.AF_INET6) or not is_listening:
        raise UnusableSocket("`serve` needs a ListenStream= with an address and a port, Accept=no.")
    return found


def notify(state: str) -> None:
    """Tell the service manager, if there is one that wants to know."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.connect(address)
        line.sendall(state.encode())
