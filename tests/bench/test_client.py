"""The load generator believes no answer it has not seen to the end."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from bench.calls import CELLS, CODEX_CELLS, Cell, codex_call, json_call, stream_call
from bench.client import Connection
from tests.plugins.cases import cases

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

CHAT = Cell("chat", "chat")


class Wire:
    """A transport that takes everything."""

    def write(self, data: bytes) -> None: ...

    def is_closing(self) -> bool:
        return False


def ended(call, *pieces: bytes, lost: bool = False) -> list[tuple[int, str]]:
    """Return what a connection says about an answer that arrives in these pieces."""
    said: list[tuple[int, str]] = []
    connection = Connection(lambda _, events, fault: said.append((events, fault)))
    connection.connection_made(cast("asyncio.Transport", Wire()))
    connection.send(call, call.on_wire(80, "key"))
    for piece in pieces:
        connection.data_received(piece)
    if lost:
        connection.connection_lost(None)
    return said


def chunked(*bodies: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(body), body) for body in (*bodies, b""))


def json_answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def test_a_whole_stream_counts_its_events_wherever_it_is_cut() -> None:
    raw = STREAM_HEAD + chunked(b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n")
    outcomes = [ended(stream_call(CHAT, 2), raw[:cut], raw[cut:]) for cut in range(1, len(raw))]
    assert outcomes == [[(3, "")]] * (len(raw) - 1)


@cases(
    ("bodies", "fault"),
    [
        ((b"data: 1\n\n", b"data: 2\n\n"), "0 terminal events"),
        ((b"data: 1\n\n", b"data: [DONE]\n\n", b"data: [DONE]\n\n"), "2 terminal events"),
        ((b"data: [DONE]\n\n",), "1 events instead of at least 2"),
    ],
)
def test_a_stream_that_is_not_whole_is_a_fault(bodies: tuple[bytes, ...], fault: str) -> None:
    [(_, found)] = ended(stream_call(CHAT, 2), STREAM_HEAD + chunked(*bodies))
    assert fault in found


def test_a_connection_that_closes_too_early_is_a_fault() -> None:
    [(_, found)] = ended(stream_call(CHAT, 2), STREAM_HEAD, lost=True)
    assert "closed before" in found


def test_a_json_answer_is_whole_with_its_end_in_it() -> None:
    assert ended(json_call(CHAT, 1000), json_answer(b'{"finish_reason":"stop"}')) == [(0, "")]


@cases(
    "raw",
    [
        json_answer(b'{"error":{}}', b"500 Internal Server Error"),
        json_answer(b"{}"),
        b"not HTTP at all\r\n\r\n",
    ],
)
def test_any_other_answer_is_a_fault(raw: bytes) -> None:
    [(_, found)] = ended(json_call(CHAT, 1000), raw)
    assert found


@cases("cell", CELLS, ids=str)
@cases("size", [1_000, 50_000])
def test_a_body_has_about_the_wished_size(cell, size: int) -> None:
    assert len(json_call(cell, size).body) == pytest.approx(size, rel=0.15)


@cases("cell", CODEX_CELLS, ids=str)
def test_a_turn_of_codex_has_about_fifty_kilobytes(cell) -> None:
    assert len(codex_call(cell).body) == pytest.approx(50_000, rel=0.1)
