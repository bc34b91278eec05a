"""Conversations of more than one turn over every cell: what the provider is sent of what was said before.

The sandbox answers, and its log tells what it received. The history in it is read by hand, in the words of
each protocol, and must be the same whichever protocol it is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import httpx
import pytest

from gateway_project.sandbox.plan import REASONING
from gateway_project.sandbox.reply import Scripted
from routing.models import ProviderModel
from tests.plugins.cases import cases
from tests.support import chat_grammar, grammar, meaning, rows
from tests.support.client import PATHS, client_of
from tests.support.live import LiveGateway
from tests.support.meaning import Meaning, parsed

Json = dict[str, Any]

PROTOCOLS = ("chat", "responses", "anthropic")
CELLS = list(product(("chat", "responses"), PROTOCOLS))
TRANSLATED = [cell for cell in CELLS if cell[0] != cell[1]]
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TIME = {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": 'start: "a"+'}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edit files.", "format": GRAMMAR}
CLOCK = {"type": "namespace", "name": "clock", "description": "Time.", "tools": [TIME]}
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()


def named(cells: list[tuple[str, str]]) -> Any:
    ids = ["-over-".join(cell) for cell in cells]
    return cases(("door", "protocol"), cells, ids=ids)


each_cell = named(CELLS)
each_translated_cell = named(TRANSLATED)
each_protocol = cases("protocol", PROTOCOLS)
streamed_or_not = cases("stream", [False, True], ids=["json", "stream"])


class Answered(NamedTuple):
    """A turn's answer: as JSON whichever way it came, and what it says."""

    whole: Json
    meaning: Meaning


class Client:
    """Asks through either door, checks the form of every stream, and sees what the provider received."""

    def __init__(self, gateway: LiveGateway, http: httpx.Client) -> None:
        self.gateway = gateway
        self.http = http

    def post(
        self, door: str, model: str, conversation: list[Json], **fields: Any
    ) -> httpx.Response:
        name = "messages" if door == "chat" else "input"
        body = {"model": model, name: conversation, **fields}
        return self.http.post(PATHS[door], json=body)

    def ask(self, door: str, model: str, conversation: list[Json], **fields: Any) -> Answered:
        answer = self.post(door, model, conversation, **fields)
        assert answer.status_code == 200, answer.text
        whole = _final(door, answer.content) if fields.get("stream") else answer.json()
        return Answered(whole, meaning.MEANING[door](whole))

    @property
    def sent(self) -> Json:
        """The body the provider received last."""
        self.gateway.idle()
        body: Json = self.gateway.sandbox.calls[-1].body
        return body


def _final(door: str, stream: bytes) -> Json:
    if door == "responses":
        return grammar.check_stream(stream)
    chat_grammar.check(chat_grammar.read(stream))
    return meaning.chat_whole(stream)


@pytest.fixture
def client(gateway: LiveGateway) -> Iterator[Client]:
    """Two providers of each protocol, `<protocol>` and `other-<protocol>`; `able-<protocol>` can do more."""
    customer, url = rows.customer("acme"), gateway.sandbox.base_url
    for protocol in PROTOCOLS:
        provider = rows.provider(protocol, url)
        rows.alias(protocol, (provider, "sandbox-1"))
        rows.alias(
            f"other-{protocol}", (rows.provider(protocol, url, f"other-{protocol}"), "sandbox-1")
        )
        ProviderModel.objects.create(
            provider=provider,
            upstream_id="sandbox-2",
            capabilities=["structured_output", "reasoning"],
        )
        rows.alias(f"able-{protocol}", (provider, "sandbox-2"))
    with client_of(gateway, customer) as http:
        yield Client(gateway, http)


# What either door calls things


def as_chat_tool(tool: Json) -> Json:
    kind = tool["type"]
    inner = {name: value for name, value in tool.items() if name != "type"}
    if isinstance(form := inner.get("format"), dict):
        told = {name: value for name, value in form.items() if name != "type"}
        inner["format"] = {"type": "grammar", "grammar": told}
    return {"type": kind, kind: inner}


def tools_of(door: str, *tools: Json) -> list[Json]:
    return [as_chat_tool(tool) for tool in tools] if door == "chat" else list(tools)


