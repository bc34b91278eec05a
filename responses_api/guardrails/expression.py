"""Match expressions with RE2, whose time is linear in the text whatever the expression is.

The wrapper around it converts the offsets of a whole text at every search; here texts are bytes of UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable

import re2

_UNANCHORED = re2._Anchor.UNANCHORED
_SET_MEMORY = 32 << 20
# No text has it by chance: a set that does not find it has not looked.
_CANARY = "\x00canary\x00"


class InvalidExpression(ValueError):
    """The expression cannot be used; the message says why."""


class TooComplex(ValueError):
    """The expressions of a call need more memory than one call may take."""


class Expression:
    """A compiled expression."""

    __slots__ = ("_compiled",)

    def __init__(self, pattern: str, memory: int = 8 << 20) -> None:
        """Raise InvalidExpression."""
        try:
            self._compiled = re2.compile(pattern, _options(memory))._regexp
        except re2.error as error:
            raise InvalidExpression(f"RE2 does not take it: {_words_of(error)}") from None

    def find(self, encoded: bytes, start: int = 0) -> tuple[int, int]:
        """Return where the first match from a place on begins and ends; (-1, -1) if there is none. What
        stands before the place is looked at by `\\b` and the like."""
        found = self._compiled.Match(_UNANCHORED, encoded, start, len(encoded))
        first, last = found[0]
        return int(first), int(last)


class ExpressionSet:
    """Many expressions at once: which of them match, but not where."""

    __slots__ = ("_compiled",)

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raise TooComplex where RE2 has no memory for all of them."""
        self._compiled = re2.Set.SearchSet(_options(_SET_MEMORY))
        for pattern in (*patterns, re2.escape(_CANARY)):
            self._compiled.Add(pattern)
        self._compiled.Compile()
        if not self._compiled.Match(_CANARY):
            raise TooComplex(
                "the expressions of the guardrails of one call are too complex together"
            )

    def matching(self, encoded: bytes) -> list[int]:
        """Return the positions of the expressions that match anywhere in a text."""
        return self._compiled.Match(encoded) or []


def encode(text: str) -> bytes:
    """Encode a text; half of a pair of surrogates becomes one other character."""
    return text.encode("utf-8", "replace")


def escape(text: str) -> str:
    """Return an expression for a text."""
    return str(re2.escape(text))


def _options(memory: int) -> re2.Options:
    made = re2.Options()
    made.log_errors = False
    made.never_capture = True
    made.max_mem = memory
    return made


def _words_of(error: Exception) -> str:
    given = error.args[0] if error.args else ""
    return given.decode(errors="replace") if isinstance(given, bytes) else str(given)
