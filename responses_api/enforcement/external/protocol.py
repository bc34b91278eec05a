"""Define what an external check is asked, what it answers, and how it is reached."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from gateway_project.lib.secret import Secret
from responses_api.guardrails.spec import RequestSegment, Stage
from routing.route import ResolvedTarget

MAX_SPANS = 10_000
MAX_REPLACEMENT = 1_000
_RULE = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


class MalformedVerdict(ValueError):
    """An answer outside its protocol. The message says what is wrong, and never quotes the text."""


class CheckQuestion(Struct, frozen=True):
    """A question to an external check about one call."""

    stage: Stage
    request_id: str
    tenant: str
    key: str
    alias: str
    segments: tuple[RequestSegment, ...]


class MaskSpan(Struct, frozen=True):
    """Code points of one text, and what stands there instead."""

    start: int
    end: int
    replacement: str


class ExternalVerdict(Struct, frozen=True):
    """The word of an external check. `spans` are by the number of the segment, in order, apart."""

    action: Literal["allow", "block", "mask"]
    rule: str = ""
    spans: Mapping[int, tuple[MaskSpan, ...]] = {}


ALLOWED = ExternalVerdict("allow")


class Endpoint(Struct, frozen=True):
    """The way to an external check, and its language.

    write           makes the body of a question
    read            reads the answer. Raises MalformedVerdict
    api_key         is sent as `x-api-key`
    signing_secret  signs the body, as webhooks are signed
    """

    target: ResolvedTarget
    path: str
    write: Callable[[CheckQuestion], Any]
    read: Callable[[Any, CheckQuestion], ExternalVerdict]
    api_key: Secret | None = None
    signing_secret: Secret | None = None


def read_rule(value: Any, otherwise: str) -> str:
    """Return the name of a rule as it is recorded: a word, so that no text can hide in it."""
    return value if isinstance(value, str) and _RULE.fullmatch(value) else otherwise


def read_spans(given: Any, text: str) -> tuple[MaskSpan, ...]:
    """Return the spans of one text, in order. Raise MalformedVerdict for one that is out of it, or over
    another."""
    if not isinstance(given, list) or not 0 < len(given) <= MAX_SPANS:
        raise MalformedVerdict("'spans' is not a list of one or more")
    found = sorted((_span(each, len(text)) for each in given), key=lambda span: span.start)
    for before, after in itertools.pairwise(found):
        if after.start < before.end:
            raise MalformedVerdict("spans overlap")
    return tuple(found)


def _span(given: Any, length: int) -> MaskSpan:
    match given:
        case {"start": int(start), "end": int(end)} if not (
            isinstance(start, bool) or isinstance(end, bool)
        ):
            replacement = given.get("replacement", "[REDACTED]")
            if not 0 <= start < end <= length:
                raise MalformedVerdict("a span lies outside its text")
            if not isinstance(replacement, str) or len(replacement) > MAX_REPLACEMENT:
                raise MalformedVerdict("a replacement is no text, or too long")
            return MaskSpan(start, end, replacement)
    raise MalformedVerdict("a span has no 'start' and 'end'")


def apply_spans(text: str, spans: tuple[MaskSpan, ...]) -> str:
    """Return the text with its spans replaced."""
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.start], span.replacement]
        at = span.end
    return "".join((*pieces, text[at:]))
