"""Find all matches of the rules of a call in a text, or in the part of a text that has come so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

from responses_api.guardrails import folding
from responses_api.guardrails.expression import Expression, ExpressionSet, encode
from responses_api.guardrails.rule import Rule
from responses_api.guardrails.shape import ASCII, Alphabet
from responses_api.guardrails.spec import GuardrailSpec
from responses_api.guardrails.terms import Terms


class Bound(Struct, frozen=True):
    """A rule as a guardrail of the call uses it. `order` tells which is taken first of two alike."""

    guardrail: GuardrailSpec
    rule: Rule
    order: int


class BoundTerms(Struct, frozen=True):
    """A list of terms as a guardrail of the call uses it."""

    guardrail: GuardrailSpec
    terms: Terms
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


class Scanner:
    """The rules of a call, compiled. Shared by calls: what differs between two is theirs to keep."""

    def __init__(self, rules: Sequence[Bound], terms: Sequence[BoundTerms]) -> None:
        self._rules = tuple(rules)
        self._terms = tuple(terms)
        self._alone = [Expression(bound.rule.pattern) for bound in self._rules]
        self._together = ExpressionSet(bound.rule.pattern for bound in self._rules)
        waits = _waits(self._rules)
        self._all_waits = (1 << len(waits)) - 1
        self._waits_for = {char: _in(waits, char) for char in (*ASCII, "\x80")}
        self._ends_at: dict[int, int] = {}
        for bit, (width, _) in enumerate(waits):
            self._ends_at[width] = self._ends_at.get(width, 0) | 1 << bit

    def __bool__(self) -> bool:
        return bool(self._rules or self._terms)

    @property
    def is_anchored(self) -> bool:
        """Tell whether an expression asks where a text begins or ends."""
        return any(bound.rule.shape.is_anchored for bound in self._rules)

    @property
    def changes(self) -> bool:
        """Tell whether anything that is found changes a text, or ends it."""
        guardrails = [bound.guardrail for bound in self._rules]
        guardrails += [bound.guardrail for bound in self._terms]
        return any(guardrail.action != "monitor" for guardrail in guardrails)

    def may_find(self, text: str) -> bool:
        """Tell quickly whether anything may be found in a text."""
        if self._rules and self._together.matching(encode(text)):
            return True
        folded = folding.fold(text) if self._terms else ""
        return any(bound.terms.stands_in(folded) for bound in self._terms)

    def tail(self, text: str, start: int, folded_before: str) -> int:
        """Return how many characters at the end may belong to a match that is not certain yet."""
        held = self._run(text, start) if self._rules else 0
        if self._terms:
            folded = folded_before + folding.fold(text[start:])
            longest = max(bound.terms.tail(folded, len(folded_before)) for bound in self._terms)
            if longest > held:
                if len(folded) - len(folded_before) == len(text) - start:
                    return longest
                at = folding.offsets(text[start:])[-longest - 1]
                held = max(held, len(text) - start - at)
        return held

    def _run(self, text: str, start: int) -> int:
        """Return the length of the longest run of characters at the end that one expression could be made
        of; what is longer than its longest match, and the character behind that, is certain."""
        alive, held, length = self._all_waits, 0, 0
        for at in range(len(text) - 1, start - 1, -1):
            char = text[at]
            mask = self._waits_for.get(char if char < "\x80" else "\x80", 0)
            if alive & ~mask:
                held, alive = length, alive & mask
            if not alive:
                return held
            length += 1
            if ended := self._ends_at.get(length, 0) & alive:
                held, alive = length, alive & ~ended
        return length if alive else held

    def hits(
        self, text: str, start: int, cut: int, folded_before: str, resume: dict[int, int]
    ) -> list[Hit]:
        """Return the matches that begin from `start` to before `cut`, in the order in which they are taken.
        `resume` tells, and is told, from where on a rule looks: matches of one rule do not overlap."""
        found: list[Hit] = []
        if self._rules:
            encoded = encode(text)
            for index in self._together.matching(encoded):
                self._hits_of(index, text, encoded, start, cut, resume, found)
        for bound in self._terms:
            self._term_hits(bound, text, start, cut, folded_before, found)
        found.sort(key=_order)
        return found

    def _hits_of(
        self,
        index: int,
        text: str,
        encoded: bytes,
        start: int,
        cut: int,
        resume: dict[int, int],
        found: list[Hit],
    ) -> None:
        bound, find = self._rules[index], self._alone[index].find
        rule, order = bound.rule, bound.order
        char = max(start, resume.get(index, 0))
        if char >= cut:
            return
        is_ascii = len(encoded) == len(text)
        byte = char if is_ascii else len(encode(text[:char]))
        while True:
            first, last = find(encoded, byte)
            if first < 0:
                return
            char = first if is_ascii else char + len(encoded[byte:first].decode())
            if char >= cut:
                return
            piece = encoded[first:last].decode()
            if rule.accepts is None or rule.accepts(piece):
                length = len(piece)
                made = (bound.guardrail, rule.name, rule.label, rule.continues, piece)
                found.append(Hit(char, -length, order, *made))
                byte, char = last, char + length
            else:  # what it took for one may hide another
                byte, char = first + len(piece[0].encode()), char + 1
            resume[index] = char

    def _term_hits(
        self,
        bound: BoundTerms,
        text: str,
        start: int,
        cut: int,
        folded_before: str,
        found: list[Hit],
    ) -> None:
        piece = text[start:]
        folded = folded_before + folding.fold(piece)
        before = len(folded_before)
        places: list[int] | None = None
        for first, last in bound.terms.spans(folded, before, len(folded)):
            if places is None:
                places = folding.offsets(piece)
            begin = start + places[first - before]
            if begin >= cut:
                return
            end = start + places[last - before - 1] + 1
            made = (bound.guardrail, "term", bound.label, None, text[begin:end])
            found.append(Hit(begin, begin - end, bound.order, *made))


def _order(hit: Hit) -> tuple[int, int, int]:
    return hit[:3]


def _in(waits: tuple[tuple[int, Alphabet], ...], char: str) -> int:
    """Return the alphabets a character is in, as bits."""
    return sum(1 << bit for bit, (_, alphabet) in enumerate(waits) if char in alphabet)


def _waits(rules: Sequence[Bound]) -> tuple[tuple[int, Alphabet], ...]:
    """Return for each alphabet how many characters of it may be uncertain at most."""
    widest: dict[Alphabet, int] = {}
    for bound in rules:
        width, alphabet = bound.rule.shape.width + 1, bound.rule.shape.alphabet
        widest[alphabet] = max(widest.get(alphabet, 0), width)
    return tuple((width, alphabet) for alphabet, width in widest.items())
