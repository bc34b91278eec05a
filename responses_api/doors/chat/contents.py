"""Walk through the texts of a Chat Completions request."""

from __future__ import annotations

from functools import partial
from typing import Any

from gateway_project.lib.json import Json
from responses_api.guardrails.items import walk_tools
from responses_api.guardrails.reading import AUDIO, NO_TEXT, Visitor, change_fields, change_list

# Fields of a request that hold no text of anybody: words of the protocol, numbers, ids.
_NO_TEXT = frozenset(
    {
        "model", "stream", "stream_options", "temperature", "top_p", "presence_penalty",
        "frequency_penalty", "n", "max_tokens", "max_completion_tokens", "seed", "logprobs", "top_logprobs",
        "logit_bias", "parallel_tool_calls", "store", "service_tier", "reasoning_effort", "verbosity",
        "modalities", "audio", "usage", "prompt_cache_retention",
    }
)  # fmt: skip
_FIRST = ("tools", "functions", "messages")
_PARTS = frozenset({"text", "refusal", "image_url", "file", "input_audio"})
_WRAPPERS = frozenset({"function", "custom"})
_TYPE = frozenset({"type"})


def walk(body: Json, visitor: Visitor) -> Json:
    """Walk through a request. What stands there for the whole conversation comes first, so that a further
    turn changes nothing of what comes before it."""
    fields = {**{name: body[name] for name in _FIRST if name in body}, **body}
    changed = change_fields(fields, partial(_field, visitor), _NO_TEXT)
    return body if changed is fields else {name: changed[name] for name in body}


def _field(visitor: Visitor, name: str, value: Any) -> Any:
    match name:
        case "messages":
            return change_list(
                value, lambda n, message: _message(message, visitor, f"messages[{n}]")
            )
        case "tools" if isinstance(value, list):
            return change_list(value, lambda n, tool: _tool(tool, visitor, f"tools[{n}]"))
        case "functions":
            return walk_tools(value, visitor, name)
        case "response_format":
            return visitor.strings("answer_format", "system", name, value, with_keys=True)
        case "tool_choice" | "function_call":
            return visitor.strings("tool_choice", "system", name, value)
    return visitor.strings("parameter", "user", name, value, with_keys=True)


def _tool(tool: Any, visitor: Visitor, at: str) -> Any:
    """Walk through a tool, whose definition is wrapped."""
    if not isinstance(tool, dict):
        return visitor.strings("tool_definition", "system", at, tool)
    kind = tool.get("type")
    inner = tool.get(kind) if isinstance(kind, str) else None
    named = inner if isinstance(inner, dict) else tool
    visitor.tool(kind, named.get("name"), named.get("server_label"), at)

    def within(name: str, value: Any) -> Any:
        here = f"{at}.{name}"
        return visitor.strings("tool_definition", "system", here, value, with_keys=True)

    return change_fields(tool, within, _TYPE)


def _message(message: Any, visitor: Visitor, at: str) -> Any:
    if not isinstance(message, dict):
        return visitor.strings("message", "user", at, message)
    role = str(message.get("role"))
    visitor.role("tool" if role == "function" else role, at)
    surface = "tool_result" if role in {"tool", "function"} else "message"

    def within(name: str, value: Any) -> Any:
        here = f"{at}.{name}"
        match name:
            case "content":
                return _content(value, visitor, surface, role, here)
            case "tool_calls" if isinstance(value, list):
                return change_list(value, lambda n, call: _call(call, visitor, f"{here}[{n}]"))
            case "function_call":
                return _call(value, visitor, here)
            case "refusal":
                return visitor.strings("refusal", role, here, value)
            case "reasoning_content" | "reasoning":
                return visitor.strings("reasoning", role, here, value)
        return visitor.strings(surface, role, here, value, with_keys=True)

    return change_fields(message, within, NO_TEXT)


def _content(value: Any, visitor: Visitor, surface: str, role: str, at: str) -> Any:
    if isinstance(value, list):
        return change_list(value, lambda n, part: _part(part, visitor, surface, role, f"{at}[{n}]"))
    if surface == "tool_result":
        return visitor.json(surface, role, at, value)
    return visitor.strings(surface, role, at, value)


def _part(part: Any, visitor: Visitor, surface: str, role: str, at: str) -> Any:
    if not isinstance(part, dict):
        return visitor.strings(surface, role, at, part)
    kind = part.get("type")
    if kind == "input_audio":
        visitor.opaque("audio", kind, at)
        return visitor.strings(surface, role, at, part, AUDIO)
    if kind not in _PARTS:
        visitor.opaque("item", kind, at)

    def within(name: str, value: Any) -> Any:
        here = f"{at}.{name}"
        match name:
            case "image_url" if isinstance(value, dict):
                return change_fields(value, partial(_image, visitor, role, here), NO_TEXT)
            case "file" if isinstance(value, dict):
                return visitor.file(role, here, value)
        named = "refusal" if name == "refusal" else surface
        return visitor.strings(named, role, here, value)

    return change_fields(part, within, NO_TEXT)


def _image(visitor: Visitor, role: str, at: str, name: str, value: Any) -> Any:
    if name == "url":
        return visitor.image(role, f"{at}.url", value)
    return visitor.strings("message", role, f"{at}.{name}", value)


def _call(call: Any, visitor: Visitor, at: str) -> Any:
    """Walk through a call of a tool, or of a function as they were before tools."""
    if not isinstance(call, dict):
        return visitor.strings("tool_call", "assistant", at, call)

    def within(name: str, value: Any) -> Any:
        here = f"{at}.{name}"
        if name in _WRAPPERS and isinstance(value, dict):
            return _call(value, visitor, here)
        if name in {"arguments", "input"}:
            return visitor.json("tool_call", "assistant", here, value)
        return visitor.strings("tool_call", "assistant", here, value, with_keys=True)

    return change_fields(call, within, NO_TEXT)
