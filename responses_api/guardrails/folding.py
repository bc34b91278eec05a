"""Fold texts so that things are found however they are written.

Words are found without regard to case, to the form of a character (NFKC), or to characters that cannot be
seen (`fold`). Expressions mind case; for them only what cannot be seen goes, and other forms of ASCII's
characters become these: full width, spaces that do not break, dashes, digits of other scripts (`plain`).

Every character is folded by itself, whatever stands beside it, so that a text may come in pieces. Therefore
characters are taken apart (é becomes e and its accent) rather than put together; terms are folded alike.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
_MAX_KNOWN = 20_000


def _is_invisible(char: str) -> bool:
    return char in _INVISIBLE or unicodedata.category(char) == "Cf" or _selects_variation(char)


def _fold_char(char: str) -> str:
    if _is_invisible(char):
        return ""
    plain = unicodedata.normalize("NFKD", char).casefold()
    return unicodedata.normalize("NFKD", plain)


def _plain_char(char: str) -> str:
    if _is_invisible(char):
        return ""
    if char in _DASHES:
        return "-"
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    plain = unicodedata.normalize("NFKD", char)
    return plain if plain.isascii() else char


def _selects_variation(char: str) -> bool:
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


class _Folds(dict[str, str]):
    """Remember how characters are folded, but not all of Unicode."""

    def __init__(self, fold_char: Callable[[str], str]) -> None:
        super().__init__()
        self._fold_char = fold_char

    def __missing__(self, char: str) -> str:
        if len(self) >= _MAX_KNOWN:
            self.clear()
        folded = self[char] = self._fold_char(char)
        return folded


_FOLDS = _Folds(_fold_char)
_PLAIN = _Folds(_plain_char)
_UNCHANGED = set(map(chr, range(128)))  # characters known to be their plain form


def fold(text: str) -> str:
    """Return the folded text."""
    return text.lower() if text.isascii() else "".join(map(_FOLDS.__getitem__, text))


def offsets(text: str) -> list[int]:
    """Return for each character of the folded text, and for its end, where in `text` it comes from."""
    return _offsets(text, _FOLDS)


def plain(text: str) -> str:
    """Return the plain form of a text."""
    return text if text.isascii() else "".join(map(_PLAIN.__getitem__, text))


def plain_offsets(text: str) -> list[int]:
    """Return for each character of the plain form, and for its end, where in `text` it comes from."""
    return _offsets(text, _PLAIN)


def is_plain(text: str) -> bool:
    """Tell whether a text is its plain form."""
    if text.isascii() or _UNCHANGED.issuperset(text):
        return True
    unchanged = {char for char in text if _PLAIN[char] == char}
    if len(_UNCHANGED) < _MAX_KNOWN:
        _UNCHANGED.update(unchanged)
    return unchanged.issuperset(text)


def _offsets(text: str, folds: _Folds) -> list[int]:
    if text.isascii():
        return list(range(len(text) + 1))
    found: list[int] = []
    for position, char in enumerate(text):
        found += [position] * len(folds[char])
    found.append(len(text))
    return found
