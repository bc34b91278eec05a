"""A secret reaches neither a provider nor a client, wherever it stands and although something hides in it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from gateway_project.sandbox.reply import Scripted
from responses_api.guardrails import folding
from routing.protocols import PROTOCOLS as KNOWN_PROTOCOLS
from routing.protocols.shared import envelope
from tests.plugins.cases import cases, each_value
from tests.responses_api.enforcement.test_surfaces import DATA, ITEMS, PLANTED
from tests.support import guardrails, rows
from tests.support.client import PATHS, Json, ask, client_of
from tests.support.live import LiveGateway
from tests.support.rows import Customer

PLAIN = "sk-ant-abcdefghij0123"
SECRET = "sk-\u200bant-abcd\u00adefghij\uff10123"
# Parts of a request; each is tried over every protocol in test_surfaces.py.
ASKED = (
    "input as text", "part of a message", "instructions", "system message", "assistant message",
    "refusal", "reasoning summary", "arguments of a call", "result of a call", "parts of a result",
    "input of a custom tool", "result of a custom tool", "name of a file", "text of a file",
    "definition of a tool", "parameters of a tool", "result of an MCP call", "schema of the answer",
    "metadata",
)  # fmt: skip
FILE = base64.b64encode(f"a file with {SECRET} in it".encode()).decode()
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
    """Return JSON as it reads where nothing hides: without escapes, in its plain form, with files and what we
    sealed opened."""
    raw = re.sub(
        rb"tollgate\.1\.[A-Za-z0-9_-]+", lambda found: envelope.read(found[0].decode()), raw
    )
    raw = re.sub(rb"(?<=;base64,)[A-Za-z0-9+/=]+", lambda found: base64.b64decode(found[0]), raw)
    return folding.plain(raw.decode().replace("\\u200b", "").replace("\\u00ad", ""))


@cases("surface", ASKED)
def test_a_secret_in_a_request_reaches_no_provider(
    gateway: LiveGateway, acme: Customer, surface: str
):
    body = orjson.dumps({"model": "sandbox-responses", "store": False, **ITEMS[surface]})
    with client_of(gateway, acme) as http:
        planted = body.decode().replace(PLANTED, SECRET).replace(DATA, FILE)
        answer = http.post("/responses", content=planted.encode())
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollgate-guardrails"] == "secrets=masked"
    (call,) = gateway.sandbox.calls
    sent = plain(orjson.dumps(call.body))
    assert PLAIN[-10:] not in sent, surface
    assert "[API_KEY]" in sent, surface
    assert PLAIN[-10:] not in plain(answer.content)


# The same of the other protocols: a message and its deltas, and a block of content and its deltas.
CALL = {"id": "c1", "type": "function"}
ARGUMENTS = orjson.dumps({"q": SECRET}).decode()


def _called(name: str, *arguments: str) -> tuple[Json, list[Json]]:
    whole = {**CALL, "function": {"name": name, "arguments": "".join(arguments)}}
    begun = {"index": 0, **CALL, "function": {"name": name, "arguments": ""}}
    pieces = [{"index": 0, "function": {"arguments": piece}} for piece in arguments]
    return {"tool_calls": [whole]}, [{"tool_calls": [each]} for each in (begun, *pieces)]


CITED = {"type": "url_citation", "url_citation": {
    "title": SECRET, "url": "https://x.test", "start_index": 0, "end_index": 1,
}}  # fmt: skip
COMPLETIONS: dict[str, tuple[Json, list[Json]]] = {
    "text": ({"content": SECRET}, [{"content": char} for char in SECRET]),
    "title of an annotation": (
        {"content": "x", "annotations": [CITED]},
        [{"content": "x"}, {"annotations": [CITED]}],
    ),
    "refusal": ({"refusal": SECRET}, [{"refusal": char} for char in SECRET]),
    "reasoning": (
        {"reasoning_content": SECRET, "content": "x"},
        [*({"reasoning_content": char} for char in SECRET), {"content": "x"}],
    ),
    "arguments of a call": _called("f", '{"q":"', *SECRET, '"}'),
    "name of a call": _called(SECRET, "{}"),
}
SOURCE = {"type": "web_search_result_location", "title": SECRET, "url": "https://x.test"}
USED: Json = {"type": "server_tool_use", "id": "s1", "name": "web_search"}
FOUND: Json = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
ASKED_MCP: Json = {
    "type": "mcp_tool_use",
    "id": "s1",
    "name": "look",
    "server_name": "s",
    "input": {},
}
TOLD_BY_MCP: Json = {"type": "mcp_tool_result", "tool_use_id": "s1", "is_error": False}
BLOCKS: dict[str, list[tuple[Json, list[Json]]]] = {
    "text": [
        (
            {"type": "text", "text": SECRET},
            [{"type": "text_delta", "text": char} for char in SECRET],
        )
    ],
    "title of an annotation": [
        (
            {"type": "text", "text": "x", "citations": [SOURCE]},
            [
                {"type": "text_delta", "text": "x"},
                {"type": "citations_delta", "citation": SOURCE},
            ],
        )
    ],
    "reasoning": [
        (
            {"type": "thinking", "thinking": SECRET, "signature": "s"},
            [{"type": "thinking_delta", "thinking": char} for char in SECRET],
        )
    ],
    "arguments of a call": [
        (
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"q": SECRET}},
            [
                {"type": "input_json_delta", "partial_json": piece}
                for piece in ('{"q":"', *SECRET, '"}')
            ],
        )
    ],
    "name of a call": [
        (
            {"type": "tool_use", "id": "c1", "name": SECRET, "input": {}},
            [{"type": "input_json_delta", "partial_json": "{}"}],
        )
    ],
    "result of an MCP call": [
        (ASKED_MCP, []),
        ({**TOLD_BY_MCP, "content": [{"type": "text", "text": SECRET}]}, []),
    ],
    "search": [
        (
            {**USED, "input": {"query": SECRET}},
            [
                {
                    "type": "input_json_delta",
                    "partial_json": orjson.dumps({"query": SECRET}).decode(),
                }
            ],
        ),
        (FOUND, []),
    ],
}
Bodies = tuple[bytes, list[bytes]]  # a whole answer, and its stream


def events_of(events: list[Json]) -> list[bytes]:
    return [
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
        for event in events
    ]


def as_response(surface: str) -> Bodies:
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
    numbered = [{**event, "sequence_number": n} for n, event in enumerate(events)]
    return orjson.dumps(whole), events_of(numbered)


def as_completion(surface: str) -> Bodies:
    message, deltas = COMPLETIONS[surface]
    reason = "tool_calls" if "tool_calls" in message else "stop"
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    about = {"id": "x", "created": 1, "model": "m"}
    message = {"role": "assistant", "content": None, **message}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    whole = {**about, "object": "chat.completion", "choices": [choice], "usage": usage}
    about["object"] = "chat.completion.chunk"
    choices = [{"index": 0, "delta": {"role": "assistant", **delta}} for delta in deltas]
    end = {"index": 0, "delta": {}, "finish_reason": reason}
    chunks: list[Json] = [{**about, "choices": [each]} for each in (*choices, end)]
    chunks.append({**about, "choices": [], "usage": usage})
    stream = [b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks]
    return orjson.dumps(whole), [*stream, b"data: [DONE]\n\n"]


def as_anthropic_message(surface: str) -> Bodies:
    blocks = BLOCKS[surface]
    reason = "tool_use" if blocks[0][0]["type"] == "tool_use" else "end_turn"
    about: Json = {"id": "msg_x", "type": "message", "role": "assistant", "model": "m"}
    usage = {"input_tokens": 1, "output_tokens": 1}
    ended = {"stop_reason": reason, "stop_sequence": None}
    content = [block for block, _ in blocks]
    whole = {**about, "content": content, **ended, "usage": usage}
    opening = {**about, "content": [], "stop_reason": None, "usage": usage}
    events: list[Json] = [{"type": "message_start", "message": opening}]
    empty: Json = {"text": "", "thinking": "", "signature": "", "input": {}, "citations": []}
    for index, (block, deltas) in enumerate(blocks):
        begun = {name: empty.get(name, value) for name, value in block.items()}
        events += [
            {"type": "content_block_start", "index": index, "content_block": begun},
            *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": index},
        ]
    events += [
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return orjson.dumps(whole), events_of(events)


PROTOCOLS: dict[str, tuple[dict[str, Any], Callable[[str], Bodies]]] = {
    "responses": (ANSWERED, as_response),
    "chat": (COMPLETIONS, as_completion),
    "anthropic": (BLOCKS, as_anthropic_message),
}
ANSWERS = [
    pytest.param(protocol, surface, id=f"{protocol}-{surface}")
    for protocol, (surfaces, _) in PROTOCOLS.items()
    for surface in surfaces
]
# What has no place in a chat completion goes; log probabilities go wherever a text may be changed.
NOWHERE_IN_CHAT = {"result of an MCP call", "item that nobody knows", "search"}


def lies(gateway: LiveGateway, protocol: str, surface: str) -> None:
    """Have `lie` and `lie-stream` answer with the secret."""
    whole, stream = PROTOCOLS[protocol][1](surface)
    as_json = Scripted(content_type="application/json", chunks=(whole,))
    gateway.call(lambda: gateway.sandbox.script("lie", as_json))
    gateway.call(lambda: gateway.sandbox.script("lie-stream", Scripted(chunks=stream)))
    up = rows.provider(protocol, gateway.sandbox.base_url, "lying")
    for name in ("lie", "lie-stream"):
        rows.alias(name, (up, name))


@each_value
@cases("door", list(PATHS))
@cases(("protocol", "surface"), ANSWERS)
def test_a_secret_in_an_answer_reaches_no_client(
    gateway: LiveGateway, acme: Customer, door: str, protocol: str, surface: str
):
    lies(gateway, protocol, surface)
    for model, is_stream in (("lie", False), ("lie-stream", True)):
        answer = ask(gateway, door, acme, model, stream=is_stream)
        assert answer.status_code == 200, answer.text
        end = '"status":"completed"' if door == "responses" else '"finish_reason":"'
        assert end in answer.text, (model, answer.text)
        assert PLAIN[-10:] not in plain(answer.content), model
        gone = {"log probabilities"} | (NOWHERE_IN_CHAT if door == "chat" else set())
        assert ("[API_KEY]" in answer.text) is (surface not in gone), (model, answer.text)


def test_no_surface_is_left_out():
    assert len(ASKED) + len(ANSWERED) >= 20
    assert set(ASKED) <= set(ITEMS)
    assert set(COMPLETIONS) | set(BLOCKS) <= set(ANSWERED)
    assert set(PROTOCOLS) == set(KNOWN_PROTOCOLS)
