"""Prepare items for storage: give each the id, type, status and parts that clients look for."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

from gateway_project.lib import ids
from gateway_project.lib.json import Json
from responses_api.doors.responses.request import item_kind
from responses_api.storage.id_shapes import is_item_id

# The id prefixes of item types.
PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "compaction": "cmp",
    "file_search_call": "fs",
    "web_search_call": "ws",
    "computer_call": "cu",
    "computer_call_output": "cuo",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
    "image_generation_call": "ig",
    "code_interpreter_call": "ci",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsho",
    "shell_call": "sh",
    "shell_call_output": "sho",
    "apply_patch_call": "apc",
    "apply_patch_call_output": "apco",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
    "program": "prg",
    "program_output": "prgo",
    "additional_tools": "at",
    "configuration_update": "cfg",
    "compaction_trigger": "cmpt",
}
# Types whose shape knows no status (docs/wire.md 4.5).
WITHOUT_STATUS = frozenset(
    {
        "additional_tools",
        "compaction",
        "compaction_trigger",
        "configuration_update",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_list_tools",
        "program",
    }
)
# What need not be sent, and comes back all the same, as null (docs/wire.md 4.5).
NULL_UNLESS_SENT = {
    "shell_call": "environment",
    "shell_call_output": "max_output_length",
    "tool_search_call": "call_id",
    "tool_search_output": "call_id",
}
TOOL_SEARCH = frozenset({"tool_search_call", "tool_search_output"})


def identify_item(item: Json) -> Json:
    """Return the item as it is stored and listed.

    It has a usable id, its type, a status if its type has one, fields that are never left out, and a
    message's text as a part, which is how the SDKs read items that come back. All else stays as it was.
    """
    kind = item_kind(item)
    found = {**item, "type": kind}
    if not is_item_id(item.get("id")):
        found["id"] = new_id(kind)
    if item.get("status") is None and kind in PREFIXES and kind not in WITHOUT_STATUS:
        found["status"] = "completed"
    if (name := NULL_UNLESS_SENT.get(kind)) is not None:
        found.setdefault(name, None)
    if kind in TOOL_SEARCH and found.get("execution") is None:
        found["execution"] = "server" if found["call_id"] is None else "client"
    if kind == "message":
        found["content"] = _parts(item.get("content"), item.get("role"))
    return found


def identify_all(items: Iterable[Json], taken: Set[str] = frozenset()) -> list[Json]:
    """Return the items as they are stored; an item whose id is taken, or came before, gets a new one."""
    seen = set(taken)
    found = []
    for item in map(identify_item, items):
        if item["id"] in seen:
            item["id"] = new_id(item["type"])
        seen.add(item["id"])
        found.append(item)
    return found


def new_id(kind: Any) -> str:
    """Return a new id for an item of this type."""
    return ids.item_id(PREFIXES.get(kind, "item"))


def _parts(content: Any, role: Any) -> Any:
    """Return a message's content as parts; the model's texts get the lists that clients read without
    checking."""
    kind = "output_text" if role == "assistant" else "input_text"
    if isinstance(content, str):
        content = [{"type": kind, "text": content}]
    if not isinstance(content, list):
        return content
    return [_part(part) for part in content]


def _part(part: Any) -> Any:
    match part:
        case {"type": "output_text"}:
            return {**part, "annotations": part.get("annotations") or []}
    return part
