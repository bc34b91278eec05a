"""Put the guardrails of a call to work: on its input before anything is sent, and on its answer.

local checks      of everything the model is sent, whatever door and transport it came by
external checks   of what is left, masked already; those that run beside the call are begun later
what comes of it  a refusal that names the guardrail, or the call as it is sent
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct, structs

from gateway_project.lib.errors import ContentPolicyViolation, GuardrailUnavailable
from gateway_project.lib.writer import Writer
from responses_api.accounting.call_metrics import CallMetrics
from responses_api.accounting.estimates import estimate
from responses_api.doors.door import Door
from responses_api.doors.shapes import ModelCall
from responses_api.enforcement.call import CallGuardrails
from responses_api.enforcement.external.asking import ExternalChecks
from responses_api.enforcement.external.judging import ExternalCheck, Judged, merged_spans
from responses_api.enforcement.external.protocol import MaskSpan, apply_spans
from responses_api.enforcement.parallel import ParallelChecks
from responses_api.enforcement.policies import GuardrailPolicies
from responses_api.enforcement.recording import EventWriter
from responses_api.guardrails import reading
from responses_api.guardrails.engine import Engine, RequestVerdict
from responses_api.guardrails.masks import Masks
from responses_api.guardrails.spec import GuardrailFinding, RequestContents, RequestSegment, Stage
from routing.upstream.transport import Transport
from tenants.keys.caller import Caller

T = TypeVar("T")
# Checking a longer request would hold the event loop up for milliseconds.
SHORT_BYTES = 64 * 1024
TOOL_DEFINITION = "tool_definition"
STAGES: tuple[Stage, ...] = ("input", "tools")


class Guarded(Struct, frozen=True):
    """A call that may be sent, as it is sent.

    kept        its body as it is stored, if masks that are never put back changed it
    guardrails  take what is found while it runs
    beside      checks of the input that run beside the call, if there are any
    """

    call: ModelCall
    guardrails: CallGuardrails
    kept: dict[str, Any] | None = None
    beside: ParallelChecks | None = None


class Guardrails:
    """The guardrails of one worker. `is_idle`: there are none, so nothing needs to be looked up."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: Transport,
        writer: Writer,
        metrics: CallMetrics,
    ) -> None:
        self.policies = GuardrailPolicies(loop)
        self._checks = ExternalChecks(transport)
        self._events = EventWriter(writer, metrics)

    @property
    def is_idle(self) -> bool:
        return self.policies.is_idle

    def clear(self) -> None:
        """Forget what was read: the configuration has changed."""
        self.policies.clear()
        self._checks.clear()

    async def guard(
        self,
        caller: Caller,
        door: Door,
        call: ModelCall,
        *,
        request_id: str,
        alias: str,
        passed: Mapping[int, int] | None = None,
    ) -> Guarded | None:
        """Check the input of a call; None if no guardrail applies to it. `passed`: external checks, by
        number and revision, that have let this very request through before. Raise ContentPolicyViolation,
        GuardrailUnavailable or Unavailable."""
        policy = await self.policies.policy(caller, call.model)
        if policy.engine is None:
            return None
        guardrails = CallGuardrails(
            policy, self._checks, self._events, request_id=request_id, caller=caller, alias=alias
        )
        return await _guarded(guardrails, door, call, passed or {})


async def _guarded(
    guardrails: CallGuardrails, door: Door, call: ModelCall, passed: Mapping[int, int]
) -> Guarded:
    engine = guardrails.policy.engine
    assert engine is not None
    if not engine.reads_request:
        return Guarded(_with_output_guard(guardrails, call, Masks()), guardrails)
    contents, verdict = await _aside(call, partial(_check_locally, engine, door, call))
    _settle(guardrails, call, verdict.findings)
    texts = verdict.texts
    beside = None
    if guardrails.policy.external:
        # Where no model is asked there is no call that a check could run beside.
        is_alone = not door.generates
        spans = await _ask_before(guardrails, call, contents, texts, passed, all_of_them=is_alone)
        texts = _masked(texts, spans)
        verdict = structs.replace(verdict, texts=texts, kept=_masked_kept(verdict, spans))
        if not is_alone:
            beside = _beside(guardrails, call, contents, texts, passed)
    sent = await _aside(call, partial(_written, door, call, contents, texts))
    kept = await _aside(call, partial(_written, door, call, contents, verdict.kept))
    return Guarded(
        _with_output_guard(guardrails, sent, verdict.masks),
        guardrails,
        None if kept is call else kept.body,
        beside,
    )


def _written(
    door: Door, call: ModelCall, contents: RequestContents, texts: tuple[str, ...]
) -> ModelCall:
    """Return the call with these texts; the very same one if they are its own."""
    if all(
        new is old.text or new == old.text
        for new, old in zip(texts, contents.segments, strict=True)
    ):
        return call
    return structs.replace(call, body=reading.write(door.contents, call.body, texts))


