"""Read from a request what its ledger row is attributed to: end user, tags and service tier."""

from __future__ import annotations

from typing import Any

from gateway_project.lib.json import Json
from tenants.prices.rating import DEFAULT_TIER

MAX_END_USER = 256
MAX_TAGS = 16
MAX_TAG_LENGTH = 512
MAX_TIER = 32


def end_user(body: Json) -> str:
    """Return OpenAI's `safety_identifier`, or `user`, which it replaces."""
    for name in ("safety_identifier", "user"):
        value = body.get(name)
        if isinstance(value, str) and value:
            return value.replace("\0", "")[:MAX_END_USER]
    return ""


def tags(body: Json) -> dict[str, str]:
    """Return the request's `metadata` as far as it is in the form OpenAI allows."""
    given = body.get("metadata")
    if not isinstance(given, dict):
        return {}
    texts = [(k, v) for k, v in given.items() if isinstance(v, str)]
    return {k.replace("\0", "")[:64]: _clean(v) for k, v in texts[:MAX_TAGS]}


def tier(named: Any) -> str:
    """Return the service tier as prices name it. A tier left to the provider counts as the default one
    until the provider names another."""
    if not isinstance(named, str) or named in {"", "auto"}:
        return DEFAULT_TIER
    return named.replace("\0", "")[:MAX_TIER] or DEFAULT_TIER


def served_tier(named: Any) -> str | None:
    """Return the service tier an upstream says it served; None if it does not say."""
    if not isinstance(named, str) or named in {"", "auto"}:
        return None
    return named if named == DEFAULT_TIER else tier(named)


def _clean(text: str) -> str:
    return text.replace("\0", "")[:MAX_TAG_LENGTH]
