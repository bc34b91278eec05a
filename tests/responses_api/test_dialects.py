"""Providers that speak a dialect of the client's own protocol: where the row says `translate`, the answer
comes in the standard shape and the request goes out as it came; elsewhere the relay keeps the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest

from gateway_project.sandbox.reply import Scripted
from routing.vendors import VENDORS
from tests.plugins.cases import cases
from tests.support import chat_grammar, grammar, meaning, rows
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.reference import event_validators, explain
from tests.support.rows import Customer

Json = dict[str, Any]
Ask = Callable[..., httpx.Response]

THINKING = {
    "type": "thinking",
    "thinking": [{"type": "text", "text": "Two and "}, {"type": "text", "text": "two."}],
}
MISTRAL_MESSAGE = {"role": "assistant", "content": [THINKING, {"type": "text", "text": "Four."}]}
CITED = ["https://a.example", "https://b.example"]
TOKENS = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
# What a client of chat may ask for that only its upstream can judge or do.
CHAT_TERMS: Json = {
    "messages": [
        {"role": "user", "content": [{"type": "document_url", "document_url": "https://a.example/x.pdf"}]},
        {"role": "assistant", "content": "So", "prefix": True},
    ],
    "temperature": 0.5, "top_p": 0.9, "seed": 7, "stop": ["END"], "logprobs": True, "top_logprobs": 2,
    "logit_bias": {"5": 1.0}, "frequency_penalty": 0.1, "presence_penalty": 0.2, "metadata": {"a": "b"},
    "user": "u", "response_format": {"type": "json_object"}, "reasoning_effort": "low", "safe_prompt": True,
    "tools": [
        {"type": "function", "function": {"name": "my.tool", "parameters": {}}}, {"type": "web_search"},
    ],
    "tool_choice": "any", "search_parameters": {"mode": "on"}, "max_tokens": 50,
}  # fmt: skip


@pytest.fixture
def customer(gateway: LiveGateway) -> Customer:
    return rows.customer("acme")


@pytest.fixture
def ask(gateway: LiveGateway, customer: Customer):
    """Ask a model of either door's protocol what is answered with these bytes; `plain` is relayed."""
    url = gateway.sandbox.base_url
    for protocol in ("chat", "responses"):
        for name, quirks in (("plain", {}), ("dialect", {"translate": True})):
            row = rows.provider(protocol, url, f"{name}-{protocol}", quirks=quirks)
            rows.alias(f"{name}-{protocol}", (row, "scripted"))
    with client_of(gateway, customer) as http:

        def asked(model: str, said: Json | list[Json], **fields: Any) -> httpx.Response:
            stream = isinstance(said, list)
            script = Scripted(chunks=(_stream(model, said),)) if stream else _whole(said)
            gateway.call(lambda: gateway.sandbox.script("scripted", script))
            path, body = (
                ("/chat/completions", CHAT) if "chat" in model else ("/responses", {"input": "Hi"})
            )
            answer = http.post(path, json={"model": model, "stream": stream, **body, **fields})
            gateway.idle()
            return answer

        yield asked


def _whole(said: Any) -> Scripted:
    return Scripted(chunks=(orjson.dumps(said),), content_type="application/json")


def _stream(model: str, said: Any) -> bytes:
    end = b"data: [DONE]\n\n" if "chat" in model else b""
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in said) + end


def completion(message: Json, **beside: Any) -> Json:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "choices": [choice],
        "usage": TOKENS,
        **beside,
    }


def chunk(delta: Json, reason: str | None = None, **beside: Any) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [choice],
        **beside,
    }


MISTRAL_STREAM = [
    chunk({"role": "assistant", "content": ""}),
    chunk(
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Two and two."}]}]}
    ),
    chunk({"content": [{"type": "text", "text": "Fo"}]}),
    chunk({"content": "ur."}),
    chunk({}, "stop", usage=TOKENS),
]
XAI_STREAM = [
    chunk({"role": "assistant", "content": "Four."}),
    chunk({}, "stop", usage=TOKENS, citations=CITED),
]


# Chat