def user(door: str, *content: Json | str) -> Json:
    """A user's turn; texts in either door's form, other parts as given."""
    if len(content) == 1 and isinstance(content[0], str):
        return {"role": "user", "content": content[0]}
    kind = "text" if door == "chat" else "input_text"
    parts = [{"type": kind, "text": part} if isinstance(part, str) else part for part in content]
    return {"role": "user", "content": parts}


def answered(door: str, answer: Answered) -> list[Json]:
    """The assistant's turn as a client sends it back: unmodified."""
    if door == "chat":
        return [answer.whole["choices"][0]["message"]]
    items: list[Json] = answer.whole["output"]
    return items


def result(door: str, call_id: str, output: Any, kind: str = "function_call") -> Json:
    if door == "chat":
        return {"role": "tool", "tool_call_id": call_id, "content": output}
    return {"type": f"{kind}_output", "call_id": call_id, "output": output}


# What a provider was told, in its own words


def history(protocol: str, body: Json) -> list[tuple[Any, ...]]:
    """Return who said, called and answered what, in order, without system prompts and thoughts."""
    return list(_HISTORIES[protocol](body))


def _of_chat(body: Json) -> Iterator[tuple[Any, ...]]:
    for message in body["messages"]:
        if message["role"] == "tool":
            yield "result", message["tool_call_id"], message["content"]
        elif message["role"] in {"user", "assistant"}:
            if message["content"]:
                yield message["role"], message["content"]
            for call in message.get("tool_calls") or ():
                called = call["function"] if call["type"] == "function" else call["custom"]
                given = called["arguments"] if "arguments" in called else called["input"]
                yield "call", call["id"], called["name"], parsed(given)


def _of_responses(body: Json) -> Iterator[tuple[Any, ...]]:
    for item in body["input"]:
        kind = item.get("type", "message")
        if kind == "message":
            content = item["content"]
            yield item["role"], content if isinstance(content, str) else _joined(content)
        elif kind.endswith("_call"):
            yield (
                "call",
                item["call_id"],
                item["name"],
                parsed(item.get("arguments", item.get("input"))),
            )
        elif kind.endswith("_call_output"):
            yield "result", item["call_id"], item["output"]


def _of_anthropic(body: Json) -> Iterator[tuple[Any, ...]]:
    for message in body["messages"]:
        for block in message["content"]:
            match block["type"]:
                case "text":
                    yield message["role"], block["text"]
                case "tool_use":
                    yield "call", block["id"], block["name"], block["input"]
                case "tool_result":
                    yield "result", block["tool_use_id"], block.get("content", "")


def _joined(parts: list[Json]) -> str:
    return "".join(part.get("text", "") for part in parts)


_HISTORIES: dict[str, Callable[[Json], Iterator[tuple[Any, ...]]]] = {
    "chat": _of_chat,
    "responses": _of_responses,
    "anthropic": _of_anthropic,
}


# Calls and their results


@each_cell
@streamed_or_not
def test_a_call_goes_back_with_its_result_under_the_id_the_vendor_gave(
    client, door, protocol, stream
):
    fields = {"tools": tools_of(door, WEATHER), "stream": stream}
    asked = user(door, "[tool] Weather?")
    first = client.ask(door, protocol, [asked], **fields)
    (call,) = first.meaning.calls
    assert (call.name, parsed(call.arguments)) == ("get_weather", {"city": "sandbox"})
    turns = [asked, *answered(door, first), result(door, call.call_id, "sunny")]
    after = client.ask(door, protocol, turns, **fields)
    assert after.meaning.text == "The tool answered: sunny"
    assert history(protocol, client.sent) == [
        ("user", "[tool] Weather?"),
        ("call", call.call_id, "get_weather", {"city": "sandbox"}),
        ("result", call.call_id, "sunny"),
    ]


