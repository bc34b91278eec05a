"""A Response object that the gateway makes itself, before or without the upstream's.

It carries every key that must be present, with effective values instead of the request's nulls (wire.md
1.6, Open Responses 2026-04-24).
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# What the Responses API does when the request does not say.
DEFAULTS: Json = {
    "temperature": 1.0,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "truncation": "disabled",
    "service_tier": "auto",
}
NULLABLE = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "safety_identifier",
    "prompt_cache_key",
)


def in_progress(request: Json, response_id: str, model: str, created_at: int) -> Json:
    """The Response of a call that has just begun. `created_at` is in seconds since the epoch."""
    effective = {
        name: request[name] if request.get(name) is not None else default
        for name, default in DEFAULTS.items()
    }
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "completed_at": None,
        "status": "in_progress",
        "incomplete_details": None,
        "error": None,
        "model": model,
        "previous_response_id": None,
        **{name: request.get(name) for name in NULLABLE},
        "output": [],
        "tools": [_tool(tool) for tool in request.get("tools") or ()],
        "text": _text(request),
        "reasoning": _reasoning(request),
        "usage": None,
        "store": False,
        "background": False,
        "metadata": request.get("metadata") or {},
        **effective,
    }


def failed(response: Json, output: list[Json], code: str, message: str) -> Json:
    """The same Response after it failed; `output` holds the items that were finished."""
    return {
        **response,
        "status": "failed",
        "output": output,
        "error": {"code": code, "message": message},
        "incomplete_details": None,
    }


def _tool(tool: Json) -> Json:
    """An echoed function tool names all its keys (wire.md 1.6); it is strict unless it says otherwise."""
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": True, **tool}


def _text(request: Json) -> Json:
    text = dict(request.get("text") or {})
    text["format"] = text.get("format") or {"type": "text"}
    return text


def _reasoning(request: Json) -> Json:
    reasoning = request.get("reasoning") or {}
    return {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
