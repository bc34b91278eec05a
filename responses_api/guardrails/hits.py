"""Say where in a text something was found, and by which rule of which guardrail."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from responses_api.guardrails.rule import Rule
from responses_api.guardrails.shape import Alphabet
from responses_api.guardrails.spec import GuardrailSpec
from responses_api.guardrails.terms import TermList


class BoundRule(Struct, frozen=True):
    """A rule as a guardrail of the call uses it. `order` tells which is taken first of two alike."""

    guardrail: GuardrailSpec
    rule: Rule
    order: int


class BoundTerms(Struct, frozen=True):
    """A list of terms as a guardrail of the call uses it."""

    guardrail: GuardrailSpec
    terms: TermList
    order: int
    label: str


class Hit(NamedTuple):
    """A match in a text, in code points. Hits sort as they are taken: by place, the longest first."""

    start: int
    back: int  # minus the length
    order: int
    guardrail: GuardrailSpec
    rule: str
    label: str
    continues: Alphabet | None
    value: str

    @property
    def end(self) -> int:
        return self.start - self.back
