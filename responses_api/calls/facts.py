"""Gather what is known of a call, as far as it decides where the call goes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway_project.lib import clock
from gateway_project.lib.json import Json
from responses_api.accounting import attribution
from responses_api.accounting.estimates import attachment_kinds, estimate
from responses_api.accounting.expected_tokens import usual_output
from responses_api.doors.door import Door
from responses_api.doors.shapes import ModelCall
from routing.policy import affinity
from routing.policy.affinity import AffinityMemory
from routing.policy.facts import NO_FACTS, CallFacts
from routing.route import Route
from tenants.keys.caller import Caller

Headers = Iterable[tuple[bytes, bytes]]

SESSION_HEADERS = (b"session_id", b"session-id", b"x-session-id")
IMAGES = frozenset({"computer_screenshot", "image", "image_url", "input_image"})
FILES = frozenset({"document", "file", "input_file"})


def gather(
    door: Door,
    caller: Caller,
    call: ModelCall,
    route: Route,
    headers: Headers,
    memory: AffinityMemory,
) -> CallFacts:
    """Return the facts that the route wants. A route of one lane without conditions wants none, and costs
    nothing."""
    wants = route.wants
    if not wants and len(route.targets) < 2:
        return NO_FACTS
    body = call.body
    tokens = estimate(body, call.size).fair if "input_tokens" in wants else None
    key = _affinity(caller.tenant_id, route, body, headers) if "affinity" in wants else 0
    known = affinity.NOTHING
    if key:
        known = memory.recall(key, clock.monotonic(), route.policy.affinity_seconds)
    return CallFacts(
        route=door.name,
        stream=call.stream,
        key=caller.key_public_id,
        tags=attribution.tags(body) if "tags" in wants else {},
        input_tokens=tokens,
        output_tokens=usual_output(door, body) if route.policy.strategy == "cheapest" else 0,
        needs=needs_of(body) if "needs" in wants else frozenset(),
        reasoning_effort=_effort(body) if "reasoning_effort" in wants else "",
        budget_used_percent=route.budget_used_percent,
        must_be_priced=any(each.is_hard for each in caller.budgets),
        affinity=key,
        affine_lane=known.lane_id,
        affine_tokens=known.tokens,
    )


def _affinity(tenant_id: int, route: Route, body: Json, headers: Headers) -> int:
    """Return the number that calls with the same beginning share. Of a tenant's and an alias's own."""
    for name in (
        body.get("prompt_cache_key"),
        body.get("session_id"),
        _session(headers),
        _talk(body),
    ):
        if isinstance(name, str) and name:
            return affinity.key_of_name(tenant_id, route.alias, name)
    return affinity.key_of_beginning(tenant_id, route.alias, body)


def _talk(body: Json) -> Any:
    """Return the id of the conversation that the call is a part of."""
    named = body.get("conversation")
    return named.get("id") if isinstance(named, dict) else named


def _session(headers: Headers) -> str:
    for name, value in headers:
        if name in SESSION_HEADERS:
            return value.decode("latin-1")
    return ""


def needs_of(body: Json) -> frozenset[str]:
    """Return the capabilities that a body of any format asks for."""
    kinds = attachment_kinds(body)
    asked = {
        "tools": bool(body.get("tools") or body.get("functions")),
        "structured_output": _has_schema(body),
        "reasoning": _effort(body) not in {"", "none"},
        "vision": not kinds.isdisjoint(IMAGES),
        "files": not kinds.isdisjoint(FILES),
    }
    return frozenset(name for name, is_asked in asked.items() if is_asked)


def _has_schema(body: Json) -> bool:
    text = body.get("text")
    wanted = text.get("format") if isinstance(text, dict) else body.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") == "json_schema"


def _effort(body: Json) -> str:
    """Return how hard the model is to think, as the client puts it; empty if it does not say."""
    reasoning: Any = body.get("reasoning")
    effort = (
        reasoning.get("effort") if isinstance(reasoning, dict) else body.get("reasoning_effort")
    )
    return effort if isinstance(effort, str) else ""
