"""Compile the guardrails of a call, check its request, and make the filter of its answer.

Whoever admits a call reads its request (`Door.contents`), asks `check_request`, and writes the texts of the
verdict back (`surfaces.write`). What goes upstream is filtered by a filter of `output_filter`, which
`doors/plan.py` puts into the stream. External checks are asked by others: of the request after this, of
the answer by the OutputJudge they give.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from responses_api.guardrails import request_checks
from responses_api.guardrails.clean_texts import CleanTexts
from responses_api.guardrails.findings import findings_of
from responses_api.guardrails.hits import Hit
from responses_api.guardrails.masks import Masks
from responses_api.guardrails.output import OutputGuard
from responses_api.guardrails.rule_sets import build_scanner
from responses_api.guardrails.scanner import Scanner
from responses_api.guardrails.spec import (
    ENDING,
    EXTERNAL,
    STRONGEST,
    Detection,
    GuardrailFinding,
    GuardrailSpec,
    Outcome,
    OutputJudge,
    Reporter,
    RequestContents,
    RequestSegment,
    Stage,
)
from responses_api.guardrails.window import Edit, HoldBackWindow

_DEFINITION = "tool_definition"


class RequestVerdict(Struct, frozen=True):
    """The word of local guardrails on a request.

    texts     its segments as they are sent on, in their order
    kept      the same as they are stored: masks that are to be put back are not in them, because every turn
              masks what it continues from anew
    masks     what was replaced and is to be put back into the answer
    """

    findings: tuple[GuardrailFinding, ...]
    texts: tuple[str, ...]
    kept: tuple[str, ...]
    masks: Masks

    @property
    def outcome(self) -> Outcome:
        return strongest(finding.outcome for finding in self.findings)

    @property
    def refusal(self) -> GuardrailFinding | None:
        """Return the finding that refuses the request, if one does."""
        return next((one for one in self.findings if one.outcome in ENDING), None)

    def is_changed(self, contents: RequestContents) -> bool:
        return self.texts != tuple(segment.text for segment in contents.segments)


def strongest(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the strongest of several outcomes; `passed` if there are none."""
    return min(outcomes, key=STRONGEST.index, default="passed")


def compile_guardrails(specs: Iterable[GuardrailSpec]) -> Engine:
    """Compile guardrails, whose configurations were validated. What is returned belongs to no call and may
    be kept as long as their revisions stay. Raise TooComplex."""
    return Engine(tuple(specs))


