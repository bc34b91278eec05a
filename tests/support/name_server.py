"""A name server on this machine that knows a few TXT records, and can answer wrongly."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway_project.lib import dns_txt


@dataclass(slots=True)
class NameServer:
    """Texts by name. `spoil` changes a datagram before it leaves; what is cut is asked for over TCP."""

    port: int
    texts: dict[str, list[str]] = field(default_factory=dict)
    spoil: Callable[[bytes], bytes] = bytes
    is_cutting: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, query: bytes, *, is_cut: bool) -> bytes:
        name, place = _name(query)
        self.asked.append(name)
        texts = [] if is_cut else self.texts.get(name, [])
        code = 0 if name in self.texts else 3
        flags = 0x8180 | code | (0x0200 if is_cut else 0)
        head = query[:2] + struct.pack("!HHHHH", flags, 1, len(texts), 0, 0)
        rows = b"".join(_record(text) for text in texts)
        return head + query[12 : place + 4] + rows


def _name(query: bytes) -> tuple[str, int]:
    labels, place = [], 12
    while (length := query[place]) != 0:
        labels.append(query[place + 1 : place + 1 + length].decode())
        place += 1 + length
    return ".".join(labels), place + 1


def _record(text: str) -> bytes:
    data = text.encode()
    strings = [data[start : start + 255] for start in range(0, len(data), 255)] or [b""]
    packed = b"".join(bytes([len(each)]) + each for each in strings)
    return b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 60, len(packed)) + packed


@contextmanager
def name_server(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[NameServer]:
    """Run one that this host asks, over datagrams and streams."""
    with (
        socket.create_server(("127.0.0.1", 0)) as streams,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        port = streams.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        server = NameServer(port)
        threads = [
            threading.Thread(target=_serve_datagrams, args=(datagrams, server)),
            threading.Thread(target=_serve_streams, args=(streams, server)),
        ]
        for thread in threads:
            thread.start()
        (home / "resolv.conf").write_text("# comment\nsearch x\nnameserver 127.0.0.1\n")
        monkeypatch.setattr(dns_txt, "RESOLVERS", home / "resolv.conf")
        monkeypatch.setattr(dns_txt, "PORT", port)
        try:
            yield server
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", ("127.0.0.1", port))
            socket.create_connection(("127.0.0.1", port)).close()
            for thread in threads:
                thread.join()


def _serve_datagrams(datagrams: socket.socket, server: NameServer) -> None:
    while True:
        query, client = datagrams.recvfrom(65_535)
        if not query:
            return
        answer = server.answer(query, is_cut=server.is_cutting)
        datagrams.sendto(server.spoil(answer), client)


def _serve_streams(streams: socket.socket, server: NameServer) -> None:
    while True:
        connection, _ = streams.accept()
        with connection, connection.makefile("rb") as reader:
            size = reader.read(2)
            if not size:
                return
            answer = server.answer(reader.read(struct.unpack("!H", size)[0]), is_cut=False)
            connection.sendall(struct.pack("!H", len(answer)) + answer)
