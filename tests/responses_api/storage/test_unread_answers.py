"""Large stored answers go out as their clients take them, and say the same as small ones."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from gateway_project.sandbox.reply import Scripted
from responses_api.models import StoredItem, StoredResponse
from responses_api.process.held import Held, HeldBytes
from responses_api.process.response_writer import HttpResponseWriter
from responses_api.storage import pieces
from tests.responses_api.accounting.conftest import price
from tests.support import stored
from tests.support.patience import until
from tests.support.wire import Wire, request

pytestmark = pytest.mark.persistence

USED = {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
MEGABYTE = 1024 * 1024
LONG = 'He said: "\\ü😀\n' * 200_000


@pytest.fixture
def http(http_from_root: httpx.Client) -> httpx.Client:
    return http_from_root


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
    assert not gateway.worker.services.held.size


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
    until(lambda: not gateway.worker.services.held.size)


@pytest.mark.long
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
    until(lambda: not gateway.server.server_state.tasks)
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


def test_fresh_answers_that_nobody_reads_are_held_until_their_clients_stall(
    gateway, acme, http, monkeypatch
):
    said = {"role": "assistant", "content": "a" * (8 * MEGABYTE)}
    made = {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}], **USED}
    asked = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "Hello"}]}
    held = HeldBytes(10 * MEGABYTE)
    gateway.change(held=held)
    gateway.limit(send_stall=1.5)
    script = Scripted(chunks=[orjson.dumps(made)], content_type="application/json")
    gateway.sandbox.script("sandbox-1", script)
    with Wire(gateway.root_url, receive_buffer=4096) as unread:
        unread.send(request("chat", acme, asked))
        unread.wait_for(b"\r\n\r\n")
        assert held.size > 8 * MEGABYTE
        answer = http.post("/v1/chat/completions", json=asked)  # waits until the other was let go
        assert answer.json()["choices"][0]["message"] == said
        assert not unread.answer().is_whole
    until(lambda: not held.size and not held.waiting)
    held.size = 10 * MEGABYTE  # by others, who go on reading
    price("sandbox-chat", "sandbox-1", input_pico=0, output_pico=0)
    gateway.call(gateway.worker.forget)
    gateway.limit(send_stall=0.05)
    refused = http.post("/v1/chat/completions", json=asked)
    held.size = 0
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "service_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-tollgate-charge-nano"] == "0"


def test_what_can_be_asked_for_again_leaves_room_for_what_was_just_made(
    gateway, acme, http, monkeypatch
):
    """Clients that do not read what is stored, or replayed, must not make others pay for nothing."""
    said = {"role": "assistant", "content": "a" * MEGABYTE}
    made = {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}], **USED}
    asked = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "Hello"}]}
    script = Scripted(chunks=[orjson.dumps(made)], content_type="application/json")
    gateway.sandbox.script("sandbox-1", script)
    key = {"idempotency-key": "large"}
    assert http.post("/v1/chat/completions", json=asked, headers=key).status_code == 200
    completion = stored.completion(acme, {"role": "user", "content": LONG})
    held = HeldBytes(10 * MEGABYTE)
    gateway.change(held=held)
    until(lambda: not held.size)
    held.size = 5 * MEGABYTE  # by such clients
    gateway.limit(send_stall=0.3)
    again = http.post("/v1/chat/completions", json=asked, headers=key)
    read = http.get(f"/v1/chat/completions/{completion['id']}/messages")
    assert [again.status_code, read.status_code] == [503, 503]
    assert http.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"] == said
    held.waiting = 10 * MEGABYTE // 2
    assert http.post("/v1/chat/completions", json=asked).status_code == 200
    held.waiting = 0
    until(lambda: held.size == 5 * MEGABYTE)
    held.size = 0
    again = http.post("/v1/chat/completions", json=asked, headers=key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")


def test_who_takes_a_large_keyed_answer_slowly_gets_all_of_it(gateway, http, monkeypatch):
    """No piece may take too long; how long all of them take is the client's affair, here as elsewhere."""
    said = {"role": "assistant", "content": "a" * (4 * MEGABYTE)}
    made = {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}], **USED}
    asked = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "Hello"}]}
    script = Scripted(chunks=[orjson.dumps(made)], content_type="application/json")
    gateway.sandbox.script("sandbox-1", script)
    usual = HttpResponseWriter._piece

    async def slow(self: HttpResponseWriter, body: bytes, *, more: bool) -> None:
        await asyncio.sleep(0.25)
        await usual(self, body, more=more)

    monkeypatch.setattr(HttpResponseWriter, "_piece", slow)
    gateway.limit(send_stall=5.0)
    key = {"idempotency-key": "large"}
    for _ in range(2):
        answer = http.post("/v1/chat/completions", json=asked, headers=key)
        assert answer.json()["choices"][0]["message"] == said
    assert answer.headers["idempotent-replayed"] == "true"


def test_what_is_held_whole_is_refused_where_there_is_no_room(gateway, acme, http):
    said = {"role": "user", "content": LONG}
    completion = stored.completion(acme, said)
    place = f"/v1/chat/completions/{completion['id']}/messages"
    others = gateway.call(lambda: Held(gateway.worker.services.held, 10**9))
    refused = http.get(place)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "service_unavailable")
    assert refused.headers["retry-after"] == "1"
    assert http.get(f"/v1/chat/completions/{completion['id']}").status_code == 200
    gateway.call(others.give_back)
    assert http.get(place).status_code == 200
    until(lambda: not gateway.worker.services.held.size)
