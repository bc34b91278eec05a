"""A secret reaches neither a provider nor a client, wherever it stands and although something hides in it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway_project.sandbox.reply import Scripted
from responses_api.guardrails import folding
from tests.plugins.cases import cases
from tests.responses_api.enforcement.test_surfaces import DATA, ITEMS, PLANTED
from tests.support import guardrails, rows
from tests.support.client import Json, client_of
from tests.support.live import LiveGateway
from tests.support.rows import Customer

PLAIN = "sk-ant-abcdefghij0123"
SECRET = "sk-\u200bant-abcd\u00adefghij\uff10123"
# Parts of a request; each is tried over every protocol in test_surfaces.py.
ASKED = (
    "input as text", "part of a message", "instructions", "system message", "assistant message",
    "refusal", "reasoning summary", "arguments of a call", "result of a call", "parts of a result",
    "input of a custom tool", "result of a custom tool", "name of a file", "definition of a tool",
    "parameters of a tool", "result of an MCP call", "schema of the answer", "metadata",
)  # fmt: skip
PLACE = {"output_index": 0, "item_id": "x_1", "content_index": 0}
LOGPROBS = [{"token": SECRET, "logprob": -1.0, "bytes": [], "top_logprobs": []}]


def message(part: Json) -> Json:
    return {"type": "message", "role": "assistant", "content": [part]}


def said(text: str, **fields: Any) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], **fields}


def called(**fields: Any) -> Json:
    return {"call_id": "c1", **fields}


# By name the item that a provider answers with, and the events that bring its text in a stream.
ANSWERED: dict[str, tuple[Json, list[Json]]] = {
    "text": (
        message(said(SECRET)),
        [{"type": "response.output_text.delta", "delta": char} for char in SECRET],
    ),
    "log probabilities": (
        message(said("x", logprobs=LOGPROBS)),
        [{"type": "response.output_text.delta", "delta": "x", "logprobs": LOGPROBS}],
    ),
    "title of an annotation": (
        message(
            said(
                "x",
                annotations=[
                    {
                        "type": "url_citation", "title": SECRET, "url": "https://x.test",
                        "start_index": 0, "end_index": 1,
                    }
                ],
            )
        ),
        [{"type": "response.output_text.delta", "delta": "x"}],
    ),
    "refusal": (
        message({"type": "refusal", "refusal": SECRET}),
        [{"type": "response.refusal.delta", "delta": char} for char in SECRET],
    ),
    "reasoning summary": (
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": SECRET}]},
        [
            {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": char}
            for char in SECRET
        ],
    ),
    "reasoning": (
        {
            "type": "reasoning", "summary": [],
            "content": [{"type": "reasoning_text", "text": SECRET}],
        },
        [{"type": "response.reasoning_text.delta", "delta": char} for char in SECRET],
    ),
    "arguments of a call": (
        called(type="function_call", name="f", arguments=orjson.dumps({"q": SECRET}).decode()),
        [
            {"type": "response.function_call_arguments.delta", "delta": piece}
            for piece in ('{"q":"', *SECRET, '"}')
        ],
    ),
    "name of a call": (
        called(type="function_call", name=SECRET, arguments="{}"),
        [{"type": "response.function_call_arguments.delta", "delta": "{}"}],
    ),
    "input of a custom tool": (
        called(type="custom_tool_call", name="g", input=SECRET),
        [{"type": "response.custom_tool_call_input.delta", "delta": char} for char in SECRET],
    ),
    "result of an MCP call": (
        {
            "type": "mcp_call", "server_label": "s", "name": "look", "arguments": "{}",
            "output": SECRET,
        },
        [],
    ),
    "item that nobody knows": ({"type": "brand_new", "deep": [{SECRET: [SECRET]}]}, []),
    "search": (
        {"type": "web_search_call", "action": {"type": "search", "query": SECRET}},
        [],
    ),
}  # fmt: skip


@pytest.fixture
def acme(gateway: LiveGateway, acme: Customer) -> Customer:
    guardrails.guardrail(
        "secrets", "secrets", action="mask", stages=["input", "output", "tools"], config={}
    )
    return acme


def plain(raw: bytes) -> str:
    """Return JSON as it reads where nothing hides: without escapes, in its plain form."""
    return folding.plain(raw.decode().replace("\\u200b", "").replace("\\u00ad", ""))


@cases("surface", ASKED)
def test_a_secret_in_a_request_reaches_no_provider(
    gateway: LiveGateway, acme: Customer, surface: str
):
    body = orjson.dumps({"model": "sandbox-responses", "store": False, **ITEMS[surface]})
    with client_of(gateway, acme) as http:
        planted = body.decode().replace(PLANTED, SECRET)
        answer = http.post("/responses", content=planted.encode())
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollgate-guardrails"] == "secrets=masked"
    (call,) = gateway.sandbox.calls
    assert PLAIN[-10:] not in plain(orjson.dumps(call.body)), surface
    assert PLAIN[-10:] not in plain(answer.content)


def lies(gateway: LiveGateway, surface: str) -> None:
    """Have `lie` and `lie-stream` answer with the secret."""
    item, deltas = ANSWERED[surface]
    item = {"id": "x_1", "status": "completed", **item}
    bare: Json = {"id": "resp_x", "object": "response", "created_at": 1, "model": "m", "output": []}
    usage = {
        "input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
        "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    whole = {**bare, "status": "completed", "output": [item], "usage": usage}
    begun = {**item, "status": "in_progress"}
    for name in ("content", "summary", "arguments", "input"):
        if name in begun:
            begun[name] = "" if isinstance(begun[name], str) else []
    events: list[Json] = [
        {"type": "response.created", "response": {**bare, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        *({**PLACE, **delta} for delta in deltas),
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    chunks = [
        b"event: %b\ndata: %b\n\n"
        % (event["type"].encode(), orjson.dumps({**event, "sequence_number": n}))
        for n, event in enumerate(events)
    ]
    as_json = Scripted(content_type="application/json", chunks=(orjson.dumps(whole),))
    gateway.call(lambda: gateway.sandbox.script("lie", as_json))
    gateway.call(lambda: gateway.sandbox.script("lie-stream", Scripted(chunks=chunks)))
    up = rows.provider("responses", gateway.sandbox.base_url, "lying")
    for name in ("lie", "lie-stream"):
        rows.alias(name, (up, name))


@cases("surface", ANSWERED)
def test_a_secret_in_an_answer_reaches_no_client(
    gateway: LiveGateway, acme: Customer, surface: str
):
    lies(gateway, surface)
    with client_of(gateway, acme) as http:
        for model, is_stream in (("lie", False), ("lie-stream", True)):
            answer = http.post(
                "/responses", json={"model": model, "input": "Hi", "stream": is_stream}
            )
            assert answer.status_code == 200, answer.text
            assert '"status":"completed"' in answer.text, (model, answer.text)
            assert PLAIN[-10:] not in plain(answer.content), model
            has_text = surface != "log probabilities"
            assert ("[API_KEY]" in answer.text) is has_text, (model, answer.text)


def test_no_surface_is_left_out():
    assert len(ASKED) + len(ANSWERED) >= 20
    assert set(ASKED) <= set(ITEMS)
    assert DATA  # the text of a file travels encoded, and is looked at in test_surfaces.py