def _with_output_guard(guardrails: CallGuardrails, call: ModelCall, masks: Masks) -> ModelCall:
    """Return the call with the filter of its answer, if anything can change that."""
    engine = guardrails.policy.engine
    assert engine is not None
    guard = engine.output_guard(masks, guardrails.report, guardrails.output_judge())
    return call if guard is None else structs.replace(call, guard=guard)


async def _aside(call: ModelCall, work: Callable[[], T]) -> T:
    """Do some work on a call; on a long one in a thread, so that others are served meanwhile."""
    return work() if call.size <= SHORT_BYTES else await asyncio.to_thread(work)


def _check_locally(
    engine: Engine, door: Door, call: ModelCall
) -> tuple[RequestContents, RequestVerdict]:
    """Read what is to be sent, and check it."""
    contents = reading.read(door.contents, call.body)
    tokens = estimate(call.body, call.size).fair if _counts_tokens(engine) else 0
    return contents, engine.check_request(contents, tokens)


def _counts_tokens(engine: Engine) -> bool:
    return any("max_tokens" in spec.config for spec in engine.specs)


def _settle(
    guardrails: CallGuardrails, call: ModelCall, findings: Iterable[GuardrailFinding]
) -> None:
    """Report what was found. Raise the refusal of the first finding that ends the call."""
    found = list(findings)
    for finding in found:
        guardrails.report(finding)
    for finding in found:
        if finding.outcome == "blocked":
            param = call.client_param(finding.param) if finding.param else None
            raise ContentPolicyViolation(finding.guardrail.name, param=param)
    for finding in found:
        if finding.outcome == "unavailable":
            raise GuardrailUnavailable(finding.guardrail.name)


# External checks

Spans = dict[int, tuple[MaskSpan, ...]]


async def _ask_before(
    guardrails: CallGuardrails,
    call: ModelCall,
    contents: RequestContents,
    texts: tuple[str, ...],
    passed: Mapping[int, int],
    *,
    all_of_them: bool,
) -> Spans:
    """Ask the checks that are asked before the call, or all. Return what they mask, by the number of the
    text."""
    spans: Spans = {}
    for stage in STAGES:
        applied = _not_passed(guardrails.external(stage), passed)
        if all_of_them and stage == "input":
            applied += _not_passed(guardrails.external(stage, parallel=True), passed)
        chosen = _segments_of(contents, texts, stage)
        if applied and chosen:
            judged = await guardrails.ask(applied, stage, [segment for _, segment in chosen])
            _settle(guardrails, call, _findings(judged))
            guardrails.passed |= {
                each.spec.id: each.spec.revision
                for each, said in zip(applied, judged, strict=True)
                if said.finding is None or said.finding.outcome == "monitored"
            }
            found = merged_spans(judged)
            spans |= {number: found[n] for n, (number, _) in enumerate(chosen) if n in found}
    return spans


def _beside(
    guardrails: CallGuardrails,
    call: ModelCall,
    contents: RequestContents,
    texts: tuple[str, ...],
    passed: Mapping[int, int],
) -> ParallelChecks | None:
    """Return the checks that run beside the call; None if there are none."""
    applied = _not_passed(guardrails.external("input", parallel=True), passed)
    segments = [segment for _, segment in _segments_of(contents, texts, "input")]
    if not applied or not segments:
        return None

    async def work() -> None:
        judged = await guardrails.ask(applied, "input", segments, may_mask=False)
        _settle(guardrails, call, _findings(judged))

    return ParallelChecks(work)


def _not_passed(applied: list[ExternalCheck], passed: Mapping[int, int]) -> list[ExternalCheck]:
    """Leave out the checks that have let this very request through before."""
    return [each for each in applied if passed.get(each.spec.id) != each.spec.revision]


def _segments_of(
    contents: RequestContents, texts: tuple[str, ...], stage: Stage
) -> list[tuple[int, RequestSegment]]:
    """Return the texts that a stage looks at, as they would be sent, each with its number."""
    return [
        (number, structs.replace(segment, text=text))
        for number, (segment, text) in enumerate(zip(contents.segments, texts, strict=True))
        if text and (segment.surface == TOOL_DEFINITION) == (stage == "tools")
    ]


def _findings(judged: Iterable[Judged]) -> list[GuardrailFinding]:
    return [each.finding for each in judged if each.finding is not None]


def _masked(texts: tuple[str, ...], spans: Spans) -> tuple[str, ...]:
    if not spans:
        return texts
    return tuple(
        apply_spans(text, spans[number]) if number in spans else text
        for number, text in enumerate(texts)
    )


def _masked_kept(verdict: RequestVerdict, spans: Spans) -> tuple[str, ...]:
    """Return the texts as they are stored. One with masks that are put back is stored without what an
    external check masked, because it masks every turn anew and its places are those of the masked text."""
    pairs = enumerate(zip(verdict.kept, verdict.texts, strict=True))
    return tuple(
        apply_spans(kept, spans[number]) if number in spans and kept == sent else kept
        for number, (kept, sent) in pairs
    )
