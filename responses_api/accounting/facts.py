"""Who and what a call is accounted to: the client's own words for its end users and its tags."""

from __future__ import annotations

from typing import Any

from tenants.prices.rating import DEFAULT_TIER

Json = dict[str, Any]

MAX_END_USER = 256
MAX_TAGS = 16
MAX_TAG_LENGTH = 512
MAX_TIER = 32
OUTPUT_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")


def end_user(body: Json) -> str:
    """OpenAI's `safety_identifier`, or `user`, which it replaces."""
    for name in ("safety_identifier", "user"):
        value = body.get(name)
        if isinstance(value, str) and value:
            return value.replace("\0", "")[:MAX_END_USER]
    return ""


def tags(body: Json) -> dict[str, str]:
    """The request's `metadata`, as far as it is what OpenAI allows."""
    given = body.get("metadata")
    if not isinstance(given, dict):
        return {}
    texts = [(k, v) for k, v in given.items() if isinstance(v, str)]
    return {k.replace("\0", "")[:64]: _clean(v) for k, v in texts[:MAX_TAGS]}


def tier(named: Any) -> str:
    """The service tier as prices name it; what is left to the provider is the default one until it says."""
    if not isinstance(named, str) or named in {"", "auto"}:
        return DEFAULT_TIER
    return named.replace("\0", "")[:MAX_TIER] or DEFAULT_TIER


def sent_tier(body: Json) -> str:
    """The service tier that a request asks its upstream for, as prices name it."""
    named = body.get("service_tier")
    return DEFAULT_TIER if named == "standard_only" else tier(named)  # Anthropic's word


def served_tier(named: Any) -> str | None:
    """The service tier an upstream says it served; None where it does not say."""
    if not isinstance(named, str) or named in {"", "auto"}:
        return None
    return tier(named)


def output_limit(body: Json) -> int | None:
    """The most output tokens a body allows. Where it has several limits the largest counts: an upstream may
    know only that one."""
    limit = None
    for name in OUTPUT_LIMITS:
        value = body.get(name)
        if isinstance(value, int) and (limit is None or value > limit):
            limit = value
    return limit


def choices(body: Json) -> int:
    """How many answers a Chat Completions body asks for."""
    n = body.get("n")
    return n if isinstance(n, int) and n > 1 else 1


def _clean(text: str) -> str:
    return text.replace("\0", "")[:MAX_TAG_LENGTH]
