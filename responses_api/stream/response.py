"""Make Response objects: of a translated answer, or in place of the upstream's.

They carry every key that must be present, with effective values instead of the request's nulls (docs/wire.md
4.1), and `output_text`, which clients of plain HTTP expect to find.
"""

from __future__ import annotations

from gateway_project.lib.errors import GatewayError, UpstreamQuotaExhausted, UpstreamRateLimited
from gateway_project.lib.json import Json
from routing.protocols.shared.fields import dicts, text
from tenants.token_classes import Usage

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
GIVEN = ("user", "prompt_cache_retention", "prompt_cache_options")
TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})


def in_progress(
    request: Json, response_id: str, model: str, created_at: int, echo: Json | None = None
) -> Json:
    """Make the Response of a call that has just begun. `created_at` is in seconds since the epoch; `echo` are
    the fields that tell of the gateway's state."""
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
        "output_text": "",
        "tools": [_tool(tool) for tool in request.get("tools") or ()],
        "text": _text(request),
        "reasoning": _reasoning(request),
        "usage": None,
        "store": False,
        "background": False,
        "metadata": request.get("metadata") or {},
        **{name: request[name] for name in GIVEN if request.get(name) is not None},
        **effective,
        **(echo or {}),
    }


def ended(
    response: Json,
    output: list[Json],
    usage: Usage | None,
    facts: Json,
    ended_at: int,
    incomplete_reason: str | None,
) -> Json:
    """End the Response: completed, or incomplete for a reason. `facts` are the upstream's."""
    tier = facts.get("service_tier")
    return {
        **_with_output(response, output),
        "status": "incomplete" if incomplete_reason else "completed",
        "completed_at": None if incomplete_reason else ended_at,
        "incomplete_details": {"reason": incomplete_reason} if incomplete_reason else None,
        "usage": usage_report(usage),
        "service_tier": tier if tier in TIERS else response["service_tier"],
    }


def cut_short(response: Json, output: list[Json], usage: Usage, why: str) -> Json:
    """End the Response before the upstream did. The reason is one that clients know; what
    they do not know is beside it."""
    return {
        **_with_output(response, output),
        "status": "incomplete",
        "completed_at": None,
        "incomplete_details": {"reason": "max_output_tokens", "message": why},
        "usage": usage_report(usage),
    }


def failed(response: Json, output: list[Json], code: str, message: str) -> Json:
    """End the Response after it failed; `output` holds the items that were finished."""
    return {
        **_with_output(response, output),
        "status": "failed",
        "error": {"code": code, "message": message},
        "incomplete_details": None,
    }


def failure_code(error: GatewayError) -> str:
    """Return one of the codes the Response object knows (docs/wire.md 4.4)."""
    limited = isinstance(error, UpstreamRateLimited | UpstreamQuotaExhausted)
    return "rate_limit_exceeded" if limited else "server_error"


def usage_report(usage: Usage | None) -> Json | None:
    """Report usage with every count a client may insist on; None if the upstream reported none."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_total,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write_total,
        },
        "output_tokens": usage.output_total,
        "output_tokens_details": {"reasoning_tokens": usage.output_reasoning},
        "total_tokens": usage.total,
    }


def chat_usage(report: Json) -> Json:
    """Tell the usage of a Response as a chat completion does."""
    inside, outside = report["input_tokens_details"], report["output_tokens_details"]
    cost = {"cost": report["cost"]} if "cost" in report else {}
    return {
        "prompt_tokens": report["input_tokens"],
        "completion_tokens": report["output_tokens"],
        "total_tokens": report["total_tokens"],
        "prompt_tokens_details": {**inside, "audio_tokens": 0},
        "completion_tokens_details": {
            **outside,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        **cost,
    }


def _with_output(response: Json, output: list[Json]) -> Json:
    return {**response, "output": output, "output_text": output_text(output)}


def output_text(output: list[Json]) -> str:
    """Join all visible text of the output, as the SDKs' property of this name puts it together."""
    return "".join(output_texts(output))


def output_texts(output: list[Json]) -> list[str]:
    """Give the same in pieces, as the parts have them. An upstream's items are relayed and stored as they
    come, whatever stands in them."""
    return [
        text(part.get("text"))
        for item in output
        if item.get("type") == "message"
        for part in dicts(item.get("content"))
        if part.get("type") == "output_text"
    ]


def _tool(tool: Json) -> Json:
    """Name all keys of an echoed function (docs/wire.md 4.1); it is strict unless it says otherwise."""
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": True, **tool}


def _text(request: Json) -> Json:
    given = request.get("text") or {}
    text = {name: value for name, value in given.items() if value is not None}
    text.setdefault("format", {"type": "text"})
    return text


def _reasoning(request: Json) -> Json:
    reasoning = request.get("reasoning") or {}
    return {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}
