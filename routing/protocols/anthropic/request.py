"""Write a canonical request as the body of Anthropic's Messages
(https://platform.claude.com/docs/en/api/messages)."""

from __future__ import annotations

from gateway_project.lib.json import Json
from routing.protocols.anthropic import messages as anthropic_messages
from routing.protocols.anthropic import thinking as anthropic_thinking
from routing.protocols.shared import answer_format
from routing.protocols.shared.tools import Tool, Toolbox
from routing.route import ResolvedTarget

PATH = "/messages"
# Messages demands a limit; every model since 2024 can give this much.
DEFAULT_MAX_TOKENS = 8192
_AS_THEY_ARE = ("stream", "temperature", "top_k", "top_p")
_SERVICE_TIERS = {"auto": "auto", "default": "standard_only"}
_EMPTY_SCHEMA: Json = {"type": "object", "properties": {}}


def build(canonical: Json, toolbox: Toolbox, target: ResolvedTarget) -> Json:
    """Make the body to send. Raises BadRequest where the conversation cannot be told in this protocol."""
    spoken = anthropic_messages.write_conversation(canonical, toolbox, target)
    body: Json = {
        "model": target.model,
        "max_tokens": _max_tokens(canonical, target),
        "messages": spoken.messages,
    }
    if spoken.system:
        body["system"] = spoken.system
    for name in _AS_THEY_ARE:
        if canonical.get(name) is not None:
            body[name] = canonical[name]
    if stops := _stop_sequences(canonical):
        body["stop_sequences"] = stops
    if user := canonical.get("user") or canonical.get("safety_identifier"):
        body["metadata"] = {"user_id": user}
    if tier := _SERVICE_TIERS.get(canonical.get("service_tier") or ""):
        body["service_tier"] = tier
    body.update(_tools(toolbox, spoken.called))
    _add_output_config(body, canonical, target)
    return body


def _max_tokens(canonical: Json, target: ResolvedTarget) -> int:
    return canonical.get("max_output_tokens") or target.max_output_tokens or DEFAULT_MAX_TOKENS


def _stop_sequences(canonical: Json) -> list[str]:
    stop = canonical.get("stop")
    return [stop] if isinstance(stop, str) else list(stop or ())


def _tools(toolbox: Toolbox, called: set[str]) -> Json:
    """Write the tools and the choice among them.

    A conversation with calls in it must come with tools, even if none may be called any more: their
    names are then enough (https://github.com/anthropics/anthropic-sdk-python/issues/494).
    """
    offered = [_tool(tool) for tool in toolbox.offered]
    if toolbox.answer_tool is not None:
        offered.append(_tool(toolbox.answer_tool))
    if not offered and called:
        bare = [{"name": name, "input_schema": _EMPTY_SCHEMA} for name in sorted(called)]
        return {"tools": bare, "tool_choice": {"type": "none"}}
    if not offered:
        return {}
    choice = _choice(toolbox)
    return {"tools": offered, "tool_choice": choice} if choice else {"tools": offered}


def _tool(tool: Tool) -> Json:
    """Write a tool without `strict`: Anthropic limits strict tools in number and in schema, OpenAI does
    not."""
    sent: Json = {"name": tool.wire_name}
    if tool.description:
        sent["description"] = tool.description
    schema = tool.parameters or _EMPTY_SCHEMA
    sent["input_schema"] = schema if "type" in schema else {"type": "object", **schema}
    return sent


def _choice(toolbox: Toolbox) -> Json | None:
    """Write the choice; None for the default: the model may call or not, also several at once."""
    choice: Json = {"type": "auto"}
    if toolbox.answer_tool is not None:
        # Calling some tool is answering; which one is free as long as there are others.
        forced = not toolbox.offered or toolbox.choice == "none"
        name = toolbox.answer_tool.wire_name
        choice = {"type": "tool", "name": name} if forced else {"type": "any"}
    elif toolbox.forced is not None:
        choice = {"type": "tool", "name": toolbox.forced.wire_name}
    elif toolbox.choice == "required":
        choice = {"type": "any"}
    elif toolbox.choice == "none":
        return {"type": "none"}
    if toolbox.parallel is False:
        return {**choice, "disable_parallel_tool_use": True}
    return choice if choice["type"] != "auto" else None


def _add_output_config(body: Json, canonical: Json, target: ResolvedTarget) -> None:
    """Say how the answer is formed, and how much thought goes into it."""
    config: Json = {}
    form = answer_format.find_format(canonical)
    native = answer_format.native(form, target) if form is not None else None
    if native is not None:
        config["format"] = native
    plan = anthropic_thinking.plan(canonical, target, body)
    if plan.thinking is not None:
        body["thinking"] = plan.thinking
    if plan.effort is not None:
        config["effort"] = plan.effort
    if config:
        body["output_config"] = config
