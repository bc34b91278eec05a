"""A Responses request in the canonical form, which is its own with the input as a list."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def canonical(body: Json) -> Json:
    """The client's body; an input that is a string becomes one user message."""
    given = body.get("input")
    if isinstance(given, list):
        return body
    if not given:
        return {**body, "input": []}
    part = {"type": "input_text", "text": given}
    return {**body, "input": [{"type": "message", "role": "user", "content": [part]}]}


def client_param(body: Json, param: str) -> str:
    """How the client knows a field of the canonical body."""
    if param.startswith("input[") and not isinstance(body.get("input"), list):
        return "input"
    return param
