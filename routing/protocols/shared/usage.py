"""Take usage reports apart into disjoint classes of tokens; each protocol's own reader is in its folder.

OpenAI counts cached tokens into the input and reasoning into the output; adding such classes up bills
them twice. A report is therefore taken apart here, once. Reports repeat and grow during a stream: a Meter
keeps the largest of each count and never adds two reports.

A count may be written as an integer, as digits or as an integral float. Anything else is read as 0 and marks
the report as an anomaly; so does a part that exceeds its whole. Nothing here decides what a 0 is worth: that
is for responses_api/accounting/final_usage.py, which knows what was seen of the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import add
from typing import Annotated, Any

from msgspec import Meta, Struct, structs

from gateway_project.lib.json import Json
from tenants import units
from tenants.token_classes import Usage

# More than any call can use; beyond it a report is nonsense, and no ledger could keep it.
MOST_TOKENS = 10**10
_MOST_DIGITS = len(str(MOST_TOKENS))


def total(one: Usage, other: Usage) -> Usage:
    """Add the usage of two calls, class by class."""
    counts = map(add, one.counts, other.counts)
    both = units.added((one.units, other.units)) if one.units or other.units else ()
    return Usage.of(counts, anomaly=one.anomaly or other.anomaly, units=both)


def merge(one: Json, other: Json) -> Json:
    """Join two reports, keeping the larger of each count: they are cumulative, so that a smaller one is older
    or wrong.

    Merged are the counts as reported, before they are taken apart: a later report may tell that tokens an
    earlier one called input were cached, and class by class those would count twice.
    """
    both = {**one, **other}
    for name in one.keys() & other.keys():
        before, after = one[name], other[name]
        if after is None:
            both[name] = before
        elif isinstance(before, dict) and isinstance(after, dict):
            both[name] = merge(before, after)
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


# A report of nothing but counts, as almost all are, is read by its shape in one go; any other by `count`.
Count = Annotated[int, Meta(ge=0, le=MOST_TOKENS)] | None


class InputDetails(Struct, forbid_unknown_fields=True):
    """Details of input tokens in OpenAI's formats."""

    cached_tokens: Count = None
    cache_write_tokens: Count = None
    audio_tokens: Count = None
    text_tokens: Count = None
    image_tokens: Count = None


class OutputDetails(Struct, forbid_unknown_fields=True):
    """Details of output tokens in OpenAI's formats."""

    reasoning_tokens: Count = None
    audio_tokens: Count = None
    text_tokens: Count = None
    accepted_prediction_tokens: Count = None
    rejected_prediction_tokens: Count = None


_NO_INPUT, _NO_OUTPUT = InputDetails(), OutputDetails()


def of_plain(
    inputs: Count,
    outputs: Count,
    total: Count,
    inside: InputDetails | None,
    outside: OutputDetails | None,
) -> Usage:
    """Take a report of nothing but counts apart."""
    inside, outside = inside or _NO_INPUT, outside or _NO_OUTPUT
    return disjoint(
        inputs or 0,
        outputs or 0,
        total or 0,
        suspicious=False,
        cached=inside.cached_tokens or 0,
        written=inside.cache_write_tokens or 0,
        written_long=0,
        input_audio=inside.audio_tokens or 0,
        reasoning=outside.reasoning_tokens or 0,
        output_audio=outside.audio_tokens or 0,
    )


def count(report: Json, name: str) -> int:
    """Read a count of the report; 0 if there is none, or none that can be read."""
    value = report.get(name)
    if not value:
        return 0
    if type(value) is int and 0 < value <= MOST_TOKENS:  # as almost always
        return value
    return _read(value) or 0


def _read(value: Any) -> int | None:
    """Read a count however it is written: 12, 12.0 or "12". None for everything else."""
    kind = type(value)
    if kind is int:
        found = value
    elif (kind is float and value.is_integer()) or (kind is str and _is_number(value)):
        found = int(value)
    else:
        return None
    return found if 0 <= found <= MOST_TOKENS else None


def _is_number(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and text.isascii() and text.isdecimal()


def mapping_of(report: Json, name: str) -> Json:
    """Read an object of the report; an empty one if there is none."""
    value = report.get(name)
    return value if isinstance(value, dict) else {}


def long_lived(inside: Json) -> int:
    if "cache_write_tokens_details" not in inside:  # as almost always
        return 0
    return count(mapping_of(inside, "cache_write_tokens_details"), "ttl_12h_tokens")


def fresh_audio(inside: Json) -> int:
    """Count the audio that no cache held: what one held is priced as read from it, whatever it was."""
    heard = count(inside, "audio_tokens")
    if not heard:
        return 0
    return max(heard - count(mapping_of(inside, "cached_tokens_details"), "audio_tokens"), 0)


def has_nonsense(*objects: Json) -> bool:
    """Tell whether something else stands where a count or an object of counts should."""
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


def of_input(report: Any) -> Json:
    """Keep what a report made before the answer says for certain. Its output is a placeholder, mostly 1: the
    true one comes at the end, and where it does not, none was reported."""
    if not isinstance(report, dict):
        return {}
    return {n: value for n, value in report.items() if not n.startswith(("output_", "total_"))}


class Meter:
    """Keep what one upstream call reported so far. `read` takes a report apart, `merge` joins an earlier and
    a later one."""

    __slots__ = ("_before", "_merge", "_read", "_report", "own", "usage")

    def __init__(
        self, read: Callable[[Json], Usage], merge: Callable[[Json, Json], Json] = merge
    ) -> None:
        self._read = read
        self._merge = merge
        self._report: Json = {}
        self._before: Usage | None = None
        self.own: Usage | None = None  # of this call alone
        self.usage: Usage | None = None

    @property
    def has_output(self) -> bool:
        """Return whether output was reported, and more than none."""
        return self.own is not None and self.own.output_total > 0

    @property
    def has_earlier(self) -> bool:
        """Return whether an earlier call for the same answer used something."""
        return self._before is not None

    def add(self, usage: Usage) -> None:
        """Add what an earlier call for the same answer used, which no report of this call tells."""
        self._before = self.with_earlier(usage)

    def with_earlier(self, usage: Usage) -> Usage:
        """`usage` of this call and what earlier calls for the same answer used."""
        return usage if self._before is None else total(self._before, usage)

    def observe(self, report: Any) -> None:
        """Take in a `usage` value of the wire; anything that is not an object of something is no report."""
        if not isinstance(report, dict) or not report:
            return
        self._report = self._merge(self._report, report) if self._report else report
        usage = self._read(self._report)
        if (
            self.own is not None and self.own.anomaly
        ):  # what contradicted itself once stays suspicious
            usage = structs.replace(usage, anomaly=True)
        self.own = usage
        self.usage = usage if self._before is None else total(self._before, usage)
