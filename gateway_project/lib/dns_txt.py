"""Look up TXT records of a name at this host's own resolver, which the standard library cannot do.

What comes back is untrusted: an answer counts if it comes from the server that was asked, with the number and
the question of the query, and nothing in it is followed.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

RESOLVERS = Path("/etc/resolv.conf")
PORT = 53
TIMEOUT_SECONDS = 2.0  # somebody waits for the page, and a slow name may be meant to hold it up
MOST_SERVERS = 2
MOST_BYTES = 65_535
TXT, INTERNET = 16, 1
RECURSE, IS_CUT, REPLY = 0x0100, 0x0200, 0x8000
NO_SUCH_NAME = 3
Server = tuple[str, int]


class LookupFailed(Exception):
    """No server gave an answer that counts; it may later."""


def records(name: str, servers: list[Server] | None = None) -> list[str]:
    """Return the texts of a name, none if it has none. Raise LookupFailed."""
    question = _question(name)
    for server in (_servers() if servers is None else servers)[:MOST_SERVERS]:
        try:
            return _ask(server, question)
        except (OSError, ValueError, IndexError, struct.error):
            continue  # away, or no DNS: the next one may be
    raise LookupFailed(f"The name servers of this host do not answer for {name}.")


def _servers() -> list[Server]:
    try:
        lines = RESOLVERS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    named = [each[1] for each in words if len(each) > 1 and each[0] == "nameserver"]
    return [(address, PORT) for address in named or ["127.0.0.1"]]


def _question(name: str) -> bytes:
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    if not all(0 < len(label) < 64 for label in labels) or sum(map(len, labels)) > 240:
        raise LookupFailed(f"{name} is too long for a name.")
    told = b"".join(bytes([len(label)]) + label for label in labels)
    return told + b"\0" + struct.pack("!HH", TXT, INTERNET)


def _ask(server: Server, question: bytes) -> list[str]:
    number = secrets.randbelow(2**16)
    query = struct.pack("!HHHHHH", number, RECURSE, 1, 0, 0, 0) + question
    answer = _by_datagram(server, query)
    if struct.unpack_from("!H", answer, 2)[0] & IS_CUT:
        answer = _by_stream(server, query)
    return list(_texts(answer, number, question))


def _by_datagram(server: Server, query: bytes) -> bytes:
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        asked.settimeout(TIMEOUT_SECONDS)
        asked.connect(server)  # what others send is not received
        asked.send(query)
        return asked.recv(MOST_BYTES)


def _by_stream(server: Server, query: bytes) -> bytes:
    with socket.create_connection(server, TIMEOUT_SECONDS) as asked:
        asked.sendall(struct.pack("!H", len(query)) + query)
        with asked.makefile("rb") as reader:
            (size,) = struct.unpack("!H", reader.read(2))
            return reader.read(size)


def _texts(answer: bytes, number: int, question: bytes) -> Iterator[str]:
    """Yield the texts. Raise ValueError, IndexError or struct.error for what is no answer to the question."""
    told, flags, questions, answers = struct.unpack_from("!HHHH", answer)
    asked = answer[12 : 12 + len(question)]
    if told != number or not flags & REPLY or questions != 1 or asked.lower() != question.lower():
        raise ValueError("not an answer to this question")
    if (code := flags & 0xF) not in {0, NO_SUCH_NAME}:
        raise ValueError(f"refused with {code}")
    place = 12 + len(question)
    for _ in range(answers):
        place = _after_name(answer, place)
        kind, _, _, size = struct.unpack_from("!HHIH", answer, place)
        place += 10 + size
        if place > len(answer):
            raise ValueError("cut short")
        if kind == TXT:  # of the name, or of one that it is another name of
            yield _text(answer[place - size : place])


def _after_name(answer: bytes, place: int) -> int:
    """Return where a name ends, which is a pointer or an empty label. Nothing is followed."""
    while (length := answer[place]) != 0:
        if length >= 0xC0:
            return place + 2
        place += 1 + length
    return place + 1


def _text(data: bytes) -> str:
    """Return the strings of a record as one."""
    found, place = b"", 0
    while place < len(data):
        length = data[place]
        found += data[place + 1 : place + 1 + length]
        place += 1 + length
    return found.decode("utf-8", "replace")
