"""Find all matches of the rules of a call in a text, or in the part of a text that has come so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from responses_api.guardrails import folding
from responses_api.guardrails.expression import Expression, ExpressionSet, encode
from responses_api.guardrails.rule import Rule
from responses_api.guardrails.shape import ASCII, Alphabet
from responses_api.guardrails.spec import GuardrailSpec
from responses_api.guardrails.terms import TermList, is_edge


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


# Up to so many characters every place is looked at by itself; that is cheaper than a search.
SHORT = 64


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

    def __init__(self, rules: Sequence[BoundRule], terms: Sequence[BoundTerms]) -> None:
        self._rules = tuple(rules)
        self._terms = tuple(terms)
        self._alone = [Expression(bound.rule.pattern) for bound in self._rules]
        self._together = ExpressionSet(bound.rule.pattern for bound in self._rules)
        self._glance = min((bound.terms.glance for bound in self._terms), default=1)
        self._beginnings = frozenset(
            beginning[: self._glance]
            for bound in self._terms
            for beginning in bound.terms.beginnings
        )
        signs = [bound.rule.shape.sign for bound in self._rules]
        self._signs = frozenset(char for sign in signs for char in sign.ascii)
        self._signs_beyond_ascii = any(sign.others for sign in signs)
        waits = _waits(self._rules)
        self._all_waits = (1 << len(waits)) - 1
        self._waits_for = {char: _in(waits, char) for char in ASCII}
        self._waits_beyond = _in(waits, "\x80")
        self._ends_at: dict[int, int] = {}  # by length, the alphabets that go on beyond it
        for bit, wait in enumerate(waits):
            going_on = self._ends_at.get(wait.width, self._all_waits)
            self._ends_at[wait.width] = going_on & ~(1 << bit)

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
        if self._rules and self._has_sign(text) and self._together.matching(encode(text)):
            return True
        folded = folding.fold(text) if self._terms else ""
        return any(bound.terms.stands_in(folded) for bound in self._terms)

    def scan(
        self,
        text: str,
        start: int,
        folded_before: str,
        resume: dict[int, int],
        *,
        is_last: bool = False,
    ) -> tuple[int, list[Hit]]:
        """Return up to where a text is certain, and the matches that begin from `start` to before that, in
        the order in which they are taken.

        `folded_before` is the folded character before `start`. `resume` tells, and is told, from where on a
        rule looks: matches of one rule do not overlap.
        """
        cut = len(text) if is_last or not self._rules else len(text) - self._run(text, start)
        found: list[Hit] = []
        if self._terms and self._may_begin(text, start):
            looks = [_Look(bound, text, start, folded_before) for bound in self._terms]
            if not is_last:
                cut = min(cut, *[look.certain() for look in looks])
            for look in looks:
                look.add_hits(cut, found)
        if self._rules and self._has_sign(text):
            self._expression_hits(text, start, cut, resume, found)
        if len(found) > 1:
            found.sort(key=_order)
        return cut, found

    def _may_begin(self, text: str, start: int) -> bool:
        """Tell quickly whether a term, or the beginning of one, may stand in a text."""
        if len(text) - start > SHORT or not text.isascii():
            return True
        folded, glance, beginnings = text.lower(), self._glance, self._beginnings
        for at in range(start, len(folded)):
            if folded[at : at + glance] in beginnings and is_edge(folded, at):
                return True
        return False

    def _has_sign(self, text: str) -> bool:
        """Tell quickly whether any expression can match."""
        if not self._signs.isdisjoint(text):
            return True
        return self._signs_beyond_ascii and not text.isascii()

    def _run(self, text: str, start: int) -> int:
        """Return how far from the end the first match may begin that is not certain yet: all that follows its
        beginning is of its alphabet, and it may still go on, or depend on the next character."""
        alive, held = self._all_waits, 0
        waits, beyond, ends = self._waits_for, self._waits_beyond, self._ends_at
        for length, char in enumerate(reversed(text[start:]), 1):
            within, begins = waits.get(char, beyond)
            alive &= within
            if not alive:
                break
            if begins & alive:
                held = length
            if length in ends:
                alive &= ends[length]
        return held

    def _expression_hits(
        self, text: str, start: int, cut: int, resume: dict[int, int], found: list[Hit]
    ) -> None:
        encoded = encode(text)
        for index in self._together.matching(encoded):
            self._hits_of(index, text, encoded, start, cut, resume, found)

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


class _Look:
    """A look for the terms of a guardrail in the part of a text that begins at `start`."""

    __slots__ = ("_before", "_bound", "_folded", "_places", "_start", "_text")

    def __init__(self, bound: BoundTerms, text: str, start: int, folded_before: str) -> None:
        self._bound = bound
        self._text = text
        self._start = start
        self._before = len(folded_before)
        self._folded = folded_before + folding.fold(text[start:])
        self._places: list[int] | None = None  # where terms may stand, if that is known

    def certain(self) -> int:
        """Return up to where the text is certain."""
        terms = self._bound.terms
        if len(self._folded) <= SHORT:
            at, self._places = terms.look(self._folded, self._before)
        else:
            at = terms.tail(self._folded, self._before)
        if at == len(self._folded):
            return len(self._text)
        return self._start + self._offsets()[at - self._before]

    def add_hits(self, cut: int, found: list[Hit]) -> None:
        """Add the terms that begin before `cut`."""
        if self._places == []:
            return
        offsets, start, bound = self._offsets(), self._start, self._bound
        for first, last in self._spans():
            begin = start + offsets[first - self._before]
            if begin >= cut:
                return
            end = start + offsets[last - self._before - 1] + 1
            made = (bound.guardrail, "terms", bound.label, None, self._text[begin:end])
            found.append(Hit(begin, begin - end, bound.order, *made))

    def _spans(self) -> Iterable[tuple[int, int]]:
        terms, folded = self._bound.terms, self._folded
        if self._places is None:
            return terms.spans(folded, self._before)
        return [(at, end) for at in self._places if (end := terms.end(folded, at))]

    def _offsets(self) -> Sequence[int]:
        # Equal lengths prove nothing: one character may have become two, and another none.
        if self._text.isascii():
            return range(len(self._folded) + 1)
        return folding.offsets(self._text[self._start :])


def _order(hit: Hit) -> tuple[int, int, int]:
    return hit[:3]


class _Wait(NamedTuple):
    """The characters of which matches of some rules are made, how they begin, and how wide they can be."""

    width: int
    alphabet: Alphabet
    first: Alphabet


def _in(waits: Sequence[_Wait], char: str) -> tuple[int, int]:
    """Return as bits in which alphabets a character is, and among which beginnings."""
    within = sum(1 << bit for bit, wait in enumerate(waits) if char in wait.alphabet)
    return within, sum(1 << bit for bit, wait in enumerate(waits) if char in wait.first)


def _waits(rules: Sequence[BoundRule]) -> tuple[_Wait, ...]:
    """Return for each alphabet and beginning how many characters may be uncertain at most."""
    widest: dict[tuple[Alphabet, Alphabet], int] = {}
    for bound in rules:
        shape = bound.rule.shape
        key = shape.alphabet, shape.first
        widest[key] = max(widest.get(key, 0), shape.width)
    return tuple(_Wait(width, *key) for key, width in widest.items())
