"""Sum up matches as findings, which are recorded."""

from __future__ import annotations

from collections.abc import Iterable

from gateway_project.lib.secret import Secret
from responses_api.guardrails.hits import Hit
from responses_api.guardrails.spec import Action, GuardrailFinding, Outcome, Stage

OUTCOMES: dict[Action, Outcome] = {"block": "blocked", "mask": "masked", "monitor": "monitored"}


def findings_of(
    hits: Iterable[Hit], stage: Stage, surface: str, param: str = ""
) -> list[GuardrailFinding]:
    """Sum up the matches in one text by rule."""
    by_rule: dict[tuple[int, str], list[Hit]] = {}
    for hit in hits:
        by_rule.setdefault((id(hit.guardrail), hit.rule), []).append(hit)
    return [
        GuardrailFinding(
            guardrail=first.guardrail,
            rule=first.rule,
            stage=stage,
            surface=surface,
            outcome=OUTCOMES[first.guardrail.action],
            count=len(alike),
            start=first.start,
            length=first.end - first.start,
            value=Secret(first.value),
            param=param,
        )
        for alike in by_rule.values()
        for first in alike[:1]
    ]