def test_content_lists_become_text_and_reasoning(ask: Ask):
    message = ask("dialect-chat", completion(MISTRAL_MESSAGE)).json()["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Four.", "Two and two.")
    stream = ask("dialect-chat", MISTRAL_STREAM, stream_options={"include_usage": True}).content
    chat_grammar.check_ours(chat_grammar.read(stream), with_usage=True)
    whole = meaning.chat_whole(stream)
    message = whole["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Four.", "Two and two.")
    assert whole["usage"]["total_tokens"] == 13


def test_citations_beside_the_choices_become_annotations(ask: Ask):
    whole = ask(
        "dialect-chat", completion({"role": "assistant", "content": "Four."}, citations=CITED)
    ).json()
    message = whole["choices"][0]["message"]
    streamed = meaning.chat_whole(ask("dialect-chat", XAI_STREAM).content)["choices"][0]["message"]
    for found in (message, streamed):
        assert found["content"] == "Four."
        assert [each["url_citation"]["url"] for each in found["annotations"]] == CITED
        assert {each["type"] for each in found["annotations"]} == {"url_citation"}


def test_a_row_that_does_not_say_so_keeps_the_providers_bytes(ask: Ask):
    said = completion(MISTRAL_MESSAGE, citations=CITED)
    relayed = ask("plain-chat", said).json()
    assert {**relayed, "id": "c", "model": "m"} == said
    lines = ask("plain-chat", MISTRAL_STREAM, stream_options={"include_usage": True}).text.split(
        "\n\n"
    )
    assert [
        {**json.loads(line[6:]), "id": "c", "model": "m"} for line in lines[:-2]
    ] == MISTRAL_STREAM


def test_whatever_was_asked_goes_out_as_it_came(gateway: LiveGateway, ask: Ask):
    """Even fields go out that no other protocol knows: only the answer is put into another shape."""
    sent = []
    for model in ("plain-chat", "dialect-chat"):
        assert ask(model, completion({"content": "Four."}), **CHAT_TERMS).status_code == 200
        sent.append(gateway.sandbox.calls[-1].body)
    assert sent[0] == sent[1] == {**CHAT_TERMS, "model": "scripted", "stream": False}
    asked = {
        "instructions": "Be kind.", "top_p": 0.9, "metadata": {"a": "b"}, "max_output_tokens": 50,
        "tools": [
            {"type": "namespace", "name": "n" * 60, "tools": [{"type": "custom", "name": "run.it"}]},
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "web_search"}, "include": ["web_search_call.action.sources"],
    }  # fmt: skip
    sent = []
    for model in ("plain-responses", "dialect-responses"):
        whole = {"output": [], "status": "completed"}
        assert ask(model, whole, **asked).status_code == 200
        sent.append(gateway.sandbox.calls[-1].body)
    assert sent[0] == sent[1] == {
        **asked, "model": "scripted", "stream": False, "input": "Hi", "store": False,
    }  # fmt: skip


def test_logprobs_and_calls_survive(ask: Ask):
    tokens = [{"token": "Four.", "logprob": -0.1, "bytes": None, "top_logprobs": []}]
    said = completion({"role": "assistant", "content": "Four."})
    said["choices"][0]["logprobs"] = {"content": tokens}
    found = ask("dialect-chat", said, logprobs=True).json()["choices"][0]
    assert [token["token"] for token in found["logprobs"]["content"]] == ["Four."]
    function = {"name": "my.tool", "arguments": '{"a": 1}'}
    said = completion({"content": None, "tool_calls": [{"id": "call_1", "function": function}]})
    tools = [{"type": "function", "function": {"name": "my.tool"}}]
    only = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "my.tool"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": only}
    found = ask("dialect-chat", said, tools=tools, tool_choice=choice).json()["choices"][0]
    assert found["finish_reason"] == "tool_calls"
    (call,) = found["message"]["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("call_1", "function", "my.tool")


def test_what_one_answer_cannot_hold_is_relayed(ask: Ask):
    said = completion(MISTRAL_MESSAGE)
    for fields in (
        {"n": 2},
        {"modalities": ["text", "audio"], "audio": {"voice": "x", "format": "mp3"}},
        {"functions": [{"name": "f"}]},
    ):
        relayed = ask("dialect-chat", said, **fields).json()
        assert {**relayed, "id": "c", "model": "m"} == said, fields


def test_a_stored_completion_is_kept_in_the_standard_shape(
    gateway: LiveGateway, customer: Customer, ask: Ask
):
    made = ask("dialect-chat", completion(MISTRAL_MESSAGE), store=True).json()
    url = f"{gateway.base_url}/chat/completions/{made['id']}"
    assert httpx.get(url, headers=customer.headers).json()["choices"] == made["choices"]


# Responses


def llama(*events: Json) -> list[Json]:
    """Return events as llama.cpp streams them, without `content_index`, `output_index` and numbers.

    https://github.com/ggml-org/llama.cpp/issues/20607
    """
    response = {"id": "resp_l", "object": "response", "model": "m", "status": "in_progress"}
    return [{"type": "response.created", "response": response}, *events]


MESSAGE = {
    "type": "message", "id": "msg_l", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "Four."}],
}  # fmt: skip
LLAMA_STREAM = llama(
    {
        "type": "response.output_item.added",
        "item": {"type": "message", "id": "msg_l", "role": "assistant"},
    },
    {
        "type": "response.content_part.added",
        "item_id": "msg_l",
        "part": {"type": "output_text", "text": ""},
    },
    {"type": "response.output_text.delta", "item_id": "msg_l", "delta": "Fo"},
    {"type": "response.output_text.delta", "item_id": "msg_l", "delta": "ur."},
    {"type": "response.output_text.done", "item_id": "msg_l", "text": "Four."},
    {"type": "response.output_item.done", "item": MESSAGE},
    {
        "type": "response.completed",
        "response": {
            "id": "resp_l",
            "output": [MESSAGE],
            "usage": {"input_tokens": 9, "output_tokens": 4},
        },
    },
)


