"""Speak the generic guardrail dialect of LiteLLM, which services of several vendors answer.

https://docs.litellm.ai/docs/adding_provider/generic_guardrail_api
"""

from __future__ import annotations

from typing import Any

from responses_api.enforcement.external.protocol import (
    ALLOWED,
    CheckQuestion,
    ExternalVerdict,
    MalformedVerdict,
    MaskSpan,
)

RULE = "litellm"
_INPUT_TYPES = {"output": "response"}


def write(question: CheckQuestion) -> dict[str, Any]:
    """Make the body of the POST."""
    return {
        "input_type": _INPUT_TYPES.get(question.stage, "request"),
        "litellm_call_id": question.request_id,
        "texts": [each.text for each in question.segments],
        "images": [],
        "tools": [],
        "tool_calls": [],
        "structured_messages": [
            {"role": each.role or "user", "content": each.text} for each in question.segments
        ],
        "request_data": {
            "user_api_key_alias": question.key,
            "user_api_key_team_id": question.tenant,
        },
        "additional_provider_specific_params": {},
        "model": question.alias,
    }


def read(answer: Any, question: CheckQuestion) -> ExternalVerdict:
    """Read the verdict. Texts that came back changed are taken as masked. Raise MalformedVerdict."""
    match answer:
        case {"action": "NONE"}:
            return ALLOWED
        case {"action": "BLOCKED"}:
            return ExternalVerdict("block", RULE)
        case {"action": "GUARDRAIL_INTERVENED", "texts": list(texts)} if len(texts) == len(
            question.segments
        ) and all(isinstance(each, str) for each in texts):
            pairs = zip(question.segments, texts, strict=True)
            spans = {n: _changed(one.text, new) for n, (one, new) in enumerate(pairs)}
            changed = {n: found for n, found in spans.items() if found}
            return ExternalVerdict("mask", RULE, changed) if changed else ALLOWED
    raise MalformedVerdict("'action' is not NONE, BLOCKED, or GUARDRAIL_INTERVENED with all texts")


def _changed(before: str, after: str) -> tuple[MaskSpan, ...]:
    """Return the one span in which two texts differ; none if they are equal."""
    if before == after:
        return ()
    most = min(len(before), len(after))
    start = next((n for n in range(most) if before[n] != after[n]), most)
    rest = most - start
    same = next((n for n in range(rest) if before[-1 - n] != after[-1 - n]), rest)
    start, end = _widened(before, start, len(before) - same)
    # What was only added stands in place of the character beside it.
    replacement = after[start : len(after) - (len(before) - end)]
    return (MaskSpan(start, end, replacement),)


def _widened(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span of at least one character, where there is one."""
    if start < end or not text:
        return start, end
    return (start, end + 1) if end < len(text) else (start - 1, end)