@each_cell
@streamed_or_not
def test_results_of_parallel_calls_follow_their_turn_in_its_order(client, door, protocol, stream):
    fields = {"tools": tools_of(door, WEATHER, TIME), "stream": stream}
    asked = user(door, "[tools=3] What?")
    first = client.ask(door, protocol, [asked], **fields)
    calls = first.meaning.calls
    assert [call.name for call in calls] == ["get_weather", "get_time", "get_weather"]
    assert len({call.call_id for call in calls}) == 3
    # A client may give the results in any order.
    results = [result(door, call.call_id, str(place)) for place, call in enumerate(calls)]
    turns = [asked, *answered(door, first), *reversed(results), user(door, "[tools=3] And?")]
    client.ask(door, protocol, turns, tools=[], stream=stream)
    told = history(protocol, client.sent)
    assert [entry[:2] for entry in told if entry[0] == "call"] == [
        ("call", call.call_id) for call in calls
    ]
    found = [entry for entry in told if entry[0] == "result"]
    wanted = [("result", call.call_id, str(place)) for place, call in enumerate(calls)]
    if (door, protocol) in TRANSLATED and protocol != "responses":
        assert found == wanted
    assert sorted(found) == sorted(wanted)
    assert [entry[0] for entry in told] == ["user", *["call"] * 3, *["result"] * 3, "user"]


def test_anthropic_gets_all_results_of_a_turn_in_one_message_and_first(client):
    calls: list[Json] = [
        {"type": "function_call", "call_id": f"call_{n}", "name": "get_time", "arguments": "{}"}
        for n in range(2)
    ]
    results = [result("responses", f"call_{n}", str(n)) for n in range(2)]
    turns = [
        user("responses", "a"),
        calls[0],
        calls[1],
        results[1],
        user("responses", "b"),
        results[0],
    ]
    client.ask("responses", "anthropic", turns, tools=[TIME])
    question, uses, answers = client.sent["messages"]
    assert [message["role"] for message in (question, uses, answers)] == [
        "user",
        "assistant",
        "user",
    ]
    assert [block["type"] for block in answers["content"]] == ["tool_result", "tool_result", "text"]
    assert [block.get("tool_use_id") for block in answers["content"]] == ["call_0", "call_1", None]


@each_translated_cell
def test_a_result_without_its_call_is_refused_by_name(client, door, protocol):
    turns = [user(door, "Hi"), result(door, "call_x", "sunny")]
    answer = client.post(door, protocol, turns)
    at = "messages[1].tool_call_id" if door == "chat" else "input[1].call_id"
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, at)
    assert len(client.gateway.sandbox.calls) == 0


@each_translated_cell
def test_a_call_without_its_result_is_refused_by_name(client, door, protocol):
    first = client.ask(door, protocol, [user(door, "[tool]")], tools=tools_of(door, TIME))
    turns = [user(door, "[tool]"), *answered(door, first), user(door, "And?")]
    answer = client.post(door, protocol, turns)
    assert answer.status_code == 400
    assert first.meaning.calls[0].call_id in answer.json()["error"]["message"]
    assert len(client.gateway.sandbox.calls) == 1


@each_translated_cell
@cases("output", ["", "text", ["one", "two"]], ids=["empty", "text", "parts"])
def test_a_result_may_be_text_or_parts(client, door, protocol, output):
    first = client.ask(door, protocol, [user(door, "[tool]")], tools=tools_of(door, TIME))
    (call,) = first.meaning.calls
    kind = "text" if door == "chat" else "input_text"
    given = output if isinstance(output, str) else [{"type": kind, "text": text} for text in output]
    turns = [user(door, "[tool]"), *answered(door, first), result(door, call.call_id, given)]
    after = client.ask(door, protocol, turns, tools=tools_of(door, TIME))
    said = output if isinstance(output, str) else "\n".join(output)
    assert after.meaning.text.strip() == f"The tool answered: {said}".strip()
    told = json.dumps(client.sent)
    assert all(word in told for word in ([output] if isinstance(output, str) else output))


@each_protocol
def test_a_result_may_be_an_object_of_a_careless_client(client, protocol):
    call = {"type": "function_call", "call_id": "call_1", "name": "get_time", "arguments": "{}"}
    turns = [user("responses", "a"), call, result("responses", "call_1", {"hour": 5})]
    client.ask("responses", protocol, turns, tools=[TIME])
    (told,) = (entry for entry in history(protocol, client.sent) if entry[0] == "result")
    assert parsed(told[2]) == {"hour": 5}