class Engine:
    """The guardrails of a (tenant, alias, key), compiled."""

    def __init__(self, specs: tuple[GuardrailSpec, ...]) -> None:
        self.specs = specs
        self.revision = tuple(sorted((spec.id, spec.revision) for spec in specs))
        self._input = build_scanner(_at(specs, "input"))
        self._output = build_scanner(_at(specs, "output"))
        self._definitions = build_scanner(_at(specs, "tools"))
        self._clean: dict[Stage, CleanTexts] = {"input": CleanTexts(), "tools": CleanTexts()}
        self._tools = tuple(spec for spec in specs if spec.kind == "tools")
        self._limits = tuple(spec for spec in _at(specs, "input") if spec.kind == "input_limits")

    # What applies

    @property
    def reads_request(self) -> bool:
        """Tell whether any guardrail looks at requests."""
        return any({"input", "tools"} & spec.stages for spec in self.specs)

    @property
    def reads_output(self) -> bool:
        """Tell whether any guardrail looks at answers, so that they cannot be relayed. Masks of the input
        that are put back change answers, too (`RequestVerdict.masks`)."""
        return any("output" in spec.stages for spec in self.specs)

    def external(self, stage: Stage) -> tuple[GuardrailSpec, ...]:
        """Return the guardrails of a stage that ask somebody else."""
        return tuple(spec for spec in _at(self.specs, stage) if spec.kind in EXTERNAL)

    # Requests

    def check_request(self, contents: RequestContents, tokens: int = 0) -> RequestVerdict:
        """Check a request; `tokens` is an estimate of its input. A large one takes its time: 10 ms a
        megabyte of harmless text, and more where much is found."""
        findings = [*self._check_parts(contents, tokens)]
        segments = contents.segments
        masks = Masks(segment.text for segment in segments) if self._is_reversible else Masks()
        if not self._may_find(segments):
            texts = tuple(segment.text for segment in segments)
            return RequestVerdict(tuple(findings), texts, texts, masks)
        checked = [self._check_segment(segment, masks, findings) for segment in segments]
        texts = tuple(text for text, _ in checked)
        return RequestVerdict(tuple(findings), texts, tuple(kept for _, kept in checked), masks)

    def _check_parts(self, contents: RequestContents, tokens: int) -> Iterator[GuardrailFinding]:
        for spec in _at(self.specs, "input"):
            yield from request_checks.check_opaque(spec, contents)
        for spec in self._limits:
            yield from request_checks.check_limits(spec, contents, tokens)
        for spec in self._tools:
            if "tools" in spec.stages or "input" in spec.stages:
                yield from request_checks.check_tools(spec, contents)

    @property
    def _is_reversible(self) -> bool:
        return any(spec.reversible and spec.action == "mask" for spec in self.specs)

    def _may_find(self, segments: Sequence[RequestSegment]) -> bool:
        """Tell quickly whether anything may be found in any of the texts. Almost always they are one to look
        at: what divides them cannot be part of a word, or hide one. Of a conversation that goes on only what
        is new is looked at; another rule makes another engine, which looks at everything."""
        stages: tuple[tuple[Stage, bool], ...] = (("input", False), ("tools", True))
        for stage, is_definition in stages:
            scanner = self._scanner(stage)
            if not scanner:
                continue
            texts = [one.text for one in segments if (one.surface == _DEFINITION) is is_definition]
            if scanner.is_anchored:
                return True
            unknown, digests = self._clean[stage].without(texts)
            if unknown and scanner.may_find("\x00".join(unknown)):
                return True
            self._clean[stage].add(digests)
        return False

    def _check_segment(
        self, segment: RequestSegment, masks: Masks, findings: list[GuardrailFinding]
    ) -> tuple[str, str]:
        """Return a text as it is sent on and as it is stored, and add what was found in it."""
        text = segment.text
        stage: Stage = "tools" if segment.surface == _DEFINITION else "input"
        scanner = self._scanner(stage)
        unknown, digests = self._clean[stage].without([text])
        if not (unknown and scanner.may_find(text)):
            self._clean[stage].add(digests)
            return text, text
        window = HoldBackWindow(scanner, _is_masked)
        sent, hits = window.feed(text, is_last=True)
        if not hits:
            return text, text
        findings += findings_of(hits, stage, segment.surface, segment.param)
        if not any(edit.hit.guardrail.reversible for edit in window.edits):
            return sent, sent
        again = HoldBackWindow(scanner, _is_masked_for_good)
        kept, _ = again.feed(text, is_last=True)
        return _with_numbers(text, window.edits, masks), kept

    # Answers

    def output_guard(
        self, masks: Masks, report: Reporter, judge: OutputJudge | None = None
    ) -> OutputGuard | None:
        """Return what filters the answer of a call, to be put into `ModelCall.guard`; None if nothing can
        change it. `masks` are those of its request, `report` takes what is found, `judge` asks the external
        checks, if there are any."""
        if not (self.reads_output or masks):
            return None
        return OutputGuard(self._output, _at(self.specs, "output"), masks, report, judge)

    def _scanner(self, stage: Stage) -> Scanner:
        return {"input": self._input, "output": self._output, "tools": self._definitions}[stage]

    def detect(self, text: str, stage: Stage, piece: int = 0) -> tuple[str, list[Detection]]:
        """Return a text as a guardrail's test shows it, and what was found, as if it came in pieces of so
        many characters; 0: as a whole."""
        window = HoldBackWindow(self._scanner(stage), _is_masked)
        out: list[str] = []
        found: list[Detection] = []
        step = piece if piece > 0 else max(len(text), 1)
        for at in range(0, len(text), step):
            released, hits = window.feed(text[at : at + step], is_last=at + step >= len(text))
            out.append(released)
            found += map(_detection, hits)
        return "".join(out), found


def _at(specs: Iterable[GuardrailSpec], stage: Stage) -> tuple[GuardrailSpec, ...]:
    return tuple(spec for spec in specs if stage in spec.stages)


def _is_masked(hit: Hit) -> bool:
    return hit.guardrail.action == "mask"


def _is_masked_for_good(hit: Hit) -> bool:
    return hit.guardrail.action == "mask" and not hit.guardrail.reversible


def _with_numbers(text: str, edits: Sequence[Edit], masks: Masks) -> str:
    """Replace places by masks, those with a number that are to be put back."""
    pieces: list[str] = []
    at = 0
    for edit in edits:
        label = edit.hit.label
        is_numbered = edit.hit.guardrail.reversible
        value = text[edit.start : edit.end]
        pieces += text[at : edit.start], masks.mask(label, value) if is_numbered else f"[{label}]"
        at = edit.end
    return "".join((*pieces, text[at:]))


def _detection(hit: Hit) -> Detection:
    replacement = f"[{hit.label}]" if _is_masked(hit) else ""
    return Detection(hit.guardrail.name, hit.rule, hit.start, hit.end, replacement)
