"""Filter the answer of a call: deltas in, deltas out."""

from __future__ import annotations

from msgspec import Struct

from responses_api.guardrails.masks import Masks
from responses_api.guardrails.scanner import Scanner
from responses_api.guardrails.spec import GuardrailSpec, OutputJudge, Reporter


class OutputGuard(Struct, frozen=True):
    """What may change the answer of a call. Each attempt begins a filter of its own with it."""

    scanner: Scanner
    calls: tuple[GuardrailSpec, ...]
    masks: Masks
    report: Reporter
    judge: OutputJudge | None = None
