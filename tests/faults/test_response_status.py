"""Answers whose fields are missing or of a wrong type, first of all a Response's status: never a fault of the
gateway, and what is stored can be read again."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from gateway_project.sandbox.reply import Scripted
from tests.support import rows
from tests.support.client import client_of
from tests.support.live import LiveGateway

Json = dict[str, Any]

ABSENT = object()
MESSAGE = {
    "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}],
}  # fmt: skip
FILTERED = {"incomplete_details": {"reason": "content_filter"}}
BROKEN = {"error": {"code": "server_error", "message": "m"}}
# What the Response has beside its output; the client's HTTP status and the status of the Response it gets.
CASES: list[tuple[Json, tuple[int, str | None]]] = [
    ({"status": ABSENT}, (200, "completed")),
    ({"status": None}, (200, "completed")),
    ({"status": ""}, (200, "completed")),
    ({"status": ["completed"]}, (200, "completed")),
    ({"status": ABSENT, **FILTERED}, (200, "incomplete")),
    ({"status": "incomplete", **FILTERED}, (200, "incomplete")),
    ({"status": ABSENT, **BROKEN}, (502, None)),
    ({"status": "failed"}, (502, None)),
    ({"status": "cancelled"}, (502, None)),
    ({"status": "in_progress"}, (502, None)),
    ({"status": "s" * 5000}, (502, None)),
    ({"output": [None]}, (502, None)),
    ({"output": [{"type": ["message"]}]}, (502, None)),
]


def response(fields: Json) -> Json:
    whole = {"id": "r", "object": "response", "model": "m", "output": [MESSAGE], **fields}
    return {name: value for name, value in whole.items() if value is not ABSENT}


def play(gateway: LiveGateway, script: Scripted) -> None:
    """Let this be the provider's answer."""
    gateway.call(lambda: gateway.sandbox.script("scripted", script))


@pytest.fixture
def http(gateway: LiveGateway):
    rows.alias("m", (rows.provider("responses", gateway.sandbox.base_url), "scripted"))
    with client_of(gateway, rows.customer("acme")) as client:
        yield client


def test_a_whole_response_is_judged_by_what_it_says(
    gateway: LiveGateway, http: httpx.Client
) -> None:
    for fields, (http_status, status) in CASES:
        whole = json.dumps(response(fields)).encode()
        play(gateway, Scripted(chunks=(whole,), content_type="application/json"))
        answer = http.post("/responses", json={"model": "m", "input": "Hi", "store": True})
        assert answer.status_code == http_status, (fields, answer.text)
        if status is not None:
            assert answer.json()["status"] == status, fields
            assert http.get(f"/responses/{answer.json()['id']}").json()["status"] == status


def test_a_terminal_event_counts_whatever_its_response_says(
    gateway: LiveGateway, http: httpx.Client
) -> None:
    delta = {"type": "response.output_text.delta", "item_id": "x", "output_index": 0, "delta": "Hi"}
    done: Json = {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE}
    cases: list[Json] = [{"status": ABSENT}, {"status": 7}, {"output": [None]}, {"output": ABSENT}]
    for fields in cases:
        ended = {"type": "response.completed", "response": response(fields)}
        events: list[Json] = [delta, done, {**done, "item": 7}, ended]
        chunks = [
            b"data: " + json.dumps({**event, "sequence_number": number}).encode() + b"\n\n"
            for number, event in enumerate(events)
        ]
        play(gateway, Scripted(chunks=chunks))
        asked = {"model": "m", "input": "Hi", "store": True, "stream": True}
        *_, last, end = [
            line
            for line in http.post("/responses", json=asked).text.splitlines()
            if line[:5] == "data:"
        ]
        assert end == "data: [DONE]", fields
        told = json.loads(last[6:])["response"]
        assert told["status"] == "completed", fields
        stored = http.get(f"/responses/{told['id']}").json()
        assert (stored["status"], [item["id"] for item in stored["output"]]) == (
            "completed", ["msg_1"],
        ), fields  # fmt: skip


def test_a_stored_stream_of_chunks_may_hold_calls_of_any_type(
    gateway: LiveGateway, http: httpx.Client
) -> None:
    rows.alias("c", (rows.provider("chat", gateway.sandbox.base_url), "scripted"))
    wrong: list[Any] = [7, "x", [None], [7], ["x"], [[]], [{"index": 0}, 7, {"index": 0}], {}]
    for calls in wrong:
        deltas: list[Json] = [{"content": "Hi"}, {"tool_calls": calls}, {"tool_calls": calls}]
        chunks: list[Json] = [
            {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
        ]
        chunks.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        sent = [b"data: " + json.dumps({"choices": [each]}).encode() + b"\n\n" for each in chunks]
        play(gateway, Scripted(chunks=[*sent, b"data: [DONE]\n\n"]))
        asked = {"model": "c", "messages": [{"role": "user", "content": "Hi"}], "store": True}
        stream = http.post("/chat/completions", json={**asked, "stream": True}).text
        assert stream.endswith("data: [DONE]\n\n"), (calls, stream)
        stored = http.get(f"/chat/completions/{json.loads(stream[6:].split(chr(10))[0])['id']}")
        assert stored.json()["choices"][0]["message"]["content"] == "Hi", calls
