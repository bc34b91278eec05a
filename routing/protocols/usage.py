"""Token usage in disjoint classes, read from what each protocol reports.

OpenAI counts cached tokens into the input and reasoning into the output; adding such classes up bills
them twice. A report is therefore taken apart here, once. Reports repeat and grow during a stream: a Meter
keeps the largest of each count and never adds two reports.

A count may be written as an integer, as digits or as an integral float. Anything else is read as 0 and marks
the report as an anomaly; so does a part that exceeds its whole. Nothing here decides what a 0 is worth: that
is for responses_api/accounting/final_usage.py, which knows what was seen of the answer.
"""

from __future__ import annotations

from operator import add
from typing import Any

from msgspec import structs

from tenants.token_classes import Usage

# More than any call can use; beyond it a report is nonsense, and no ledger could keep it.
MOST_TOKENS = 10**10


_MOST_DIGITS = len(str(MOST_TOKENS))
# Iterations whose tokens Anthropic's own totals include, or does not bill: an attempt that was declined.
_IN_THE_TOTALS = frozenset({"message", "fallback_message"})


def of_chat(report: dict[str, Any]) -> Usage:
    """From `usage` of Chat Completions (OpenAI API reference, "The chat completion object")."""
    prompt, completion = _count(report, "prompt_tokens"), _count(report, "completion_tokens")
    inside, outside = _details(report, "prompt_tokens"), _details(report, "completion_tokens")
    cached = (
        _count(inside, "cached_tokens")
        or _count(report, "prompt_cache_hit_tokens")  # DeepSeek
        or _count(report, "cached_tokens")  # Moonshot
    )
    return disjoint(
        prompt,
        completion,
        _count(report, "total_tokens"),
        suspicious=_has_nonsense(report, inside, outside),
        cached=cached,
        written=_count(inside, "cache_write_tokens"),
        written_long=_long_lived(inside),
        input_audio=_fresh_audio(inside),
        reasoning=_count(outside, "reasoning_tokens"),
        output_audio=_count(outside, "audio_tokens"),
    )


def of_responses(report: dict[str, Any]) -> Usage:
    """From `usage` of a Response object (OpenAI API reference, "The response object")."""
    inside, outside = _details(report, "input_tokens"), _details(report, "output_tokens")
    return disjoint(
        _count(report, "input_tokens"),
        _count(report, "output_tokens"),
        _count(report, "total_tokens"),
        suspicious=_has_nonsense(report, inside, outside),
        cached=_count(inside, "cached_tokens"),
        written=_count(inside, "cache_write_tokens"),
        written_long=_long_lived(inside),
        input_audio=_fresh_audio(inside),
        reasoning=_count(outside, "reasoning_tokens"),
        output_audio=_count(outside, "audio_tokens"),
    )


def of_anthropic(report: dict[str, Any]) -> Usage:
    """From `usage` of a message, whose input leaves out what the cache read and wrote, and whose totals leave
    out compactions and advice: they are added from `iterations`.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching
    https://platform.claude.com/docs/en/build-with-claude/compaction
    """
    usage = _of_message(report)
    if "iterations" not in report:
        return usage
    iterations = report["iterations"]
    entries = iterations if isinstance(iterations, list) else [iterations] if iterations else []
    for entry in entries:
        if not isinstance(entry, dict):
            usage = structs.replace(usage, anomaly=True)
        elif entry.get("type") not in _IN_THE_TOTALS:
            usage = total(usage, _of_message(entry))
    return usage


