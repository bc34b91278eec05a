"""Speak Anthropic Messages: https://platform.claude.com/docs/en/api/messages"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_project.lib.json import Json
from routing.protocols.anthropic import counting, request, usage
from routing.protocols.anthropic.deltas import AnthropicDeltas
from routing.protocols.anthropic.parameters import PARAMETERS
from routing.protocols.shared.counting import read_input_tokens
from routing.protocols.shared.protocol import Counter, ModelList, UpstreamProtocol
from routing.route import ResolvedTarget

_PAGE_SIZE = 1000
# What prices call the default tier, in Anthropic's word: https://platform.claude.com/docs/en/api/service-tiers
_STANDARD_ONLY = "standard_only"


def _probe(target: ResolvedTarget, prompt: str, limit: int) -> Json:
    messages = [{"role": "user", "content": prompt}]
    return {"model": target.model, "messages": messages, "max_tokens": limit}


def _next_query(page: Json) -> Mapping[str, str | int] | None:
    last_id = page.get("last_id")
    if not page.get("has_more") or not isinstance(last_id, str):
        return None
    return {"limit": _PAGE_SIZE, "after_id": last_id}


def _service_tier(body: Json) -> Any:
    named = body.get("service_tier")
    return None if named == _STANDARD_ONLY else named


PROTOCOL = UpstreamProtocol(
    name="anthropic",
    label="Anthropic Messages",
    path=request.PATH,
    # https://platform.claude.com/docs/en/api/versioning
    headers={"anthropic-version": "2023-06-01"},
    auth_kind="x-api-key",
    build=request.build,
    parameters=PARAMETERS,
    forms_by_tool=True,
    service_tier=_service_tier,
    # Claude's tokenizer since 4.7 makes up to 1.35 times the tokens of the one before
    # (https://www.anthropic.com/news/claude-opus-4-7).
    window_percent=70,
    adapter=AnthropicDeltas,
    meter=usage.meter,
    read_usage=usage.read,
    probe=_probe,
    answer_list="content",
    # https://platform.claude.com/docs/en/api/models-list
    models=ModelList(query={"limit": _PAGE_SIZE}, next_query=_next_query),
    counter=Counter(counting.PATH, counting.body, read_input_tokens),
)
