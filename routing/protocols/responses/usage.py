"""Read what the Responses API reports of usage (OpenAI API reference, "The response object")."""

from __future__ import annotations

from gateway_project.lib.json import Json
from routing.protocols.shared.usage import (
    Meter,
    count,
    disjoint,
    fresh_audio,
    has_nonsense,
    long_lived,
    mapping_of,
)
from tenants.token_classes import Usage


def meter() -> Meter:
    return Meter(read)


def read(report: Json) -> Usage:
    """Take a Response's `usage` apart."""
    inside, outside = (
        mapping_of(report, "input_tokens_details"),
        mapping_of(report, "output_tokens_details"),
    )
    return disjoint(
        count(report, "input_tokens"),
        count(report, "output_tokens"),
        count(report, "total_tokens"),
        suspicious=has_nonsense(report, inside, outside),
        cached=count(inside, "cached_tokens"),
        written=count(inside, "cache_write_tokens"),
        written_long=long_lived(inside),
        input_audio=fresh_audio(inside),
        reasoning=count(outside, "reasoning_tokens"),
        output_audio=count(outside, "audio_tokens"),
    )