def _of_message(report: dict[str, Any]) -> Usage:
    lifetimes = _object(report, "cache_creation")
    long = _count(lifetimes, "ephemeral_1h_input_tokens")
    by_lifetime = _count(lifetimes, "ephemeral_5m_input_tokens") + long
    written = _count(report, "cache_creation_input_tokens") or by_lifetime
    cached = _count(report, "cache_read_input_tokens")
    outside = _details(report, "output_tokens")
    return disjoint(
        _count(report, "input_tokens") + cached + written,
        _count(report, "output_tokens"),
        suspicious=_has_nonsense(report, lifetimes, outside),
        cached=cached,
        written=written,
        written_long=long,
        reasoning=_count(outside, "thinking_tokens"),
        reasons_inside=True,
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
    if other.get("iterations"):
        # Anthropic's last report of several steps is whole in itself; the first one told of its first step.
        return both
    for name in one.keys() & other.keys():
        before, after = one[name], other[name]
        if after is None:
            both[name] = before
        elif isinstance(before, dict) and isinstance(after, dict):
            both[name] = merged(before, after)
        elif (least := _read(before)) is not None and (most := _read(after)) is not None:
            both[name] = max(least, most)
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
    reasons_inside: bool = False,
) -> Usage:
    """Counts as most vendors tell them, two wholes and parts of them, taken apart. Parts that exceed their
    whole are cut to it and mark the report as an anomaly; so does `suspicious`.

    Some vendors count parts beside their whole, and their total says so: xAI reasoning, proxies to Anthropic
    what a cache read and wrote. Reasoning that exceeds the output cannot be a part of it either.
    """
    surplus = total - inputs - outputs if total else 0
    if surplus and surplus in {reasoning, cached + written + reasoning}:
        outputs += reasoning
        inputs += surplus - reasoning
    elif surplus and surplus == cached + written:
        inputs += surplus
    elif reasoning > outputs and (surplus or not total) and not reasons_inside:
        outputs += reasoning
        suspicious = True
    fresh = inputs - cached - written - input_audio
    visible = outputs - reasoning - output_audio
    contradicts = fresh < 0 or visible < 0 or written_long > written
    if contradicts:
        # What is told as read and as written was written: a cache cannot be asked for what it lacks.
        written = min(written, inputs)
        written_long = min(written_long, written)
        cached = min(cached, inputs - written)
        input_audio = min(input_audio, inputs - written - cached)
        reasoning = min(reasoning, outputs)
        output_audio = min(output_audio, outputs - reasoning)
        fresh = inputs - cached - written - input_audio
        visible = outputs - reasoning - output_audio
    return Usage(
        fresh,
        input_audio,
        cached,
        written - written_long,
        written_long,
        visible,
        output_audio,
        reasoning,
        contradicts or suspicious or (total > 0 and total != inputs + outputs),
    )


def _count(report: dict[str, Any], name: str) -> int:
    """A count of the report; 0 where there is none, and where it cannot be read."""
    value = report.get(name)
    if not value:
        return 0
    if type(value) is int and 0 < value <= MOST_TOKENS:  # as almost always
        return value
    return _read(value) or 0


def _read(value: Any) -> int | None:
    """A count of tokens however it is written: 12, 12.0 or "12". None for everything else."""
    kind = type(value)
    if kind is int:
        count = value
    elif (kind is float and value.is_integer()) or (kind is str and _is_number(value)):
        count = int(value)
    else:
        return None
    return count if 0 <= count <= MOST_TOKENS else None


def _is_number(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and text.isascii() and text.isdecimal()


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


def _has_nonsense(*objects: dict[str, Any]) -> bool:
    """Whether something stands where a count or an object of counts should."""
    for fields in objects:
        for name, value in fields.items():
            if value is None or (type(value) is int and 0 <= value <= MOST_TOKENS):
                continue
            if name.endswith("_tokens"):
                if _read(value) is None:
                    return True
            elif type(value) is not dict and name.endswith("_details"):
                return True
    return False


def in_chunk(answer: dict[str, Any]) -> Any:
    """What a completion, or a chunk of one, reports beside its choices; nothing if it reports nothing."""
    if report := answer.get("usage"):
        return report
    groq = answer.get("x_groq")  # https://console.groq.com/docs/api-reference
    return groq.get("usage") if isinstance(groq, dict) else None


def of_input(report: Any) -> dict[str, Any]:
    """What a report made before the answer says for certain. Its output is a placeholder, mostly 1: the true
    one comes at the end, and where it does not, none was reported."""
    if not isinstance(report, dict):
        return {}
    return {n: value for n, value in report.items() if not n.startswith(("output_", "total_"))}


class Meter:
    """What one upstream call reported so far; one kind per protocol, chosen by `read`."""

    __slots__ = ("_before", "_read", "_report", "own", "usage")

    def __init__(self, protocol: str) -> None:
        self._read = READERS[protocol]
        self._report: dict[str, Any] = {}
        self._before: Usage | None = None
        self.own: Usage | None = None  # of this call alone
        self.usage: Usage | None = None

    @property
    def has_output(self) -> bool:
        """Whether output was reported, and more than none."""
        return self.own is not None and self.own.output_total > 0

    def add(self, usage: Usage) -> None:
        """What an earlier call for the same answer used, which no report of this one tells."""
        self._before = self.with_earlier(usage)

    def with_earlier(self, usage: Usage) -> Usage:
        """`usage` of this call and what earlier calls for the same answer used."""
        return usage if self._before is None else total(self._before, usage)

    def observe(self, report: Any) -> None:
        """Take in a `usage` value of the wire; anything that is not an object of something is no report."""
        if not isinstance(report, dict) or not report:
            return
        self._report = merged(self._report, report) if self._report else report
        usage = self._read(self._report)
        if (
            self.own is not None and self.own.anomaly
        ):  # what contradicted itself once stays suspicious
            usage = structs.replace(usage, anomaly=True)
        self.own = usage
        self.usage = self.with_earlier(usage)


READERS = {"chat": of_chat, "responses": of_responses, "anthropic": of_anthropic}
