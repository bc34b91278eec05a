"""Walk through the texts of a Responses request: one extractor for each type of item and of part.

A type that is not in the tables is told as opaque, and what texts it has are read all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from gateway_project.lib.json import Json
from responses_api.guardrails.reading import AUDIO, NO_TEXT, Visitor, change_fields, change_list

Extract = Callable[[Json, Visitor, str], Json]

# Fields of a request that hold no text of anybody: words of the protocol, numbers, ids.
_NO_TEXT = frozenset(
    {
        "model", "stream", "stream_options", "include", "parallel_tool_calls", "max_output_tokens",
        "max_tool_calls", "temperature", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs",
        "reasoning", "truncation", "store", "background", "previous_response_id", "conversation",
        "service_tier", "prompt_cache_retention", "prompt_cache_options", "context_management", "usage",
    }
)  # fmt: skip


def walk(body: Json, visitor: Visitor) -> Json:
    """Walk through a Responses request. What stands there for the whole conversation comes first, so that a
    further turn changes nothing of what comes before it."""
    first = {name: value for name, value in body.items() if name in _FIRST}
    fields = {**{name: first[name] for name in _FIRST if name in first}, **body}
    changed = change_fields(fields, partial(_field, visitor), _NO_TEXT)
    return body if changed is fields else {name: changed[name] for name in body}


_FIRST = ("instructions", "tools", "input")


def _field(visitor: Visitor, name: str, value: Any) -> Any:
    match name:
        case "input" | "instructions" if isinstance(value, list):
            return change_list(value, lambda n, item: walk_item(item, visitor, f"{name}[{n}]"))
        case "input":
            return visitor.text("message", "user", name, value)
        case "instructions":
            return visitor.text("instructions", "system", name, value)
        case "tools":
            return walk_tools(value, visitor, name)
        case "text":
            return visitor.strings("answer_format", "system", name, value, with_keys=True)
        case "tool_choice":
            return visitor.strings("tool_choice", "system", name, value)
    return visitor.strings("parameter", "user", name, value, with_keys=True)


# Items


def walk_item(item: Any, visitor: Visitor, at: str) -> Any:
    """Walk through an item."""
    if not isinstance(item, dict):
        return visitor.strings("item", "user", at, item)
    kind = item.get("type") or ("message" if "role" in item else "item_reference")
    extract = _ITEMS.get(kind) if isinstance(kind, str) else None
    if extract is None:
        visitor.opaque("item", kind, at)
        return visitor.strings("item", "user", at, item, with_keys=True)
    return extract(item, visitor, at)


def _message(item: Json, visitor: Visitor, at: str) -> Json:
    role = str(item.get("role") or "assistant")
    visitor.role(role, at)

    def within(name: str, value: Any) -> Any:
        if name == "content":
            return walk_parts(value, visitor, "message", role, f"{at}.content")
        return visitor.strings("message", role, f"{at}.{name}", value)

    return change_fields(item, within, NO_TEXT)


def _call(item: Json, visitor: Visitor, at: str) -> Json:
    """Walk through a call of a tool; its arguments may be JSON."""

    def within(name: str, value: Any) -> Any:
        here = f"{at}.{name}"
        if name in {"arguments", "input"} and isinstance(value, str):
            return visitor.json("tool_call", "assistant", here, value)
        if name in {"output", "error", "outputs", "results", "result"}:
            return _output("tool_result", visitor, here, value)
        return visitor.strings("tool_call", "assistant", here, value)

    return change_fields(item, within, NO_TEXT)


def _result(item: Json, visitor: Visitor, at: str) -> Json:
    """Walk through what a tool gave."""
    visitor.role("tool", at)

    def within(name: str, value: Any) -> Any:
        return _output("tool_result", visitor, f"{at}.{name}", value)

    return change_fields(item, within, NO_TEXT)


def _output(surface: str, visitor: Visitor, at: str, value: Any) -> Any:
    if isinstance(value, list) and all(_is_part(entry) for entry in value):
        return walk_parts(value, visitor, surface, "tool", at)
    if isinstance(value, str):
        return visitor.json(surface, "tool", at, value)
    return visitor.strings(surface, "tool", at, value, with_keys=True)


def _is_part(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("type") in _PARTS


def _image(item: Json, visitor: Visitor, at: str) -> Json:
    """Walk through an image that was made: its words, and the image, which cannot be read."""
    visitor.opaque("image", "image_generation_call", at)
    return change_fields(
        item,
        lambda name, value: visitor.strings("tool_call", "assistant", f"{at}.{name}", value),
        NO_TEXT | {"result"},
    )


def _reasoning(item: Json, visitor: Visitor, at: str) -> Json:
    sealed = item.get("encrypted_content")
    if sealed:
        visitor.opaque("encrypted", "reasoning", f"{at}.encrypted_content")

    def within(name: str, value: Any) -> Any:
        return walk_parts(value, visitor, "reasoning", "assistant", f"{at}.{name}")

    changed = change_fields(item, within, NO_TEXT)
    if visitor.changes_sealed(f"{at}.encrypted_content", sealed):
        return {name: value for name, value in changed.items() if name != "encrypted_content"}
    return changed


def _compaction(item: Json, visitor: Visitor, at: str) -> Json:
    visitor.opaque("encrypted", "compaction", f"{at}.encrypted_content")
    return _rest(item, visitor, at)


def _definitions(item: Json, visitor: Visitor, at: str) -> Json:
    """Walk through an item that brings tools."""

    def within(name: str, value: Any) -> Any:
        if name == "tools":
            return walk_tools(value, visitor, f"{at}.tools")
        return visitor.strings("tool_definition", "system", f"{at}.{name}", value, with_keys=True)

    return change_fields(item, within, NO_TEXT)


def _rest(item: Json, visitor: Visitor, at: str) -> Json:
    """Walk through an item that has no texts, unless somebody put one there."""
    changed: Json = visitor.strings("item", "user", at, item)
    return changed


_CALLS = (
    "function_call", "custom_tool_call", "web_search_call", "file_search_call", "code_interpreter_call",
    "computer_call", "local_shell_call", "shell_call", "apply_patch_call", "tool_search_call", "mcp_call",
    "mcp_approval_request",
)  # fmt: skip
_RESULTS = (
    "function_call_output", "custom_tool_call_output", "computer_call_output", "local_shell_call_output",
    "shell_call_output", "apply_patch_call_output", "mcp_approval_response",
)  # fmt: skip
_ITEMS: dict[str, Extract] = {
    **dict.fromkeys(_CALLS, _call),
    **dict.fromkeys(_RESULTS, _result),
    **dict.fromkeys(("mcp_list_tools", "additional_tools", "tool_search_output"), _definitions),
    "message": _message,
    "reasoning": _reasoning,
    "compaction": _compaction,
    "compaction_trigger": _rest,
    "item_reference": _rest,
    "image_generation_call": _image,
}


# Parts


def walk_parts(value: Any, visitor: Visitor, surface: str, role: str, at: str) -> Any:
    """Walk through a content: a text, or a list of parts."""
    if not isinstance(value, list):
        return visitor.strings(surface, role, at, value, with_keys=True)
    return change_list(value, lambda n, part: _part(part, visitor, surface, role, f"{at}[{n}]"))


def _part(part: Any, visitor: Visitor, surface: str, role: str, at: str) -> Any:
    if not isinstance(part, dict):
        return visitor.strings(surface, role, at, part)
    kind = part.get("type")
    if kind == "input_file":
        return visitor.file(role, at, part)
    if kind == "input_audio":
        visitor.opaque("audio", kind, at)
        return visitor.strings(surface, role, at, part, AUDIO)
    if kind not in _PARTS:
        visitor.opaque("item", kind, at)

    def within(name: str, value: Any) -> Any:
        here = f"{at}.{name}"
        if name == "image_url":
            return visitor.image(role, here, value)
        named = "refusal" if name == "refusal" else surface
        return visitor.strings(named, role, here, value)

    return change_fields(part, within, NO_TEXT | {"logprobs"})


_PARTS = frozenset(
    {
        "input_text", "output_text", "text", "summary_text", "reasoning_text", "refusal", "input_image",
        "input_file", "input_audio", "computer_screenshot",
    }
)  # fmt: skip


# Tools


def walk_tools(tools: Any, visitor: Visitor, at: str) -> Any:
    """Walk through definitions of tools, those in namespaces included."""
    if not isinstance(tools, list):
        return visitor.strings("tool_definition", "system", at, tools, with_keys=True)
    return change_list(tools, lambda n, tool: _tool(tool, visitor, f"{at}[{n}]"))


def _tool(tool: Any, visitor: Visitor, at: str) -> Any:
    if not isinstance(tool, dict):
        return visitor.strings("tool_definition", "system", at, tool)
    kind = tool.get("type") or "function"  # those an MCP server lists say none
    if kind != "namespace":
        visitor.tool(kind, tool.get("name"), tool.get("server_label"), at)

    def within(name: str, value: Any) -> Any:
        here = f"{at}.{name}"
        if name == "tools" and kind == "namespace":
            return walk_tools(value, visitor, here)
        return visitor.strings("tool_definition", "system", here, value, with_keys=True)

    return change_fields(tool, within, _TYPE)


_TYPE = frozenset({"type"})
