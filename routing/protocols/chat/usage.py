"""Read what Chat Completions reports of usage (OpenAI API reference, "The chat completion object")."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, ValidationError, convert, structs

from gateway_project.lib.json import Json
from routing.protocols.shared.usage import (
    Count,
    InputDetails,
    Meter,
    OutputDetails,
    count,
    disjoint,
    fresh_audio,
    has_nonsense,
    long_lived,
    mapping_of,
    of_plain,
)
from tenants.token_classes import Usage


def meter() -> Meter:
    return Meter(read)


class PlainChatUsage(Struct, forbid_unknown_fields=True):
    """A report of nothing but counts."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    total_tokens: Count = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None


def read(report: Json) -> Usage:
    """Take a completion's `usage` apart."""
    try:
        return of_plain(*structs.astuple(convert(report, PlainChatUsage)))
    except ValidationError:
        return _read_any(report)


def _read_any(report: Json) -> Usage:
    prompt, completion = count(report, "prompt_tokens"), count(report, "completion_tokens")
    inside, outside = (
        mapping_of(report, "prompt_tokens_details"),
        mapping_of(report, "completion_tokens_details"),
    )
    cached = (
        count(inside, "cached_tokens")
        or count(report, "prompt_cache_hit_tokens")  # DeepSeek
        or count(report, "cached_tokens")  # Moonshot
    )
    return disjoint(
        prompt,
        completion,
        count(report, "total_tokens"),
        suspicious=has_nonsense(report, inside, outside),
        cached=cached,
        written=count(inside, "cache_write_tokens"),
        written_long=long_lived(inside),
        input_audio=fresh_audio(inside),
        reasoning=count(outside, "reasoning_tokens"),
        output_audio=count(outside, "audio_tokens"),
    )


def in_chunk(answer: Json) -> Any:
    """Find the report that a completion, or a chunk of one, has beside its choices; None if it has none."""
    if report := answer.get("usage"):
        return report
    groq = answer.get("x_groq")  # https://console.groq.com/docs/api-reference
    return groq.get("usage") if isinstance(groq, dict) else None