@each_protocol
def test_an_image_that_a_tool_gave_reaches_the_model(client, protocol):
    url = f"data:image/png;base64,{PIXEL}"
    call = {"type": "function_call", "call_id": "call_1", "name": "get_time", "arguments": "{}"}
    given = [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": url}]
    turns = [user("responses", "a"), call, result("responses", "call_1", given)]
    client.ask("responses", protocol, turns, tools=[TIME])
    assert PIXEL in json.dumps(client.sent)


# Thought


@each_protocol
@streamed_or_not
def test_sealed_thought_returns_to_who_sealed_it_alone(client, protocol, stream):
    """See docs/wire.md, pitfalls 23 and 24."""
    asked = user("responses", "[tool] [reason] Weather?")
    fields = {"tools": [WEATHER], "stream": stream}
    first = client.ask("responses", protocol, [asked], **fields)
    thought, item = first.whole["output"]
    assert (thought["type"], item["type"]) == ("reasoning", "function_call")
    turns = [asked, thought, item, result("responses", item["call_id"], "sunny")]
    for model in (protocol, f"other-{protocol}", *set(PROTOCOLS) - {protocol}):
        client.ask("responses", model, turns, **fields)
        to = model.removeprefix("other-")
        assert seals(to, client.sent) == (
            returned(protocol, thought) if may_see(model, protocol) else []
        )
        assert [entry[0] for entry in history(to, client.sent)] == ["user", "call", "result"]


def may_see(model: str, sealed_by: str) -> bool:
    """OpenAI's protocol seals its thoughts without naming a vendor: any that speaks it may see them."""
    return model == sealed_by or (sealed_by == "responses" and model == "other-responses")


def returned(protocol: str, thought: Json) -> list[Any]:
    """Return what the vendor must get back: the sandbox's Anthropic signs with a text, OpenAI encrypts."""
    match protocol:
        case "anthropic":
            inside = thought["encrypted_content"].removeprefix("tollgate.1.")
            _, _, block = json.loads(base64.urlsafe_b64decode(inside + "=" * (-len(inside) % 4)))
            assert block["thinking"] == REASONING
            return [block]
        case "responses":
            return [thought["encrypted_content"]]
    return []  # a chat server seals nothing


def seals(protocol: str, body: Json) -> list[Any]:
    """The sealed thoughts a provider was sent, each before the call it led to."""
    if protocol == "anthropic":
        blocks = [block for message in body["messages"] for block in message["content"]]
        kinds = [block["type"] for block in blocks]
        assert "thinking" not in kinds or kinds.index("thinking") == kinds.index("tool_use") - 1
        return [block for block in blocks if block["type"] == "thinking"]
    if protocol == "responses":
        kinds = [item.get("type") for item in body["input"]]
        assert "reasoning" not in kinds or kinds.index("reasoning") < kinds.index("function_call")
        return [
            item["encrypted_content"]
            for item in body["input"]
            if item.get("type") == "reasoning" and item.get("encrypted_content")
        ]
    return [
        message["reasoning_details"]
        for message in body["messages"]
        if "reasoning_details" in message
    ]


DETAILS = [
    {
        "type": "reasoning.text",
        "text": "Hm.",
        "signature": "sig-1",
        "format": "anthropic-claude-v1",
        "index": 0,
    },
    {"type": "reasoning.encrypted", "data": "opaque", "id": "r1", "index": 1},
]


@streamed_or_not
def test_reasoning_details_of_a_router_return_to_it_alone(client, stream):
    """https://openrouter.ai/docs/guides/best-practices/reasoning-tokens"""
    called = {"name": "get_time", "arguments": "{}"}
    call = {"index": 0, "id": "call_1", "type": "function", "function": called}
    said = {"role": "assistant", "reasoning_details": DETAILS, "tool_calls": [call]}
    scripted(client, "chat", stream, said, "tool_calls")
    fields = {"tools": [TIME], "stream": stream}
    asked = user("responses", "What?")
    first = client.ask("responses", "scripted", [asked], **fields)
    turns = [asked, *first.whole["output"], result("responses", "call_1", "noon")]
    client.ask("responses", "scripted", turns, **fields)
    assert seals("chat", client.sent) == [DETAILS]
    for model in PROTOCOLS:  # `chat` is another provider of the same protocol
        client.ask("responses", model, turns, **fields)
        assert seals(model, client.sent) == []
        assert "opaque" not in json.dumps(client.sent)


def scripted(client: Client, protocol: str, stream: bool, message: Json, reason: str) -> None:
    """The alias `scripted`, whose provider of chat completions gives this answer."""
    head = {"id": "c", "created": 1, "model": "m"}
    if stream:
        parts = [
            {"index": 0, "delta": message, "finish_reason": None},
            {"index": 0, "delta": {}, "finish_reason": reason},
        ]
        chunks = [{**head, "object": "chat.completion.chunk", "choices": [part]} for part in parts]
        told = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
        script = Scripted(chunks=[told + b"data: [DONE]\n\n"])
    else:
        choice = {"index": 0, "message": message, "finish_reason": reason}
        whole = json.dumps({**head, "object": "chat.completion", "choices": [choice]}).encode()
        script = Scripted(chunks=[whole], content_type="application/json")
    client.gateway.call(lambda: client.gateway.sandbox.script("scripted-1", script))
    provider = rows.provider(protocol, client.gateway.sandbox.base_url, "scripted")
    rows.alias("scripted", (provider, "scripted-1"))


@each_cell
@streamed_or_not
def test_thought_never_becomes_something_that_was_said(client, door, protocol, stream):
    """See docs/wire.md, pitfall 22."""
    asked = user(door, "[reason] Hi")
    first = client.ask(door, protocol, [asked], stream=stream)
    assert first.meaning.thoughts == (REASONING,)
    assert first.meaning.text == "You said: Hi"
    client.ask(door, protocol, [asked, *answered(door, first), user(door, "b")], stream=stream)
    assert history(protocol, client.sent) == [
        ("user", "[reason] Hi"),
        ("assistant", "You said: Hi"),
        ("user", "b"),
    ]


# Tools of other kinds


@each_cell
@streamed_or_not
def test_a_custom_tool_is_plain_text_to_the_client_in_both_turns(client, door, protocol, stream):
    fields = {"tools": tools_of(door, PATCH), "stream": stream}
    asked = user(door, "[tool] Patch it.")
    first = client.ask(door, protocol, [asked], **fields)
    (call,) = first.meaning.calls
    is_native = protocol in {"responses", door}
    assert call.arguments == ("plain input for apply_patch" if is_native else "sandbox")
    offered = json.dumps(client.sent["tools"])
    assert "lark" in offered
    assert json.dumps(GRAMMAR["definition"])[1:-1] in offered or 'start: \\"a\\"+' in offered
    turns = [asked, *answered(door, first), result(door, call.call_id, "done", "custom_tool_call")]
    after = client.ask(door, protocol, turns, **fields)
    assert after.meaning.text == "The tool answered: done"
    given = call.arguments if is_native else {"input": call.arguments}
    assert history(protocol, client.sent)[1:] == [
        ("call", call.call_id, "apply_patch", given),
        ("result", call.call_id, "done"),
    ]


@cases("protocol", ["chat", "anthropic"])
@streamed_or_not
def test_a_tool_of_a_namespace_is_flattened_for_the_vendor_and_restored_for_the_client(
    client, protocol, stream
):
    fields = {"tools": [CLOCK], "stream": stream}
    asked = user("responses", "[tool] Time?")
    first = client.ask("responses", protocol, [asked], **fields)
    (item,) = first.whole["output"]
    assert (item["namespace"], item["name"]) == ("clock", "get_time")
    assert "clock__get_time" in json.dumps(client.sent["tools"])
    turns = [asked, item, result("responses", item["call_id"], "noon")]
    after = client.ask("responses", protocol, turns, **fields)
    assert after.meaning.text == "The tool answered: noon"
    assert history(protocol, client.sent)[1:] == [
        ("call", item["call_id"], "clock__get_time", {}),
        ("result", item["call_id"], "noon"),
    ]


@cases("protocol", ["chat", "anthropic"])
@streamed_or_not
def test_tools_that_the_input_brings_are_offered_too(client, protocol, stream):
    brings = {"type": "additional_tools", "role": "developer", "tools": [WEATHER, CLOCK]}
    turns = [brings, user("responses", "[tools=2]")]
    first = client.ask("responses", protocol, turns, tools=[PATCH], stream=stream)
    assert offered(protocol, client.sent) == ["apply_patch", "get_weather", "clock__get_time"]
    assert [call.name for call in first.meaning.calls] == ["apply_patch", "get_weather"]


def offered(protocol: str, body: Json) -> list[str]:
    """The names of the tools a provider was told of."""
    tools = body.get("tools", [])
    return [tool["function"]["name"] if protocol == "chat" else tool["name"] for tool in tools]


def allowed(door: str, mode: str, *names: str) -> Json:
    if door == "chat":
        tools: list[Json] = [{"type": "function", "function": {"name": name}} for name in names]
        return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
    tools = [{"type": "function", "name": name} for name in names]
    return {"type": "allowed_tools", "mode": mode, "tools": tools}


@each_translated_cell
@streamed_or_not
@cases("mode", ["auto", "required"])
def test_only_allowed_tools_can_be_called(client, door, protocol, stream, mode):
    fields = {"tools": tools_of(door, WEATHER, TIME), "stream": stream}
    choice = allowed(door, mode, "get_time")
    answer = client.ask(door, protocol, [user(door, "[tools=2]")], tool_choice=choice, **fields)
    assert {call.name for call in answer.meaning.calls} == {"get_time"}
    if protocol == "responses":  # which knows the form, and so can keep its cache of the whole list
        assert client.sent["tool_choice"] == allowed("responses", mode, "get_time")
    else:
        assert offered(protocol, client.sent) == ["get_time"]


DISOBEDIENT: dict[str, Json] = {
    "chat": {
        "id": "c",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "get_weather", "arguments": "{}"},
                        }
                    ],
                },
            }
        ],
    },
    "responses": {
        "id": "r",
        "status": "completed",
        "output": [
            {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_1",
                "name": "get_weather",
                "arguments": "{}",
                "status": "completed",
            }
        ],
    },
    "anthropic": {
        "id": "m",
        "stop_reason": "tool_use",
        "usage": {},
        "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}],
    },
}


