"""Keep what the guardrails of one call have found so far: for its row, its headers and its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import structs

from responses_api.enforcement import recording
from responses_api.enforcement.external.asking import ExternalChecks
from responses_api.enforcement.external.judging import (
    ExternalCheck,
    Judged,
    judge_all,
    merged_spans,
)
from responses_api.enforcement.external.protocol import CheckQuestion, MaskSpan, apply_spans
from responses_api.enforcement.policies import GuardrailPolicy
from responses_api.enforcement.recording import EventRecord, EventWriter
from responses_api.guardrails.spec import (
    STRONGEST,
    GuardrailFinding,
    OutputSegment,
    OutputVerdict,
    RequestSegment,
    Stage,
)
from tenants.keys.caller import Caller

HEADER = "x-tollgate-guardrails"
MAX_HEADER = 1_000
# Clients are told what changed their call; what only watches is not theirs to know.
_TOLD = ("blocked", "masked", "skipped")


class CallGuardrails:
    """The guardrails of one call. `report` takes what is found, before and while the answer flows."""

    __slots__ = (
        "_alias",
        "_caller",
        "_checks",
        "_events",
        "_found",
        "_measured",
        "_request_id",
        "has_skipped",
        "passed",
        "policy",
    )

    def __init__(
        self,
        policy: GuardrailPolicy,
        checks: ExternalChecks,
        events: EventWriter,
        *,
        request_id: str,
        caller: Caller,
        alias: str,
    ) -> None:
        self.policy = policy
        self._checks = checks
        self._events = events
        self._request_id = request_id
        self._caller = caller
        self._alias = alias
        # External checks of the input that let it through, by number and revision.
        self.passed: dict[int, int] = {}
        # How long external findings took. Each is held by what is kept here, so its number is its own.
        self._measured: dict[int, Judged] = {}
        self._found: dict[str, str] = {}  # the strongest outcome of each guardrail, by name
        self.has_skipped = False  # a check that should have looked could not

    @property
    def outcome(self) -> str:
        """Return the strongest thing they did."""
        found = self._found.values()
        return next((each for each in STRONGEST if each in found), "passed")

    def headers(self) -> dict[str, str]:
        """Return the header that tells the client what changed its call."""
        told = [f"{name}={how}" for name, how in sorted(self._found.items()) if how in _TOLD]
        return {HEADER: ", ".join(told)[:MAX_HEADER]} if told else {}

    @property
    def found(self) -> dict[str, str]:
        """Return the strongest outcome of each guardrail that did anything, by name."""
        return dict(self._found)

    def report(self, finding: GuardrailFinding) -> None:
        """Take what was found: for the call's own record, and as an event."""
        name, outcome = finding.guardrail.name, finding.outcome
        if outcome == "passed":
            return
        self.has_skipped = self.has_skipped or outcome in {"skipped", "unavailable"}
        self.note({name: outcome})
        self._events.write(self._event(finding, self._measured.pop(id(finding), None)))

    def note(self, found: Mapping[str, str]) -> None:
        """Note what was found, here or in an answer that is given again, without another event."""
        for name, outcome in found.items():
            known = self._found.get(name)
            if known is None or _place(outcome) < _place(known):
                self._found[name] = outcome

    def _event(self, finding: GuardrailFinding, judged: Judged | None) -> EventRecord:
        spec, caller = finding.guardrail, self._caller
        made, at = recording.new_id()
        value = finding.value.reveal()
        return EventRecord(
            id=made,
            tenant_id=caller.tenant_id,
            request_id=self._request_id,
            key_public_id=caller.key_public_id,
            at=at,
            guardrail_id=spec.id,
            guardrail=spec.name,
            is_platforms=spec.id in self.policy.of_platform,
            revision=spec.revision,
            stage=finding.stage,
            surface=finding.surface[:64],
            rule=finding.rule[:100],
            action=finding.outcome,
            count=finding.count,
            offset=finding.start if value else None,
            length=finding.length if value else None,
            digest=recording.digest(caller.tenant_id, value) if value else "",
            latency_ms=None if judged is None else judged.latency_ms,
            failure="" if judged is None else judged.failure,
        )

    # External checks

    def external(self, stage: Stage, *, parallel: bool = False) -> list[ExternalCheck]:
        """Return the external checks of a stage; of the input those that are asked before the call, or
        beside it."""
        return [
            ExternalCheck(each.spec, each.endpoint)
            for each in self.policy.external
            if stage in each.spec.stages and (stage != "input" or each.spec.parallel == parallel)
        ]

    async def ask(
        self,
        applied: Sequence[ExternalCheck],
        stage: Stage,
        segments: Iterable[RequestSegment],
        *,
        may_mask: bool = True,
    ) -> list[Judged]:
        """Ask external checks about texts. What they say is reported by whoever acts on it."""
        question = CheckQuestion(
            stage=stage,
            request_id=self._request_id,
            tenant=self._caller.tenant_slug,
            key=self._caller.key_public_id,
            alias=self._alias,
            segments=tuple(segments),
        )
        judged = await judge_all(self._checks, applied, question, may_mask=may_mask)
        for each in judged:
            if each.finding is not None:
                self._measured[id(each.finding)] = each
        return judged

    def output_judge(self) -> ExternalOutputJudge | None:
        """Return who asks the external checks of the answer; None if there is none."""
        applied = self.external("output")
        return ExternalOutputJudge(self, applied) if applied else None


class ExternalOutputJudge:
    """Asks the external checks of one call about its answer. Where one of them must see it whole, all do."""

    def __init__(self, guardrails: CallGuardrails, applied: Sequence[ExternalCheck]) -> None:
        self._guardrails = guardrails
        self._applied = applied
        self.holds_all = any(
            each.spec.config.get("output", "windows" if each.spec.kind == "moderation" else "whole")
            == "whole"
            for each in applied
        )

    async def judge(self, segments: tuple[OutputSegment, ...], *, is_last: bool) -> OutputVerdict:
        """Return the verdict on what is held back."""
        asked = [RequestSegment(each.surface, "assistant", "", each.text) for each in segments]
        judged = await self._guardrails.ask(self._applied, "output", asked)
        findings = tuple(each.finding for each in judged if each.finding is not None)
        spans = merged_spans(judged)
        if not spans:
            return OutputVerdict(findings)
        texts = (
            _masked(each, spans[number]) if number in spans else each.text
            for number, each in enumerate(segments)
        )
        return OutputVerdict(findings, tuple(texts))


def _masked(segment: OutputSegment, spans: tuple[MaskSpan, ...]) -> str:
    """Return a text as it may go on: what was let go before stays, whatever is said of it now."""
    kept = [
        structs.replace(span, start=max(span.start, segment.seen))
        for span in spans
        if span.end > segment.seen
    ]
    return apply_spans(segment.text, tuple(kept))


def _place(outcome: str) -> int:
    return [*STRONGEST].index(outcome)  # type: ignore[arg-type]  # one of them
