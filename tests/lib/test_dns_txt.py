"""TXT records are read from this host's name server, and nothing that is no answer counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_project.lib import dns_txt
from gateway_project.lib.dns_txt import LookupFailed
from tests.support.name_server import name_server


def test_the_texts_of_a_name_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with name_server(monkeypatch, tmp_path) as server:
        server.texts = {"a.example": ["one", "x" * 600, ""], "none.example": []}

        assert dns_txt.records("a.example") == ["one", "x" * 600, ""]
        assert dns_txt.records("none.example") == dns_txt.records("unknown.example") == []
        server.is_cutting = True  # too long for a datagram
        assert dns_txt.records("a.example.") == ["one", "x" * 600, ""]


def test_what_is_no_answer_to_the_question_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with name_server(monkeypatch, tmp_path) as server:
        server.texts = {"a.example": ["one"], "b.example": ["two"]}
        other = server.answer(b"\0\0\1\0\0\1\0\0\0\0\0\0\1b\7example\0\0\x10\0\1", is_cut=False)
        for spoil in (
            lambda answer: bytes([answer[0] ^ 1]) + answer[1:],  # of another query
            lambda answer: answer[:2] + b"\1\0" + answer[4:],  # a query
            lambda answer: answer[:2] + b"\x81\x85" + answer[4:],  # refused
            lambda answer: answer[:2] + other[2:],  # to another question
            lambda answer: answer[:20],
            lambda answer: answer[:-1],
            lambda answer: answer[:12],
            lambda answer: answer[:6] + b"\xff\xff" + answer[8:],  # more records than there are
            lambda _: b"\xc0" * 500,
            lambda _: b"x",
        ):
            server.spoil = spoil
            with pytest.raises(LookupFailed):
                dns_txt.records("a.example")
        server.spoil = bytes
        assert dns_txt.records("a.example") == ["one"]


def test_a_name_server_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with name_server(monkeypatch, tmp_path) as server:
        server.texts = {"a.example": ["one"]}
        away, here = ("127.0.0.1", 1), ("127.0.0.1", server.port)
        assert dns_txt.records("a.example", [away, here]) == ["one"]
        with pytest.raises(LookupFailed, match="do not answer"):
            dns_txt.records("a.example", [away])
    for wrong in ("a..example", "x" * 64 + ".example", "a." * 130 + "example"):
        with pytest.raises(LookupFailed):
            dns_txt.records(wrong)
