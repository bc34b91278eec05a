"""Fold texts so that words are found however they are written: without regard to case, to the form of a
character (NFKC), or to characters that cannot be seen.

Every character is folded by itself, whatever stands beside it, so that a text may come in pieces. Therefore
characters are taken apart (é becomes e and its accent) rather than put together; terms are folded alike.
"""

from __future__ import annotations

import unicodedata

_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
_MAX_KNOWN = 20_000


def _fold_char(char: str) -> str:
    if char in _INVISIBLE or unicodedata.category(char) == "Cf" or _selects_variation(char):
        return ""
    plain = unicodedata.normalize("NFKD", char).casefold()
    return unicodedata.normalize("NFKD", plain)


def _selects_variation(char: str) -> bool:
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


class _Folds(dict[str, str]):
    """Remember how characters are folded, but not all of Unicode."""

    def __missing__(self, char: str) -> str:
        if len(self) >= _MAX_KNOWN:
            self.clear()
        folded = self[char] = _fold_char(char)
        return folded


_FOLDS = _Folds()


def fold(text: str) -> str:
    """Return the folded text."""
    return text.lower() if text.isascii() else "".join(map(_FOLDS.__getitem__, text))


def offsets(text: str) -> list[int]:
    """Return for each character of the folded text, and for its end, where in `text` it comes from."""
    if text.isascii():
        return list(range(len(text) + 1))
    found: list[int] = []
    for position, char in enumerate(text):
        found += [position] * len(_FOLDS[char])
    found.append(len(text))
    return found
