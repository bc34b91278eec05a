"""Read what Anthropic Messages reports of usage.

https://platform.claude.com/docs/en/build-with-claude/prompt-caching
https://platform.claude.com/docs/en/build-with-claude/compaction
"""

from __future__ import annotations

from msgspec import structs

from gateway_project.lib.json import Json
from routing.protocols.shared import usage
from routing.protocols.shared.usage import (
    Meter,
    count,
    disjoint,
    has_nonsense,
    mapping_of,
    total,
)
from tenants.token_classes import Usage

# Iterations whose tokens Anthropic's own totals include, or does not bill: an attempt that was declined.
_IN_THE_TOTALS = frozenset({"message", "fallback_message"})


def meter() -> Meter:
    return Meter(read, merge)


def merge(one: Json, other: Json) -> Json:
    """Join two reports. The last report of several steps is whole in itself; the first told of its first
    step only."""
    return {**one, **other} if other.get("iterations") else usage.merge(one, other)


def read(report: Json) -> Usage:
    """Take a message's `usage` apart. Its input leaves out what the cache read and wrote. Its totals leave
    out compactions and advice, which are added from `iterations`."""
    counted = _read_totals(report)
    if "iterations" not in report:
        return counted
    iterations = report["iterations"]
    entries = iterations if isinstance(iterations, list) else [iterations] if iterations else []
    for entry in entries:
        if not isinstance(entry, dict):
            counted = structs.replace(counted, anomaly=True)
        elif entry.get("type") not in _IN_THE_TOTALS:
            counted = total(counted, _read_totals(entry))
    return counted


def _read_totals(report: Json) -> Usage:
    lifetimes = mapping_of(report, "cache_creation")
    long = count(lifetimes, "ephemeral_1h_input_tokens")
    by_lifetime = count(lifetimes, "ephemeral_5m_input_tokens") + long
    written = count(report, "cache_creation_input_tokens") or by_lifetime
    cached = count(report, "cache_read_input_tokens")
    outside = mapping_of(report, "output_tokens_details")
    return disjoint(
        count(report, "input_tokens") + cached + written,
        count(report, "output_tokens"),
        suspicious=has_nonsense(report, lifetimes, outside),
        cached=cached,
        written=written,
        written_long=long,
        reasoning=count(outside, "thinking_tokens"),
        reasons_inside=True,
    )