@each_translated_cell
@cases("choice", ["none", "allowed"], ids=["no tool may be called", "another may be called"])
def test_a_call_that_was_not_allowed_never_reaches_the_client(client, door, protocol, choice):
    raw = json.dumps(DISOBEDIENT[protocol]).encode()
    script = Scripted(chunks=[raw], content_type="application/json")
    client.gateway.call(lambda: client.gateway.sandbox.script("scripted-1", script))
    provider = rows.provider(protocol, client.gateway.sandbox.base_url, "scripted")
    rows.alias("scripted", (provider, "scripted-1"))
    wish = choice if choice == "none" else allowed(door, "auto", "get_time")
    fields = {"tools": tools_of(door, WEATHER, TIME), "tool_choice": wish}
    answer = client.post(door, "scripted", [user(door, "Hi")], **fields)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_malformed")


# Images and files


def image(door: str, url: str) -> Json:
    if door == "chat":
        return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    return {"type": "input_image", "image_url": url, "detail": "low"}


def file(door: str, name: str, data: str) -> Json:
    if door == "chat":
        return {"type": "file", "file": {"filename": name, "file_data": data}}
    return {"type": "input_file", "filename": name, "file_data": data}


def parts_sent(protocol: str, body: Json) -> list[Json]:
    """The parts of the only message a provider was sent."""
    (message,) = body["input"] if protocol == "responses" else body["messages"]
    parts: list[Json] = message["content"]
    return parts


