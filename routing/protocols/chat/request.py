"""Write a canonical request as the body of Chat Completions (docs/wire.md 8.1)."""

from __future__ import annotations

from typing import Any

from gateway_project.lib.json import Json
from routing.protocols.chat import messages as chat_messages
from routing.protocols.chat import relayed as chat
from routing.protocols.shared import answer_format
from routing.protocols.shared.tools import Tool, Toolbox
from routing.route import ResolvedTarget

# Same name and meaning on both sides.
_AS_THEY_ARE = (
    "frequency_penalty",
    "logit_bias",
    "prediction",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "web_search_options",
)
_LOGPROBS = "message.output_text.logprobs"
EMPTY_PARAMETERS: Json = {"type": "object", "properties": {}}


def build(canonical: Json, toolbox: Toolbox, target: ResolvedTarget) -> Json:
    """Make the body to send. Raises BadRequest where the conversation cannot be told in this protocol."""
    body: Json = {
        "model": target.model,
        "messages": chat_messages.write_conversation(canonical, toolbox, target),
    }
    for name in _AS_THEY_ARE:
        if canonical.get(name) is not None:
            body[name] = canonical[name]
    if canonical.get("max_output_tokens") is not None:
        body["max_completion_tokens"] = canonical["max_output_tokens"]
    body.update(_tools(toolbox))
    body.update(_logprobs(canonical))
    if form := _response_format(canonical):
        body["response_format"] = form
    if effort := _effort(canonical, target):
        body["reasoning_effort"] = effort
    return chat.request(body, target)


def choices(body: Json) -> int:
    """Read how many answers a body asks for."""
    n = body.get("n")
    return n if isinstance(n, int) and n > 1 else 1


def _tools(toolbox: Toolbox) -> Json:
    """Write the tools; nothing at all without any: a choice among none is refused by many (docs/wire.md,
    pitfall 21)."""
    offered = toolbox.offered
    if not offered:
        return {}
    sent: Json = {"tools": [_tool(tool) for tool in offered]}
    if toolbox.forced is not None:
        wire_name = toolbox.forced.wire_name
        sent["tool_choice"] = {"type": "function", "function": {"name": wire_name}}
    elif toolbox.choice != "auto":
        sent["tool_choice"] = toolbox.choice
    if toolbox.parallel is False:
        sent["parallel_tool_calls"] = False
    return sent


def _tool(tool: Tool) -> Json:
    function: Json = {"name": tool.wire_name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or EMPTY_PARAMETERS
    if tool.kind == "function" and _is_strict(tool):
        function["strict"] = True
    return {"type": "function", "function": function}


def _is_strict(tool: Tool) -> bool:
    """Tell whether a function is strict: Responses is unless told otherwise, as far as the schema can be."""
    if tool.strict is not None:
        return tool.strict
    return tool.parameters is not None and _is_exact(tool.parameters)


def _is_exact(schema: Any) -> bool:
    """Tell whether every object in a schema is closed and requires all its members, as strict mode
    demands."""
    if not isinstance(schema, dict):
        return True
    members = schema.get("properties")
    if members or schema.get("type") == "object":
        required = schema.get("required") or []
        if schema.get("additionalProperties") is not False or set(members or ()) != set(required):
            return False
    inner = [schema.get("items"), *(members or {}).values(), *(schema.get("anyOf") or ())]
    inner += (schema.get("$defs") or {}).values()
    return all(_is_exact(part) for part in inner)


def _logprobs(canonical: Json) -> Json:
    count = canonical.get("top_logprobs")
    wanted = canonical.get("logprobs") or count or _LOGPROBS in (canonical.get("include") or ())
    if not wanted:
        return {}
    return {"logprobs": True, "top_logprobs": count} if count else {"logprobs": True}


def _response_format(canonical: Json) -> Json | None:
    form = answer_format.find_format(canonical)
    if form is None or form["type"] == "json_object":
        return form
    named = ("name", "description", "schema", "strict")
    inner = {name: form[name] for name in named if form.get(name) is not None}
    return {"type": "json_schema", "json_schema": inner}


def _effort(canonical: Json, target: ResolvedTarget) -> str | None:
    """Return the effort for models known to reason: the others refuse it, and some clients send it always."""
    reasoning = canonical.get("reasoning")
    if "reasoning" not in target.capabilities or not isinstance(reasoning, dict):
        return None
    effort = reasoning.get("effort")
    return effort if isinstance(effort, str) else None
