"""Listening sockets go from one gateway to the next."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from gateway_project.serving import handover
from gateway_project.serving.handover import HandoverSocket
from gateway_project.serving.succession import Succession
from tests.support.patience import GIVE_UP_SECONDS


@pytest.fixture
def listeners() -> Iterator[dict[str, socket.socket]]:
    with ExitStack() as opened:
        yield {
            name: opened.enter_context(socket.create_server(("127.0.0.1", 0)))
            for name in ("api", "later")
        }


def offered(path: Path, listeners: dict[str, socket.socket]) -> HandoverSocket:
    found = HandoverSocket(path, listeners, is_activated=False)
    found.open()
    return found


def test_one_that_ends_late_leaves_the_socket_of_the_next(
    tmp_path: Path, listeners: dict[str, socket.socket]
) -> None:
    path = handover.socket_path(tmp_path, "127.0.0.1", 8000)
    older = offered(path, listeners)
    newer = offered(path, listeners)
    older.remove()
    assert path.exists()
    newer.remove()
    assert not path.exists()


def test_what_only_a_later_version_serves_is_not_left_open(
    tmp_path: Path, listeners: dict[str, socket.socket]
) -> None:
    path = handover.socket_path(tmp_path, "127.0.0.1", 8000)
    serving = offered(path, listeners)
    with ThreadPoolExecutor(1) as others:
        answer = others.submit(handover.ask, path)
        wait([*serving.sockets], GIVE_UP_SECONDS)
        serving.has_been_told(serving.sockets[:1])
        predecessor = answer.result(GIVE_UP_SECONDS)
    assert predecessor is not None
    predecessor.close_all_but({"api": None, "sandbox": None})
    api, later = predecessor.listeners["api"], predecessor.listeners["later"]
    assert (api.getsockname(), later.fileno()) == (listeners["api"].getsockname(), -1)
    api.close()
    predecessor.close()
    serving.close_here()


def test_a_directory_that_holds_no_socket_costs_takeovers_alone(
    tmp_path: Path, listeners: dict[str, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").write_text("in the way")
    path = handover.socket_path(tmp_path, "127.0.0.1", 8000)
    succession = Succession(HandoverSocket(path, listeners, is_activated=False), None, False)
    succession.begin()
    assert succession.sockets == []
    assert "no gateway will be able to take over from this one" in caplog.text
    succession.end()
