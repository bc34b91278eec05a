"""Send messages to a syslog receiver: RFC 5424, over UDP (RFC 5426) or TCP with counted frames (RFC 6587)."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

SECONDS = 5.0
DEFAULT_PORTS = {"udp": 514, "tcp": 601}
LARGEST_DATAGRAM = 65_000
_AUDIT_NOTICE = 13 * 8 + 5  # facility "log audit", severity "notice"
_NOT_IN_HEADER = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class SyslogAddress:
    transport: str  # udp or tcp
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> SyslogAddress:
        """Read an address such as udp://logs.example:514. Raise ValueError."""
        parts = urlsplit(text)
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.path or parts.username:
            raise ValueError(
                "expected an address such as udp://logs.example:514 or tcp://10.0.0.5:601"
            )
        return cls(parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme])


def message(at: datetime, kind: str, text: str) -> bytes:
    """Return one message of the kind (MSGID). The text must have no line breaks."""
    host = _NOT_IN_HEADER.sub("", socket.gethostname())[:255] or "-"
    stamp = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    kind = _NOT_IN_HEADER.sub("", kind)[:32] or "-"
    head = f"<{_AUDIT_NOTICE}>1 {stamp} {host} tollgate {os.getpid()} {kind} - "
    return head.encode() + text.encode()


def send(address: SyslogAddress, messages: Iterable[bytes]) -> None:
    """Send the messages. Raise OSError if the receiver does not take them, as far as one can tell: over TCP
    until it has closed its side or is silent, over UDP not at all."""
    if address.transport == "udp":
        _send_datagrams(address, messages)
        return
    with socket.create_connection((address.host, address.port), SECONDS) as stream:
        for each in messages:
            stream.sendall(b"%d %b" % (len(each), each))
        stream.shutdown(socket.SHUT_WR)
        _await_close(stream)


def _await_close(stream: socket.socket) -> None:
    """Wait until the receiver has read to the end. One that keeps its side open has at least not refused."""
    try:
        while stream.recv(4096):
            pass
    except TimeoutError:
        pass


def _send_datagrams(address: SyslogAddress, messages: Iterable[bytes]) -> None:
    family, kind, protocol, _, place = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_DGRAM
    )[0]
    with socket.socket(family, kind, protocol) as datagrams:
        for each in messages:
            datagrams.sendto(each[:LARGEST_DATAGRAM], place)
