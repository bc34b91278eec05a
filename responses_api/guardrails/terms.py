"""Find whole words and phrases of a list, however they are written (folding.py).

Between letters of scripts that put no spaces between words there is no edge of a word to look for.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator

from responses_api.guardrails.expression import Expression, encode, escape
from responses_api.guardrails.folding import fold

MAX_TERMS = 5_000
MAX_TERM = 200
_MEMORY = 64 << 20
# Thai to Tibetan, Burmese, Khmer, kana, ideographs.
_UNSPACED = (
    ("\u0e00", "\u0fff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"), ("\u3040", "\u30ff"),
    ("\u3400", "\u9fff"), ("\uf900", "\ufaff"), ("\U00020000", "\U0003ffff"),
)  # fmt: skip


def _is_word(char: str) -> bool:
    """Tell whether a character of a folded text belongs to the word beside it."""
    if char < "\x80":
        return char.isalnum() or char == "_"
    if any(first <= char <= last for first, last in _UNSPACED):
        return False
    return unicodedata.category(char)[0] in "LNM"


def is_edge(folded: str, at: int) -> bool:
    """Tell whether a word may begin or end here."""
    if at <= 0 or at >= len(folded):
        return True
    return not (_is_word(folded[at - 1]) and _is_word(folded[at]))


class TermList:
    """A list of terms, folded and sorted.

    width        the length of the longest
    glance       how many characters of a term are known at a glance
    beginnings   the beginnings of all terms, up to that length
    """

    def __init__(self, terms: list[str]) -> None:
        self._terms = sorted({folded for term in terms if (folded := fold(term).strip())})
        self.width = max(map(len, self._terms), default=0)
        self.glance = min(3, min(map(len, self._terms), default=1))
        self.beginnings = frozenset(
            term[:length] for term in self._terms for length in range(1, self.glance + 1)
        )
        self._any = Expression("|".join(map(escape, self._terms)), _MEMORY)

    def stands_in(self, folded: str) -> bool:
        """Tell quickly whether a term may stand in a folded text."""
        return self._any.find(encode(folded))[0] >= 0

    def spans(self, folded: str, start: int) -> Iterator[tuple[int, int]]:
        """Give the places in a folded text, from `start` on, at which terms stand: of those that begin at one
        place the longest. They may overlap."""
        encoded, char = encode(folded), start
        byte = len(encode(folded[:start]))
        while (found := self._any.find(encoded, byte)[0]) >= 0:
            char += len(encoded[byte:found].decode())
            if is_edge(folded, char) and (end := self.end(folded, char)):
                yield char, end
            byte, char = found + len(encode(folded[char])), char + 1

    def end(self, folded: str, at: int) -> int:
        """Return the end of the longest term that stands at a place and ends there as a word; or 0."""
        piece = folded[at : at + self.width]
        end = low = 0
        for length in range(1, len(piece) + 1):
            low = bisect_left(self._terms, piece[:length], low)
            if low == len(self._terms) or not self._terms[low].startswith(piece[:length]):
                break
            if len(self._terms[low]) == length and is_edge(folded, at + length):
                end = at + length
        return end

    def look(self, folded: str, start: int) -> tuple[int, list[int]]:
        """Return where at the end the first term may begin whose end, or whose end as a word, is not certain
        yet, and the places before it at which terms may stand. For short texts: every place is looked at."""
        glance, beginnings = self.glance, self.beginnings
        places: list[int] = []
        for at in range(start, len(folded)):
            if folded[at : at + glance] in beginnings and is_edge(folded, at):
                if self._is_open(folded[at:]):
                    return at, places
                places.append(at)
        return len(folded), places

    def tail(self, folded: str, start: int) -> int:
        """Return where the first uncertain term may begin, of a text of any length."""
        return self.look(folded, max(len(folded) - self.width, start))[0]

    def _is_open(self, rest: str) -> bool:
        """Tell whether a term begins with the end of a text."""
        place = bisect_left(self._terms, rest)
        return place < len(self._terms) and self._terms[place].startswith(rest)