@each_cell
@cases(
    "url",
    ["https://images.test/cat.png", f"data:image/png;base64,{PIXEL}"],
    ids=["url", "data-url"],
)
def test_an_image_reaches_every_vendor_in_its_own_form(client, door, protocol, url):
    client.ask(door, protocol, [user(door, "What is it?", image(door, url))])
    text, picture = parts_sent(protocol, client.sent)
    assert text["text"] == "What is it?"
    source = {"type": "url", "url": url}
    if url.startswith("data:"):
        source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    assert (
        picture
        == {
            "chat": {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
            "responses": {"type": "input_image", "image_url": url, "detail": "low"},
            "anthropic": {"type": "image", "source": source},
        }[protocol]
    )


@each_cell
def test_a_file_with_its_content_reaches_every_vendor_in_its_own_form(client, door, protocol):
    url = f"data:application/pdf;base64,{PDF}"
    client.ask(door, protocol, [user(door, "Read it.", file(door, "a.pdf", url))])
    _, document = parts_sent(protocol, client.sent)
    source = {"type": "base64", "media_type": "application/pdf", "data": PDF}
    assert (
        document
        == {
            "chat": {"type": "file", "file": {"filename": "a.pdf", "file_data": url}},
            "responses": {"type": "input_file", "filename": "a.pdf", "file_data": url},
            "anthropic": {"type": "document", "source": source, "title": "a.pdf"},
        }[protocol]
    )


@named([("chat", "anthropic"), ("responses", "anthropic")])
def test_a_text_file_is_text_to_anthropic(client, door, protocol):
    data = base64.b64encode("Grüße".encode()).decode()
    client.ask(door, protocol, [user(door, "Read it.", file(door, "a.md", data))])
    _, document = parts_sent(protocol, client.sent)
    source = {"type": "text", "media_type": "text/plain", "data": "Grüße"}
    assert document == {"type": "document", "source": source, "title": "a.md"}


@each_cell
def test_a_file_that_is_stored_somewhere_is_refused_by_name(client, door, protocol):
    stored: Json = {"type": "input_file", "file_id": "file-1"}
    at = "input[0].content[1].file_id"
    if door == "chat":
        stored, at = (
            {"type": "file", "file": {"file_id": "file-1"}},
            "messages[0].content[1].file.file_id",
        )
    answer = client.post(door, protocol, [user(door, "Read it.", stored)])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, at)
    assert len(client.gateway.sandbox.calls) == 0


