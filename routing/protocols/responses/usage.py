"""Read what the Responses API reports of usage (OpenAI API reference, "The response object")."""

from __future__ import annotations

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


class PlainResponsesUsage(Struct, forbid_unknown_fields=True):
    """A report of nothing but counts."""

    input_tokens: Count = None
    output_tokens: Count = None
    total_tokens: Count = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


def read(report: Json) -> Usage:
    """Take a Response's `usage` apart."""
    try:
        return of_plain(*structs.astuple(convert(report, PlainResponsesUsage)))
    except ValidationError:
        return _read_any(report)


def _read_any(report: Json) -> Usage:
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
