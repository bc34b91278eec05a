"""Turn what external checks say into findings, by the action and the failure rule of their rows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from msgspec import Struct

from gateway_project.lib.secret import Secret
from responses_api.enforcement.external.asking import CheckUnavailable, ExternalChecks
from responses_api.enforcement.external.protocol import (
    CheckQuestion,
    Endpoint,
    ExternalVerdict,
    MaskSpan,
)
from responses_api.guardrails.spec import GuardrailFinding, GuardrailSpec, Outcome, Stage

UNREACHABLE = "no_credential"


class ExternalCheck(Struct, frozen=True):
    """An external guardrail that applies to a call, and how it is reached; None: it cannot be."""

    spec: GuardrailSpec
    endpoint: Endpoint | None


class Judged(Struct, frozen=True):
    """The end of one check: a finding if there is anything to tell, and what it masks, by segment."""

    finding: GuardrailFinding | None = None
    spans: Mapping[int, tuple[MaskSpan, ...]] = {}
    latency_ms: int = 0
    failure: str = ""


async def judge_all(
    checks: ExternalChecks,
    applied: Sequence[ExternalCheck],
    question: CheckQuestion,
    *,
    may_mask: bool = True,
) -> list[Judged]:
    """Ask several checks at once, and wait for all of them. Where nothing can be masked any more, what
    should be is blocked."""
    asked = (_judge(checks, each, question, may_mask=may_mask) for each in applied)
    return list(await asyncio.gather(*asked))


async def _judge(
    checks: ExternalChecks, applied: ExternalCheck, question: CheckQuestion, *, may_mask: bool
) -> Judged:
    spec = applied.spec
    if applied.endpoint is None:
        return _failed(spec, question, UNREACHABLE)
    try:
        asked = await checks.ask(spec, applied.endpoint, question)
    except CheckUnavailable as error:
        return _failed(spec, question, error.reason)
    return _found(spec, question, asked.verdict, asked.latency_ms, may_mask=may_mask)


def _failed(spec: GuardrailSpec, question: CheckQuestion, reason: str) -> Judged:
    """Return an outage. What only watches stops nothing."""
    passes = spec.on_failure == "open" or spec.action == "monitor"
    outcome: Outcome = "skipped" if passes else "unavailable"
    finding = GuardrailFinding(spec, "", _stage(question), "", outcome)
    return Judged(finding, failure=reason[:200])


def _found(
    spec: GuardrailSpec,
    question: CheckQuestion,
    verdict: ExternalVerdict,
    latency_ms: int,
    *,
    may_mask: bool,
) -> Judged:
    if verdict.action == "allow":
        return Judged(latency_ms=latency_ms)
    outcome: Outcome = "blocked"
    if spec.action == "monitor":
        outcome = "monitored"
    elif verdict.action == "mask" and may_mask:
        outcome = "masked"
    finding = _finding(spec, question, verdict, outcome)
    return Judged(finding, verdict.spans if outcome == "masked" else {}, latency_ms)


def _finding(
    spec: GuardrailSpec, question: CheckQuestion, verdict: ExternalVerdict, outcome: Outcome
) -> GuardrailFinding:
    """Say where the first span is; a verdict without spans is about everything that was asked."""
    for number in sorted(verdict.spans):
        segment, first = question.segments[number], verdict.spans[number][0]
        return GuardrailFinding(
            spec,
            verdict.rule,
            _stage(question),
            segment.surface,
            outcome,
            count=sum(map(len, verdict.spans.values())),
            start=first.start,
            length=first.end - first.start,
            value=Secret(segment.text[first.start : first.end]),
            param=segment.param,
        )
    return GuardrailFinding(spec, verdict.rule, _stage(question), "", outcome)


def _stage(question: CheckQuestion) -> Stage:
    return question.stage


def merged_spans(judged: Sequence[Judged]) -> dict[int, tuple[MaskSpan, ...]]:
    """Return what several checks mask, by segment; where spans overlap, one stands for all of them."""
    found: dict[int, list[MaskSpan]] = {}
    for each in judged:
        for number, spans in each.spans.items():
            found.setdefault(number, []).extend(spans)
    return {number: _joined(spans) for number, spans in found.items()}


def _joined(spans: Sequence[MaskSpan]) -> tuple[MaskSpan, ...]:
    joined: list[MaskSpan] = []
    for span in sorted(spans, key=lambda each: (each.start, -each.end)):
        if joined and span.start < joined[-1].end:
            last = joined[-1]
            joined[-1] = MaskSpan(last.start, max(last.end, span.end), last.replacement)
        else:
            joined.append(span)
    return tuple(joined)
