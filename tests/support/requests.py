"""Requests through the translation, and checks of what an upstream would be sent, independent of it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from responses_api.doors.chat import canonical as chat_canonical
from responses_api.doors.responses import canonical as responses_canonical
from routing.protocols import PROTOCOLS
from routing.protocols.anthropic import request as anthropic_request
from routing.protocols.chat import request as chat_request
from routing.protocols.responses import request as responses
from routing.protocols.shared import parameters
from routing.route import CAPABILITIES, Quirks, ResolvedTarget
from tests.support import reference, targets

DOORS = {"chat": chat_canonical.canonical, "responses": responses_canonical.canonical}
BUILDERS = {
    "anthropic": anthropic_request.build,
    "chat": chat_request.build,
    "responses": responses.build,
}
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")


def target(protocol: Any, *, model="some-model", lacks=(), limit=None, provider="acme", **quirks):
    """A target with every capability but those it `lacks`."""
    return targets.target(
        protocol,
        provider=provider,
        auth_kind="bearer",
        quirks=Quirks(**quirks),
        model=model,
        max_output_tokens=limit,
        capabilities=CAPABILITIES - set(lacks),
    )


def sent(door: str, body: dict, to: ResolvedTarget, *, drop_unsupported=False) -> dict:
    """Return what the upstream gets for a client's request."""
    canonical, _ = parameters.prepare(
        DOORS[door](body), PROTOCOLS[to.protocol].parameters, drop_unsupported
    )
    built = BUILDERS[to.protocol](canonical, PROTOCOLS[to.protocol].toolbox(canonical, to), to)
    return orjson.loads(orjson.dumps(built))


def ask(**fields) -> dict:
    """A Responses request of one question."""
    return {"model": "m", "input": "What?", **fields}


def chat(*messages, **fields) -> dict:
    return {"model": "m", "messages": list(messages), **fields}


def recorded(door: str) -> list[Any]:
    """Test parameters: every request recorded or captured in a door's protocol."""
    return [*_recordings(door), *_captures(door)]


def _recordings(door: str):
    for path in sorted(reference.FOLDER.glob(f"recordings/{door}/*.request.json")):
        yield pytest.param(
            orjson.loads(path.read_bytes()), id=path.name.removesuffix(".request.json")
        )


def _captures(door: str):
    paths = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
    for name, request in reference.captures():
        body = request.get("body")
        if request["path"] == paths[door] and isinstance(body, dict) and not _needs_state(body):
            yield pytest.param(body, id=name)


def _needs_state(body: dict) -> bool:
    """The door refuses these, or its state expands them, before anything is translated."""
    items = body.get("input")
    kinds = {item.get("type") for item in items} if isinstance(items, list) else set()
    return bool(body.get("previous_response_id")) or "item_reference" in kinds


# Checks


def check(protocol: str, body: dict) -> None:
    """Check that a body obeys its protocol."""
    {"anthropic": check_anthropic, "chat": check_chat, "responses": check_responses}[protocol](body)


def check_chat(body: dict) -> None:
    assert reference.explain(_openai("CreateChatCompletionRequest"), body) == []
    waiting: list[str] = []
    for message in body["messages"]:
        if waiting:
            assert (message["role"], message["tool_call_id"]) == ("tool", waiting.pop(0))
            continue
        assert message["role"] != "tool"
        waiting = [call["id"] for call in message.get("tool_calls", ())]
        for call in message.get("tool_calls", ()):
            assert NAME.match(call["function"]["name"])
            assert len(call["id"]) <= 40
            orjson.loads(call["function"]["arguments"])
    assert waiting == []
    _check_names([tool["function"]["name"] for tool in body.get("tools", ())])
    assert "tools" in body or not {"tool_choice", "parallel_tool_calls"} & set(body)


def check_responses(body: dict) -> None:
    assert reference.explain(_openai("CreateResponse"), body) == []
    assert body["store"] is False
    waiting: set[str] = set()
    for item in body["input"]:
        if item["type"].endswith("_call"):
            waiting.add(item["call_id"])
        if item["type"].endswith("_output"):
            waiting.remove(item["call_id"])
    assert waiting == set()
    _check_names([tool["name"] for tool in body.get("tools", ())])


def check_anthropic(body: dict) -> None:
    assert set(body) <= _ANTHROPIC_FIELDS
    assert body["max_tokens"] >= 1
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    _check_blocks(body["messages"])
    _check_pairs(body["messages"])
    _check_anthropic_tools(body)
    thinking = body.get("thinking", {})
    if thinking.get("type") == "enabled":
        assert 1024 <= thinking["budget_tokens"] < body["max_tokens"]
    if thinking:
        assert body.get("tool_choice", {}).get("type") not in {"any", "tool"}


_ANTHROPIC_FIELDS = {
    "max_tokens", "messages", "metadata", "model", "output_config", "service_tier", "stop_sequences",
    "stream", "system", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p",
}  # fmt: skip
_BLOCKS = {
    "user": {"document", "image", "text", "tool_result"},
    "assistant": {"redacted_thinking", "text", "thinking", "tool_use"},
}


def _check_blocks(messages: list[dict]) -> None:
    for message in messages:
        assert message["content"] != []
        for block in message["content"]:
            assert block["type"] in _BLOCKS[message["role"]]
            assert block["type"] != "text" or block["text"].strip()
            assert block["type"] != "tool_use" or isinstance(block["input"], dict)


def _check_pairs(messages: list[dict]) -> None:
    """Every call has its result in the next message, all of them before anything else, and only there."""
    seen: list[str] = []
    due: list[str] = []
    for message in messages:
        results = [block.get("tool_use_id") for block in message["content"]]
        assert results[: len(due)] == due
        assert not any(results[len(due) :])
        due = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        seen += due
    assert due == []
    assert len(seen) == len(set(seen))
    assert all(NAME.match(call_id) for call_id in seen)


def _check_anthropic_tools(body: dict) -> None:
    tools = body.get("tools", [])
    names = [tool["name"] for tool in tools]
    _check_names(names)
    assert all(tool["input_schema"]["type"] == "object" for tool in tools)
    blocks = [block for message in body["messages"] for block in message["content"]]
    calls = [block["name"] for block in blocks if block["type"] == "tool_use"]
    assert all(NAME.match(name) for name in calls)
    assert tools or not calls
    choice = body.get("tool_choice", {"type": "auto"})
    assert tools or "tool_choice" not in body
    assert choice["type"] in {"auto", "any", "none", "tool"}
    assert choice["type"] != "tool" or choice["name"] in names


def _check_names(names: list[str]) -> None:
    assert all(NAME.match(name) for name in names)
    assert len(names) == len(set(names))


@cache
def _openai(name: str) -> Draft202012Validator:
    """Return a validator of requests as OpenAI describes them, without `oneOf`: the alternatives overlap, so
    that every message would match one too many of them."""
    raw = reference.path_to("schemas/openai-openapi-2026-08-21-subset.json").read_bytes()
    document = orjson.loads(raw.replace(b'"oneOf"', b'"anyOf"'))
    found = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return Draft202012Validator(found)