# Structured answers


def wanted(door: str) -> Json:
    if door == "chat":
        return {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": SCHEMA},
            }
        }
    return {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}}


@each_cell
@streamed_or_not
@cases("able", ["", "able-"], ids=["plain", "able"])
def test_a_structured_answer_is_asked_for_in_the_vendors_way(client, door, protocol, stream, able):
    asked = [user(door, "Hi")]
    answer = client.ask(door, f"{able}{protocol}", asked, stream=stream, **wanted(door))
    assert json.loads(answer.meaning.text) == {"answer": 0}
    assert (answer.meaning.stop, answer.meaning.calls) == ("stop", ())
    sent = client.sent
    match protocol:
        case "chat":
            assert sent["response_format"]["json_schema"]["schema"] == SCHEMA
        case "responses":
            assert sent["text"]["format"]["schema"] == SCHEMA
        case _ if able:
            assert sent["output_config"]["format"] == {"type": "json_schema", "schema": SCHEMA}
            assert "tools" not in sent
        case _:
            assert sent["tool_choice"] == {"type": "tool", "name": "json_answer"}
            assert [tool["input_schema"] for tool in sent["tools"]] == [SCHEMA]


@streamed_or_not
@named([("chat", "anthropic"), ("responses", "anthropic")])
def test_a_tool_may_be_called_before_the_structured_answer_is_given(client, door, protocol, stream):
    fields = {"tools": tools_of(door, WEATHER), "stream": stream, **wanted(door)}
    asked = user(door, "Hi")
    first = client.ask(door, protocol, [asked], **fields)
    assert client.sent["tool_choice"] == {"type": "any"}
    (call,) = first.meaning.calls
    assert call.name == "get_weather"
    turns = [asked, *answered(door, first), result(door, call.call_id, "sunny")]
    client.ask(door, protocol, turns, **fields)
    assert history(protocol, client.sent)[-1] == ("result", call.call_id, "sunny")
