"""Items as they are kept: each has an id, and a status where its type has one."""

from __future__ import annotations

from typing import Any

from gateway_project.lib import ids

Json = dict[str, Any]

# What OpenAI's ids of each type begin with (wire.md 3.10), and whether the type has a status (3.5.2).
_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "compaction": "cmp",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "computer_call": "cu",
    "computer_call_output": "cuo",
    "web_search_call": "ws",
    "file_search_call": "fs",
    "image_generation_call": "ig",
    "code_interpreter_call": "ci",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsho",
    "shell_call": "sh",
    "shell_call_output": "sho",
    "apply_patch_call": "apc",
    "apply_patch_call_output": "apco",
    "mcp_list_tools": "mcpl",
    "mcp_call": "mcp",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
    "tool_search_call": "tsc",
    "tool_search_output": "tso",
}
_WITHOUT_STATUS = frozenset(
    {
        "reasoning",
        "compaction",
        "compaction_trigger",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "item_reference",
        "program",
        "additional_tools",
        "configuration_update",
    }
)
MAX_ID = 200


def kind_of(item: Json) -> str:
    """An item's type; messages may leave it out (wire.md 1.4)."""
    return str(item.get("type") or "message")


def identified(item: Json) -> Json:
    """The item with an id and, where its type has one, a status; unchanged if it had both."""
    kind = kind_of(item)
    missing: Json = {} if item.get("type") else {"type": kind}
    given = item.get("id")
    if not (isinstance(given, str) and 0 < len(given) <= MAX_ID and "\0" not in given):
        missing["id"] = ids.item_id(_PREFIXES.get(kind, "item"))
    if kind not in _WITHOUT_STATUS and item.get("status") is None:
        missing["status"] = "completed"
    return {**item, **missing} if missing else item


def as_parts(item: Json) -> Json:
    """A message whose content is a text, with it as a part: stored messages have parts only."""
    content = item.get("content")
    if kind_of(item) != "message" or not isinstance(content, str):
        return item
    if item.get("role") == "assistant":
        return {**item, "content": [{"type": "output_text", "text": content, "annotations": []}]}
    return {**item, "content": [{"type": "input_text", "text": content}]}
