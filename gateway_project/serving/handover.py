"""Hand the listening sockets of a gateway to the one that takes over from it (ADR 23).

Both listen on the same socket of the kernel, not on two for one address: connections that wait when the older
one stops accepting are the newer one's, and none is reset. The sockets travel over a Unix socket in the data
directory, which only its owner may open.

The two may be of different versions: the message is JSON, and unknown names in it are left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

# How long the serving gateway may take to answer; it needs no worker and no database for that.
ASK_SECONDS = 10.0
MOST_LISTENERS = 8
MESSAGE_BYTES = 4096
READY = b"ready"
# What a path of a Unix socket may have, with room for the smallest of systems.
_LONGEST_PATH = 100
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class HandoverRefused(Exception):
    """The gateway that serves does not hand over; the message says why."""


def socket_path(data_dir: Path, host: str, port: int) -> Path:
    """Return where the gateway of this data directory that serves this address is asked."""
    return data_dir / "run" / f"serve-{host}-{port}.sock"


@dataclass(slots=True)
class Predecessor:
    """The gateway that serves until we are ready. The line to it stays open until either of us has ended."""

    listeners: dict[str, socket.socket]
    is_activated: bool
    line: socket.socket
    is_told: bool = False

    def tell_ready(self) -> None:
        """Let it stop accepting. That it has died meanwhile changes nothing."""
        self.is_told = True
        with contextlib.suppress(OSError):
            self.line.sendall(READY)

    def close_all_but(self, names: Container[str]) -> None:
        """Close what a gateway of another version serves and we do not: clients would wait for ever there."""
        for name, listener in self.listeners.items():
            if name not in names:
                listener.close()

    def close(self) -> None:
        self.line.close()


def ask(path: Path) -> Predecessor | None:
    """Ask the gateway that serves for its listening sockets; None if there is none. Raise HandoverRefused."""
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(ASK_SECONDS)
    try:
        with _short(path) as name:
            line.connect(name)
        message, descriptors, _, _ = socket.recv_fds(line, MESSAGE_BYTES, MOST_LISTENERS)
        told = json.loads(message)
    except (FileNotFoundError, ConnectionRefusedError):
        line.close()
        return None
    except (OSError, ValueError) as error:
        line.close()
        raise HandoverRefused(f"The serving gateway does not answer at {path}: {error}.") from error
    if "refused" in told:
        line.close()
        raise HandoverRefused(str(told["refused"]))
    line.setblocking(False)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    listeners = dict(zip(told["names"], sockets, strict=True))
    return Predecessor(listeners, bool(told.get("activated")), line)


class HandoverSocket:
    """Offers a gateway's listening sockets to its successor, one at a time."""

    def __init__(
        self, path: Path, listeners: dict[str, socket.socket], *, is_activated: bool
    ) -> None:
        self._path = path
        self._listeners = listeners
        self._is_activated = is_activated
        self._inode = 0  # of our socket's name
        self._asked: socket.socket | None = None
        self._successor: socket.socket | None = None

    @property
    def sockets(self) -> list[socket.socket]:
        """Return what is readable when there is something to do."""
        return [each for each in (self._asked, self._successor) if each is not None]

    @property
    def successor_pid(self) -> int | None:
        """Return the process that asked, where the kernel tells."""
        if self._successor is None or not hasattr(socket, "SO_PEERCRED"):
            return None
        told = self._successor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(told)[0])

    def open(self) -> None:
        """Be asked from now on, instead of whoever was before. Raise OSError."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        with ExitStack() as unless_asked:
            asked = unless_asked.enter_context(socket.socket(socket.AF_UNIX))
            with _short(fresh) as name:
                asked.bind(name)
            fresh.chmod(0o600)
            self._inode = fresh.stat().st_ino
            asked.listen(MOST_LISTENERS)
            asked.setblocking(False)
            fresh.replace(self._path)
            unless_asked.pop_all()
        self._asked = asked

    def has_been_told(self, readable: Sequence[object]) -> bool:
        """Serve whoever asks; return True once the successor says that it is ready."""
        if self._asked in readable:
            self._admit()
        if self._successor is None or self._successor not in readable:
            return False
        try:
            said = self._successor.recv(MESSAGE_BYTES)
        except OSError:
            said = b""
        if not said:
            self._successor.close()
            self._successor = None
        return said.startswith(READY)

    def _admit(self) -> None:
        assert self._asked is not None
        try:
            line, _ = self._asked.accept()
        except OSError:
            return
        with contextlib.suppress(OSError):
            if self._successor is None:
                self._offer(line)
                self._successor = line
                return
            refusal = {"refused": "Another gateway is just taking over; try again when it is done."}
            line.sendall(json.dumps(refusal).encode())
        line.close()

    def _offer(self, line: socket.socket) -> None:
        message = {"names": list(self._listeners), "activated": self._is_activated}
        descriptors = [listener.fileno() for listener in self._listeners.values()]
        socket.send_fds(line, [json.dumps(message).encode()], descriptors)

    def leave(self) -> None:
        """Be asked no more: the successor is, at the same path. The line to it stays open."""
        if self._asked is not None:
            self._asked.close()
            self._asked = None

    def remove(self) -> None:
        """Be asked no more, where there is no successor."""
        if self._asked is not None:
            self.leave()
            with contextlib.suppress(FileNotFoundError):
                # One may be asked there already of whom we have not heard yet.
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()

    def close_here(self) -> None:
        """Close what a child inherited of it."""
        for each in self.sockets:
            each.close()
        self._asked = self._successor = None


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Name a Unix socket whose path is too long for one by its open directory."""
    if len(os.fsencode(path)) <= _LONGEST_PATH or not Path("/proc/self/fd").is_dir():
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
