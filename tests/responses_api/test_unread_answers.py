"""Large stored answers go out as their clients take them, and say the same as small ones."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from responses_api.models import StoredItem, StoredResponse
from responses_api.storage import pieces
from tests.faults.wire import Wire, until
from tests.support import stored
from tests.support.patience import GIVE_UP_SECONDS

pytestmark = pytest.mark.persistence

MEGABYTE = 1024 * 1024
LONG = 'He said: "\\ü😀\n' * 200_000


@pytest.fixture
def http(gateway, acme):
    url = gateway.root_url
    with httpx.Client(base_url=url, headers=acme.headers, timeout=GIVE_UP_SECONDS) as client:
        yield client


def long_response(acme: Any, status: str = "completed") -> dict[str, Any]:
    """A stored Response with texts, an input and instructions that are large."""
    output = [stored.assistant(LONG), stored.assistant("short"), stored.assistant(LONG[::-1])]
    whole = stored.response(acme, stored.user(LONG), stored.user("b"), output=output, status=status)
    row = StoredResponse.objects.get(pk=whole["id"])
    body = orjson.loads(bytes(row.body))
    for name, value in (("instructions", LONG), ("output_text", None)):
        body[name] = value
        whole[name] = value
    row.body = orjson.dumps(body)
    row.save()
    return {**whole, "output_text": LONG + "short" + LONG[::-1]}


def test_a_large_response_says_what_a_small_one_would(gateway, acme, http):
    whole = long_response(acme, status="in_progress")
    stored.run(acme, whole["id"], "cancelled")
    answer = http.get(f"/v1/responses/{whole['id']}")
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content) > 20 * MEGABYTE
    assert answer.json() == {**whole, "status": "cancelled"}
    listed = http.get(f"/v1/responses/{whole['id']}/input_items", params={"order": "asc"}).json()
    assert [item["content"][0]["text"] for item in listed["data"]] == [LONG, "b"]
    assert not gateway.worker.held.size


def test_other_large_answers_are_whole_too(gateway, acme, http):
    items = [stored.user(LONG), stored.user("b"), stored.user(LONG)]
    conversation = http.post("/v1/conversations", json={"items": items}).json()["id"]
    listed = http.get(f"/v1/conversations/{conversation}/items", params={"order": "asc"}).json()
    assert [item["content"][0]["text"] for item in listed["data"]] == [LONG, "b", LONG]
    first = listed["data"][0]
    assert http.get(f"/v1/conversations/{conversation}/items/{first['id']}").json() == first
    said = {"role": "user", "content": LONG}
    completion = stored.completion(acme, said, answer=LONG, metadata={"a": "b"})
    place = f"/v1/chat/completions/{completion['id']}"
    assert http.get(place).json() == completion
    assert http.get("/v1/chat/completions").json()["data"] == [completion]
    assert http.get(f"{place}/messages").json()["data"][0]["content"] == LONG
    until(lambda: not gateway.worker.held.size)


def test_clients_that_do_not_read_cost_a_few_pieces_each_and_are_let_go(
    gateway, acme, http, monkeypatch
):
    whole = long_response(acme)
    read: list[int] = []
    usual = pieces._read

    def counted(batch: Any) -> bytes:
        found = usual(batch)
        read.append(len(found))
        return found

    monkeypatch.setattr(pieces, "_read", counted)
    gateway.limit(send_stall=0.2)
    wires = [Wire(gateway.root_url, receive_buffer=4096) for _ in range(4)]
    ask = f"GET /v1/responses/{whole['id']} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    for wire in wires:
        wire.send(f"{ask}authorization: Bearer {acme.secret}\r\n\r\n".encode())
    for wire in wires:
        wire.wait_for(b"\r\n\r\n")
    until(lambda: not gateway._server.server_state.tasks)
    sent = [size for size in read if size <= pieces.PIECE_BYTES]
    assert len(sent) <= 4 * 8, "of the more than twenty pieces each answer has"
    assert not any(wire.answer().is_whole for wire in wires)
    assert http.get(f"/v1/responses/{whole['id']}").json() == whole


def test_an_answer_whose_rows_are_deleted_meanwhile_is_cut(gateway, acme):
    whole = long_response(acme)
    with Wire(gateway.root_url, receive_buffer=4096) as wire:
        ask = f"GET /v1/responses/{whole['id']} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        wire.send(f"{ask}authorization: Bearer {acme.secret}\r\n\r\n".encode())
        wire.wait_for(b"\r\n\r\n")
        StoredItem.objects.all().delete()
        answer = wire.answer()
        assert answer.status == 200
        assert not answer.is_whole


def test_what_is_held_whole_is_refused_where_there_is_no_room(gateway, acme, http, monkeypatch):
    said = {"role": "user", "content": LONG}
    completion = stored.completion(acme, said)
    place = f"/v1/chat/completions/{completion['id']}/messages"
    monkeypatch.setattr(gateway.worker.held, "size", 10**9)
    refused = http.get(place)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "service_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert http.get(f"/v1/chat/completions/{completion['id']}").status_code == 200
    monkeypatch.setattr(gateway.worker.held, "size", 0)
    assert http.get(place).status_code == 200
    until(lambda: not gateway.worker.held.size)
