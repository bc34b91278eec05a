"""Speak the gateway's own contract of a guardrail behind a webhook (docs/guardrails.md)."""

from __future__ import annotations

from typing import Any

from responses_api.enforcement.external.protocol import (
    ALLOWED,
    CheckQuestion,
    ExternalVerdict,
    MalformedVerdict,
    MaskSpan,
    read_rule,
    read_spans,
)

VERSION = 1
RULE = "webhook"


def write(question: CheckQuestion) -> dict[str, Any]:
    """Make the body of the POST."""
    return {
        "version": VERSION,
        "stage": question.stage,
        "request_id": question.request_id,
        "tenant": question.tenant,
        "key": question.key,
        "alias": question.alias,
        "segments": [
            {"surface": each.surface, "role": each.role, "text": each.text}
            for each in question.segments
        ],
    }


def read(answer: Any, question: CheckQuestion) -> ExternalVerdict:
    """Read the verdict. Offsets are in code points. Raise MalformedVerdict.

    A `message` is not read: it may hold the text, and goes to nobody.
    """
    match answer:
        case {"action": "allow"}:
            return ALLOWED
        case {"action": "block"}:
            return ExternalVerdict("block", read_rule(answer.get("rule"), RULE))
        case {"action": "mask", "segments": list(segments)}:
            spans = _spans(segments, question)
            return ExternalVerdict("mask", read_rule(answer.get("rule"), RULE), spans)
    raise MalformedVerdict("'action' is not allow, block, or mask with segments")


def _spans(given: list[Any], question: CheckQuestion) -> dict[int, tuple[MaskSpan, ...]]:
    found: dict[int, tuple[MaskSpan, ...]] = {}
    for each in given:
        match each:
            case {"index": int(index), "spans": spans} if (
                not isinstance(index, bool)
                and 0 <= index < len(question.segments)
                and index not in found
            ):
                found[index] = read_spans(spans, question.segments[index].text)
            case _:
                raise MalformedVerdict("a segment has no 'index' of a text, or one that is twice")
    if not found:
        raise MalformedVerdict("'mask' names no segment")
    return found
