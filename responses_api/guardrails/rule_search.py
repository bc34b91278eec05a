"""Find all matches of expressions in a text, or in the part of a text that has come so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from responses_api.guardrails.expression import Expression, ExpressionSet, encode
from responses_api.guardrails.hits import BoundRule, Hit
from responses_api.guardrails.shape import ASCII, Alphabet


class RuleSearch:
    """The expressions of a call, compiled. Shared by calls."""

    def __init__(self, rules: Sequence[BoundRule]) -> None:
        self._rules = tuple(rules)
        self._alone = [Expression(bound.rule.pattern) for bound in self._rules]
        self._together = ExpressionSet(bound.rule.pattern for bound in self._rules)
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

    @property
    def is_anchored(self) -> bool:
        """Tell whether an expression asks where a text begins or ends."""
        return any(bound.rule.shape.is_anchored for bound in self._rules)

    def may_find(self, text: str) -> bool:
        """Tell quickly whether anything may be found in a text."""
        return self._has_sign(text) and bool(self._together.matching(encode(text)))

    def run(self, text: str, start: int) -> int:
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

    def add_hits(
        self, text: str, start: int, cut: int, resume: dict[int, int], found: list[Hit]
    ) -> None:
        """Add the matches that begin from `start` to before `cut`. `resume` tells, and is told, how far
        behind `start` a rule looks on: matches of one rule do not overlap."""
        if not self._has_sign(text):
            return
        encoded = encode(text)
        for index in self._together.matching(encoded):
            self._add_hits_of(index, text, encoded, start, cut, resume, found)

    def _has_sign(self, text: str) -> bool:
        """Tell quickly whether any expression can match."""
        if not self._signs.isdisjoint(text):
            return True
        return self._signs_beyond_ascii and not text.isascii()

    def _add_hits_of(
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
        char = start + resume.get(index, 0)
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
            resume[index] = char - start


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
