"""Refuse what names something that a provider keeps, because its owner is not known (docs/wire.md 6.6)."""

from __future__ import annotations

from typing import Any

from gateway_project.lib.errors import UnsupportedParameter


def refuse_foreign_ids(body: dict[str, Any], history: int) -> None:
    """Refuse ids of files, containers, vector stores and what else the provider keeps: over the
    platform's credential they may be another tenant's (docs/wire.md 6.6). `history` is how
    many items of the input the client did not send itself; they are no better for having been stored."""
    for name in ("input", "instructions"):
        items = body.get(name)
        for i, item in enumerate(items if isinstance(items, list) else ()):
            if name == "input" and i < history and item.get("type") == "code_interpreter_call":
                continue  # the provider's own report of where it ran code; nothing is opened by it
            if field := _foreign_in_item(item):
                raise _foreign(f"{name}[{i}].{field}")
    if field := _foreign_in_tools(body.get("tools")):
        raise _foreign(field)
    match body.get("prompt_cache_options"):
        case {"comparison_response_id": str()}:
            raise _foreign("prompt_cache_options.comparison_response_id")


# Fields of an item, beside its content and output, in which something may be named, and what names nothing.
_MAY_NAME = frozenset({"container_id", "environment", "tools"})
_PLAIN = (str, type(None))
# Fields of a tool in which something may be named.
_TOOL_MAY_NAME = frozenset(
    {"container", "environment", "input_image_mask", "tools", "tunnel_id", "vector_store_ids"}
)


def _foreign_in_item(item: dict[str, Any]) -> str | None:
    """Find where an item names something stored at the provider."""
    content, output = item.get("content"), item.get("output")
    is_plain = output.__class__ in _PLAIN and _MAY_NAME.isdisjoint(item)
    if is_plain and content.__class__ is not list:
        return None
    for name in ("content", "output"):
        parts = item.get(name)
        for j, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict) and part.get("file_id"):
                return f"{name}[{j}].file_id"
    if is_plain:
        return None
    match item:
        case {"output": {"file_id": str()}}:
            return "output.file_id"
        case {"container_id": str()}:
            return "container_id"
        case {"environment": {"container_id": str()}}:
            return "environment.container_id"
    return _foreign_in_tools(item.get("tools"))


def _foreign_in_tools(tools: Any) -> str | None:
    for i, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict) and (field := _foreign_in_tool(tool)):
            return f"tools[{i}].{field}"
    return None


def _foreign_in_tool(tool: dict[str, Any]) -> str | None:
    if _TOOL_MAY_NAME.isdisjoint(tool):  # as in almost all
        return None
    match tool:
        case {"vector_store_ids": [_, *_]}:
            return "vector_store_ids"
        case {"type": "code_interpreter", "container": str()}:
            return "container"
        case {"container": {"file_ids": [_, *_]}}:
            return "container.file_ids"
        case {"environment": {"container_id": str()}}:
            return "environment.container_id"
        case {"environment": {"file_ids": [_, *_]}}:
            return "environment.file_ids"
        case {"environment": {"skills": [*skills]}} if any(map(_is_stored_skill, skills)):
            return "environment.skills"
        case {"input_image_mask": {"file_id": str()}}:
            return "input_image_mask.file_id"
        case {"tunnel_id": str()}:
            return "tunnel_id"
    return _foreign_in_tools(tool.get("tools"))


def _is_stored_skill(skill: Any) -> bool:
    """Tell whether a skill is kept by the provider; an inline one carries its own source."""
    return isinstance(skill, dict) and "skill_id" in skill


def _foreign(param: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"'{param}' refers to something stored at the provider, and the gateway does not know its owner. "
        "Send the content itself, or use a credential of your own tenant.",
        param=param,
    )
