"""Turn what Anthropic's own tools did into the items a Response has for it.

Such a tool is two blocks, the use and its result. Only those that a Response can show become items;
the others changed the text that follows, which is what the client gets.
"""

from __future__ import annotations

from typing import Any

from gateway_project.lib.json import Json
from routing.protocols.shared.fields import compact, dicts, mapping, text


def item(use: Json, result: Json) -> Json | None:
    """Make the item for a use, with its whole `input`, and its result; None if there is no such item."""
    if use.get("type") == "mcp_tool_use":
        return _mcp_call(use, result)
    if use.get("name") == "web_search":
        return _web_search_call(use, result)
    return None


def _web_search_call(use: Json, result: Json) -> Json:
    """https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool"""
    found = result.get("content")
    return {
        "id": use.get("id"),
        "type": "web_search_call",
        "status": "completed" if isinstance(found, list) else "failed",
        "action": {
            "type": "search",
            "query": text(mapping(use.get("input")).get("query")),
            "sources": [{"type": "url", "url": text(page.get("url"))} for page in dicts(found)],
        },
    }


def _mcp_call(use: Json, result: Json) -> Json:
    """https://platform.claude.com/docs/en/agents-and-tools/mcp-connector"""
    output, is_error = _output(result.get("content")), bool(result.get("is_error"))
    called: Json = {
        "id": use.get("id"),
        "type": "mcp_call",
        "status": "failed" if is_error else "completed",
        "server_label": text(use.get("server_name")),
        "name": text(use.get("name")),
        "arguments": compact(mapping(use.get("input"))),
    }
    return called | ({"error": output} if is_error else {"output": output})


def _output(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(text(part.get("text")) for part in dicts(content))