def test_a_responses_dialect_comes_in_the_grammar(ask: Ask):
    stream = ask("dialect-responses", LLAMA_STREAM).content
    events = grammar.read(stream)
    for event in events:
        assert explain(event_validators()[event["type"]], event) == []
    response = grammar.check(events)
    assert (response["status"], response["output_text"]) == ("completed", "Four.")
    assert response["usage"]["total_tokens"] == 13
    relayed = ask("plain-responses", LLAMA_STREAM).text
    assert '"content_index"' not in relayed


@cases("content", ["text", [1.5, "x", None], [{"type": "output_text", "text": {}}]])
def test_items_of_no_known_shape_end_and_are_stored_like_others(
    gateway: LiveGateway, customer: Customer, ask: Ask, content: Any
):
    """A relayed stream that is cut off after them, and a whole answer that is read back and gone on from."""
    item = {"type": "message", "id": "msg_1", "role": {"not": "a role"}, "content": content}
    begun = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_l"}}
    done = {
        "type": "response.output_item.done",
        "sequence_number": 1,
        "output_index": 0,
        "item": item,
    }
    cut = ask("plain-responses", [begun, done])
    *_, last = grammar.read(cut.content)
    assert (last["type"], last["response"]["output"]) == ("response.failed", [item])
    whole = ask("plain-responses", {"status": "completed", "output": [item]}, store=True).json()
    with client_of(gateway, customer) as http:
        assert http.get(f"/responses/{whole['id']}").json()["output"][0]["role"] == item["role"]
        elsewhere = rows.provider("chat", gateway.sandbox.base_url, "elsewhere")
        rows.alias("elsewhere", (elsewhere, "good"))
        further = {"model": "elsewhere", "input": "So?", "previous_response_id": whole["id"]}
        assert http.post("/responses", json=further).status_code == 400


def test_a_call_into_a_namespace_keeps_its_names(ask: Ask):
    """Names that no other protocol could carry, because here nobody else has to."""
    namespace = "n" * 60
    call = {
        "type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "namespace": namespace,
        "name": "run.it", "input": "now",
    }  # fmt: skip
    tools = [
        {"type": "namespace", "name": namespace, "tools": [{"type": "custom", "name": "run.it"}]}
    ]
    whole = {"status": "completed", "output": [call]}
    (found,) = ask("dialect-responses", whole, tools=tools).json()["output"]
    assert {name: found[name] for name in ("type", "call_id", "namespace", "name", "input")} == {
        name: call[name] for name in ("type", "call_id", "namespace", "name", "input")
    }


# Rows


def test_new_rows_of_vendors_with_a_dialect_say_so():
    assert {vendor.name for vendor in VENDORS if vendor.quirks.get("translate")} == {
        "mistral",
        "xai",
    }
