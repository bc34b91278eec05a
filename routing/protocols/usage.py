"""Token usage in disjoint classes, read from what each protocol reports.

OpenAI counts cached tokens into the input and reasoning into the output; adding such classes up bills
them twice (reliability.md 6). A report is therefore taken apart here, once. Reports repeat and grow
during a stream: a Meter keeps the largest of each count and never adds two reports.
"""

from __future__ import annotations

from operator import add
from typing import Any

from msgspec import structs

from tenants.token_classes import Usage

# More than any call can use; beyond it a report is nonsense, and no ledger could keep it.
MOST_TOKENS = 10**10


def of_chat(report: dict[str, Any]) -> Usage:
    """From `usage` of Chat Completions (OpenAI API reference, "The chat completion object")."""
    prompt, completion = _count(report, "prompt_tokens"), _count(report, "completion_tokens")
    inside, outside = _details(report, "prompt_tokens"), _details(report, "completion_tokens")
    cached = (
        _count(inside, "cached_tokens")
        or _count(report, "prompt_cache_hit_tokens")  # DeepSeek
        or _count(report, "cached_tokens")  # Moonshot
    )
    reasoning = _count(outside, "reasoning_tokens")
    total = _count(report, "total_tokens")
    if reasoning and total == prompt + completion + reasoning:
        completion += reasoning  # xAI counts reasoning beside the completion, not in it
    return disjoint(
        prompt,
        completion,
        total,
        suspicious=_has_nonsense(report),
        cached=cached,
        written=_count(inside, "cache_write_tokens"),
        written_long=_long_lived(inside),
        input_audio=_fresh_audio(inside),
        reasoning=reasoning,
        output_audio=_count(outside, "audio_tokens"),
    )


def of_responses(report: dict[str, Any]) -> Usage:
    """From `usage` of a Response object (wire.md 3.2)."""
    inside, outside = _details(report, "input_tokens"), _details(report, "output_tokens")
    return disjoint(
        _count(report, "input_tokens"),
        _count(report, "output_tokens"),
        _count(report, "total_tokens"),
        suspicious=_has_nonsense(report),
        cached=_count(inside, "cached_tokens"),
        written=_count(inside, "cache_write_tokens"),
        written_long=_long_lived(inside),
        input_audio=_fresh_audio(inside),
        reasoning=_count(outside, "reasoning_tokens"),
        output_audio=_count(outside, "audio_tokens"),
    )


def of_anthropic(report: dict[str, Any]) -> Usage:
    """From `usage` of a message, whose input leaves out what the cache read and wrote.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching
    """
    lifetimes = _object(report, "cache_creation")
    long = _count(lifetimes, "ephemeral_1h_input_tokens")
    by_lifetime = _count(lifetimes, "ephemeral_5m_input_tokens") + long
    written = _count(report, "cache_creation_input_tokens") or by_lifetime
    cached = _count(report, "cache_read_input_tokens")
    return disjoint(
        _count(report, "input_tokens") + cached + written,
        _count(report, "output_tokens"),
        suspicious=_has_nonsense(report),
        cached=cached,
        written=written,
        written_long=long,
        reasoning=_count(_details(report, "output_tokens"), "thinking_tokens"),
    )


def total(one: Usage, other: Usage) -> Usage:
    """Class by class, of two calls."""
    counts = map(add, one.counts, other.counts)
    return Usage.of(counts, anomaly=one.anomaly or other.anomaly)


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Count by count the larger: reports are cumulative, so a smaller one is older or wrong.

    Merged are the counts as reported, before they are taken apart: a later report may tell that tokens an
    earlier one called input were cached, and class by class those would count twice.
    """
    both = {**one, **other}
    for name in one.keys() & other.keys():
        before, after = one[name], other[name]
        if isinstance(before, dict) and isinstance(after, dict):
            both[name] = merged(before, after)
        elif isinstance(before, int) and isinstance(after, int):
            both[name] = max(before, after)
        elif after is None:
            both[name] = before
    return both


def disjoint(
    inputs: int,
    outputs: int,
    total: int = 0,
    *,
    suspicious: bool,
    cached: int = 0,
    written: int = 0,
    written_long: int = 0,
    input_audio: int = 0,
    reasoning: int = 0,
    output_audio: int = 0,
) -> Usage:
    """Counts as most vendors tell them, two wholes and parts of them, taken apart. Parts that exceed their
    whole mark the report as an anomaly, and so does `suspicious`."""
    unread, unthought = inputs - cached - written, outputs - reasoning
    fresh, visible = unread - input_audio, unthought - output_audio
    contradicts = fresh < 0 or visible < 0 or written_long > written
    contradicts |= total > 0 and total != inputs + outputs
    if contradicts:
        input_audio = max(min(input_audio, unread), 0)
        output_audio = max(min(output_audio, unthought), 0)
    return Usage(
        fresh if fresh > 0 else 0,
        input_audio,
        cached,
        written - written_long if written > written_long else 0,
        written_long,
        visible if visible > 0 else 0,
        output_audio,
        reasoning,
        contradicts or suspicious,
    )


def _count(report: dict[str, Any], name: str) -> int:
    value = report.get(name)
    if not value or not isinstance(value, int) or value < 0:
        return 0
    return value if value < MOST_TOKENS else MOST_TOKENS


def _details(report: dict[str, Any], name: str) -> dict[str, Any]:
    return _object(report, f"{name}_details")


def _object(report: dict[str, Any], name: str) -> dict[str, Any]:
    value = report.get(name)
    return value if isinstance(value, dict) else {}


def _long_lived(inside: dict[str, Any]) -> int:
    return _count(_details(inside, "cache_write_tokens"), "ttl_12h_tokens")


def _fresh_audio(inside: dict[str, Any]) -> int:
    """Audio that no cache held: what one held is priced as read from it, whatever it was."""
    heard = _count(inside, "audio_tokens")
    if not heard:
        return 0
    return max(heard - _count(_details(inside, "cached_tokens"), "audio_tokens"), 0)


def _has_nonsense(report: dict[str, Any]) -> bool:
    return any(
        isinstance(value, int) and not 0 <= value <= MOST_TOKENS for value in report.values()
    )


class Meter:
    """What one upstream call reported so far; one kind per protocol, chosen by `read`."""

    __slots__ = ("_before", "_read", "_report", "own", "usage")

    def __init__(self, protocol: str) -> None:
        self._read = READERS[protocol]
        self._report: dict[str, Any] = {}
        self._before: Usage | None = None
        self.own: Usage | None = None  # of this call alone
        self.usage: Usage | None = None

    def add(self, usage: Usage) -> None:
        """What an earlier call for the same answer used, which no report of this one tells."""
        self._before = usage if self._before is None else total(self._before, usage)

    def observe(self, report: Any) -> None:
        """Take in a `usage` value of the wire; anything that is not an object is no report."""
        if not isinstance(report, dict) or not report:
            return
        self._report = merged(self._report, report) if self._report else report
        usage = self._read(self._report)
        if self.own is not None and self.own.anomaly:
            usage = structs.replace(
                usage, anomaly=True
            )  # once a report contradicted itself, none is trusted
        self.own = usage
        self.usage = usage if self._before is None else total(self._before, usage)


READERS = {"chat": of_chat, "responses": of_responses, "anthropic": of_anthropic}
