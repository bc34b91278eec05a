"""Try guardrails on a text that somebody pasted, with the code that calls go through; nothing is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from responses_api.enforcement import specs
from responses_api.enforcement.external.asking import ExternalChecks
from responses_api.enforcement.external.judging import (
    ExternalCheck,
    Judged,
    judge_all,
    merged_spans,
)
from responses_api.enforcement.external.protocol import CheckQuestion, MaskSpan, apply_spans
from responses_api.enforcement.policies import compile_policy
from responses_api.enforcement.specs import AppliedGuardrail
from responses_api.guardrails.spec import EXTERNAL, STRONGEST, Outcome, Segment, Stage
from responses_api.models import Guardrail
from routing.upstream.transport import Transport
from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.keys.caller import find_by_id
from tenants.models import ApiKey

MAX_TEXT = 100_000
MAX_PIECES = 20_000
_DONE: dict[str, Outcome] = {"block": "blocked", "mask": "masked", "monitor": "monitored"}


@dataclass(frozen=True, slots=True)
class BenchSpan:
    """Something that was found in one place, in code points of the text as it was given."""

    guardrail: str
    rule: str
    action: str
    start: int
    end: int
    replacement: str


@dataclass(frozen=True, slots=True)
class BenchCheck:
    """The word of an external check about the text."""

    guardrail: str
    outcome: str
    rule: str
    latency_ms: int
    failure: str


@dataclass(frozen=True, slots=True)
class BenchResult:
    """The outcome of a trial: the strongest outcome, the text as it would go on, and why.

    `not_asked` are external checks that were left out.
    """

    outcome: str
    text: str
    spans: Sequence[BenchSpan]
    checks: Sequence[BenchCheck]
    not_asked: Sequence[str]


@dataclass(frozen=True, slots=True)
class BenchQuestion:
    """A text to try: at which stage, in pieces of how many characters (0: as a whole), and whether external
    checks are asked, too."""

    text: str
    stage: Stage = "input"
    piece: int = 0
    asks_external: bool = False

    def check(self) -> None:
        """Raise ValidationError naming the field."""
        if not 0 < len(self.text) <= MAX_TEXT:
            told = _("Write a text of 1 to %(most)s characters.") % {"most": MAX_TEXT}
            raise ValidationError({"text": told})
        if self.stage not in {"input", "output", "tools"}:
            raise ValidationError({"stage": _("Choose input, output or tools.")})
        if self.piece < 0 or (self.piece and len(self.text) > MAX_PIECES * self.piece):
            told = _("Choose pieces so large that there are at most %(most)s.")
            raise ValidationError({"piece": told % {"most": MAX_PIECES}})


def of_row(row: Guardrail) -> tuple[AppliedGuardrail, ...]:
    """Return one guardrail, as calls work with it, enabled or not."""
    return (specs.applied(row),)


def of_key(key: ApiKey, model: str) -> tuple[AppliedGuardrail, ...]:
    """Return all guardrails that apply to calls of a key. Raise ValidationError for one that has ended."""
    caller = find_by_id(key.tenant_id, key.public_id)
    if caller is None:
        raise ValidationError({"key": _("This key is no longer valid.")})
    return specs.find(caller, model)


def try_text(
    who: Access, applied: tuple[AppliedGuardrail, ...], question: BenchQuestion
) -> BenchResult:
    """Try guardrails on a text. External checks are asked for people who may change them, because an answer
    may cost their owner something. Raise ValidationError."""
    question.check()
    policy = compile_policy(applied)
    if policy.engine is None:
        if policy.broken:
            told = _("The guardrail %(name)s cannot be used.") % {"name": policy.broken}
            raise ValidationError(told)
        return BenchResult("passed", question.text, (), (), ())
    masked, found = policy.engine.detect(question.text, question.stage, question.piece)
    actions = {each.spec.name: each.spec.action for each in applied}
    spans = [
        BenchSpan(
            each.guardrail,
            each.rule,
            actions.get(each.guardrail, "block"),
            each.start,
            each.end,
            each.replacement,
        )
        for each in found
    ]
    outside = [each for each in policy.external if question.stage in each.spec.stages]
    asked = [each for each in outside if question.asks_external and _may_ask(who, each)]
    judged = _ask(asked, question, masked) if asked else []
    checks = [_check_of(*pair) for pair in zip(asked, judged, strict=True)]
    done = [*(_DONE[each.action] for each in spans), *(each.outcome for each in checks)]
    return BenchResult(
        outcome=next((each for each in STRONGEST if each in done), "passed"),
        text=_masked(masked, merged_spans(judged).get(0, ())),
        spans=spans,
        checks=checks,
        not_asked=[each.spec.name for each in outside if each not in asked],
    )


def _may_ask(who: Access, applied: AppliedGuardrail) -> bool:
    """Return whether they may change the guardrail."""
    row = Guardrail.objects.filter(pk=applied.spec.id).first()
    if row is None or row.tenant_id is None:
        return (Area.GUARDRAILS, "change") in who.platform
    return who.may("change", Area.GUARDRAILS, row.tenant_id)


def _masked(text: str, spans: tuple[MaskSpan, ...]) -> str:
    return apply_spans(text, spans) if spans else text


def _check_of(applied: AppliedGuardrail, judged: Judged) -> BenchCheck:
    finding = judged.finding
    return BenchCheck(
        applied.spec.name,
        "passed" if finding is None else finding.outcome,
        "" if finding is None else finding.rule,
        judged.latency_ms,
        judged.failure,
    )


def _ask(applied: Sequence[AppliedGuardrail], question: BenchQuestion, text: str) -> list[Judged]:
    """Ask external checks from a thread that has no event loop."""
    about = CheckQuestion(
        stage=question.stage,
        request_id="test",
        tenant="",
        key="",
        alias="",
        segments=(Segment("message", "user", "", text),),
    )
    return asyncio.run(_ask_all([ExternalCheck(one.spec, one.endpoint) for one in applied], about))


async def _ask_all(checks: Sequence[ExternalCheck], question: CheckQuestion) -> list[Judged]:
    transport = Transport(
        connect_seconds=settings.CONNECT_SECONDS,
        pool_wait_seconds=settings.POOL_WAIT_SECONDS,
        max_connections=len(checks),
    )
    try:
        return await judge_all(ExternalChecks(transport), checks, question)
    finally:
        await transport.close()


def has_external(applied: Sequence[AppliedGuardrail]) -> bool:
    """Return whether any of these asks somebody outside."""
    return any(each.spec.kind in EXTERNAL for each in applied)
