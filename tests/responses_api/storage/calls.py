"""Calls whose answers are kept, and what an upstream heard of them."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support import grammar
from tests.support.live import LiveGateway
from tests.support.rows import PROTOCOLS

Json = dict[str, Any]


def ask(http: httpx.Client, model: str = "responses", **fields: Any) -> httpx.Response:
    """A Responses request; `model` is an alias, or the protocol of one of the sandbox's."""
    name = f"sandbox-{model}" if model in PROTOCOLS else model
    return http.post("/responses", json={"model": name, "input": "Hello", **fields})


def create(http: httpx.Client, model: str = "responses", **fields: Any) -> Json:
    """The final Response, streamed or not."""
    answer = ask(http, model, **fields)
    assert answer.status_code == 200, answer.text
    if fields.get("stream"):
        return grammar.check_stream(answer.content)
    found: Json = answer.json()
    return found


def sent(gateway: LiveGateway) -> Json:
    """The body of the last request an upstream received."""
    gateway.idle()
    body: Json = gateway.sandbox.calls[-1].body
    return body


def heard(body: Json) -> list[tuple[str, str]]:
    """Return who said what in the conversation an upstream received, whatever its protocol."""
    turns = body["messages"] if "messages" in body else body["input"]
    if isinstance(turns, str):
        return [("user", turns)]
    return [(turn["role"], _text(turn["content"])) for turn in turns if turn.get("role")]


def answered(text: str) -> tuple[str, str]:
    """Return what the sandbox answers to a text."""
    return "assistant", f"You said: {text}"


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)
