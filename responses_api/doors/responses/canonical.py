"""Bring a Responses request into the canonical form, which is its own with the input as a list."""

from __future__ import annotations

from gateway_project.lib.json import Json


def canonical(body: Json) -> Json:
    """Make an input that is a string one user message."""
    given = body.get("input")
    if isinstance(given, list):
        return body
    if not given:
        return {**body, "input": []}
    part = {"type": "input_text", "text": given}
    return {**body, "input": [{"type": "message", "role": "user", "content": [part]}]}


def client_param(body: Json, param: str) -> str:
    """Give the client's name for a field of the canonical body."""
    if param.startswith("input[") and not isinstance(body.get("input"), list):
        return "input"
    return param
