"""Make the rules of guardrails: what each of them looks for in texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from responses_api.guardrails import credentials, pii
from responses_api.guardrails.hits import BoundRule, BoundTerms
from responses_api.guardrails.rule import Rule
from responses_api.guardrails.scanner import Scanner
from responses_api.guardrails.shape import read_shape
from responses_api.guardrails.spec import GuardrailSpec
from responses_api.guardrails.terms import TermList


def build_scanner(specs: Iterable[GuardrailSpec]) -> Scanner:
    """Compile everything that guardrails look for in texts; of two alike the first guardrail's is taken."""
    rules: list[BoundRule] = []
    terms: list[BoundTerms] = []
    for spec in specs:
        order = len(rules) + len(terms)
        if spec.kind == "terms":
            found = TermList(spec.config["terms"])
            terms.append(BoundTerms(spec, found, order, spec.config.get("label", "REDACTED")))
        else:
            rules += [BoundRule(spec, rule, order + n) for n, rule in enumerate(_rules(spec))]
    return Scanner(rules, terms)


def _rules(spec: GuardrailSpec) -> Iterator[Rule]:
    match spec.kind:
        case "pattern":
            for entry in spec.config["patterns"]:
                name, pattern = entry["name"], entry["pattern"]
                yield Rule(name, name.upper(), pattern, read_shape(pattern))
        case "pii":
            yield from _chosen(pii.RULES, spec.config.get("entities"))
        case "secrets":
            yield from _chosen(credentials.RULES, spec.config.get("types"))


def _chosen(rules: dict[str, Rule], names: list[str] | None) -> Iterator[Rule]:
    for name, rule in rules.items():
        if names is None or name in names:
            yield rule
