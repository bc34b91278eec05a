"""Tell an explanation of a route as JSON and as lines of text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from django.core.exceptions import ValidationError

from responses_api.calls.explain import MAX_BODY, ExplainedLane, RouteExplanation
from routing.policy.facts import CallFacts

REASONS = {
    "disabled": "it, or its provider, is disabled",
    "when": "it is not meant for such calls",
    "capability": "its model lacks what the call needs",
    "window": "the input is longer than its model's window",
    "no_credential": "its provider has no credential that can be used",
    "unpriced": "it has no price, and a hard budget needs one",
    "open": "it is left alone after failures",
    "not_native": "it does not speak the client's format, and the alias demands that",
    "budget": "the budget does not pay for it",
    "too_many": "the alias has more lanes than are looked at",
}


def body_in(path: Path) -> dict[str, Any]:
    """Read a request's JSON from a file. Raise ValidationError."""
    try:
        if path.stat().st_size > MAX_BODY:
            raise ValidationError({"body": f"{path} is larger than {MAX_BODY} bytes."})
        body = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ValidationError({"body": f"{path} cannot be read: {error.strerror}."}) from error
    except orjson.JSONDecodeError as error:
        raise ValidationError({"body": f"{path} is not valid JSON: {error}."}) from error
    if not isinstance(body, dict):
        raise ValidationError({"body": f"{path} holds no JSON object."})
    return body


def as_json(found: RouteExplanation) -> dict[str, Any]:
    """Return the explanation as the management API and the command tell it."""
    policy = found.route.policy
    return {
        "alias": found.route.alias,
        "strategy": policy.strategy,
        "affinity": policy.affinity,
        "max_attempts": policy.max_attempts,
        "refusal": found.refusal or None,
        "all_open": found.all_open,
        "facts": facts_as_json(found.facts),
        "lanes": [_lane(each, found.at) for each in found.lanes],
        "hidden_lanes": found.hidden,
    }


def facts_as_json(facts: CallFacts) -> dict[str, Any]:
    """Return what the plan knew of the call, as far as the route wanted it."""
    return {
        "route": facts.route or None,
        "stream": facts.stream,
        "key": facts.key or None,
        "tags": dict(facts.tags),
        "input_tokens": facts.input_tokens,
        "needs": sorted(facts.needs),
        "reasoning_effort": facts.reasoning_effort or None,
        "budget_used_percent": facts.budget_used_percent,
        "has_affinity": bool(facts.affinity),
    }


def _lane(each: ExplainedLane, now: float) -> dict[str, Any]:
    lane, health = each.lane, each.health
    until = health.open_until
    return {
        "target": lane.name,
        "credential": each.credential or None,
        "tier": lane.tier,
        "weight": lane.weight,
        "place": each.place,
        "share_percent": each.share,
        "reason": each.reason or None,
        "detail": each.detail or None,
        "circuit": {
            "is_open": health.is_open,
            "reason": health.reason or None,
            "seconds_left": None if until is None else max(round(until - now, 1), 0.0),
            "is_tight": health.is_tight,
            "in_flight": health.in_flight,
            "ttft_seconds": health.ttft_seconds,
        },
    }


def as_text(found: RouteExplanation) -> str:
    """Return the explanation as lines: what is tried in its order, then what is not and why."""
    policy = found.route.policy
    lines = [f"{found.route.alias}: {policy.strategy}, at most {policy.max_attempts} attempts"]
    if found.refusal:
        lines.append(f"A client would be told: {found.refusal}")
    lines += [_line(each) for each in found.lanes]
    if found.hidden:
        lines.append(f"{found.hidden} more are not shown.")
    return "\n".join(lines)


def _line(each: ExplainedLane) -> str:
    name = f"{each.lane.name} ({each.credential})" if each.credential else each.lane.name
    if each.place is None:
        detail = f": {each.detail}" if each.detail else ""
        return f"  -  {name}: dropped, {REASONS.get(each.reason, each.reason)}{detail}"
    place = f"{each.place:3}. {name}: tier {each.lane.tier}, weight {each.lane.weight}"
    if each.health.is_open:
        return f"{place}, open: {each.health.reason}"
    return f"{place}, first for {each.share} % of such calls"
