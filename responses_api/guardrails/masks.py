"""Number the masks of an input that are to be put back, and put them back into the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MASK = re.compile(r"\[[A-Z][A-Z0-9_]{0,40}_[0-9]{1,6}\]")
# The beginning of a mask, at the end of what has come.
_BEGINNING = re.compile(r"\[[A-Z0-9_]{0,48}\Z")


class Masks:
    """The values of one call that were replaced. Numbered by first appearance in the whole input, so that
    the same beginning gives the same masks in the next turn."""

    __slots__ = ("_by_value", "_next", "_taken", "_values")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """`texts` are the input: a mask that its client wrote there itself stands for nothing."""
        self._taken = {mask for text in texts if "[" in text for mask in _MASK.findall(text)}
        self._by_value: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._next: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._values)

    def mask(self, label: str, value: str) -> str:
        """Return the mask of a value."""
        known = self._by_value.get((label, value))
        if known is not None:
            return known
        number = self._next.get(label, 1)
        while (mask := f"[{label}_{number}]") in self._taken:
            number += 1
        self._next[label] = number + 1
        self._by_value[label, value] = mask
        self._values[mask] = value
        return mask

    def unmask(self, text: str) -> str:
        """Put the values back into a text."""
        if not self._values or "[" not in text:
            return text
        return _MASK.sub(self._value, text)

    def places(self, text: str) -> list[tuple[int, int, int]]:
        """Return where masks stand in a text, and how long their values are."""
        if not self._values or "[" not in text:
            return []
        return [
            (*found.span(), len(self._values[found[0]]))
            for found in _MASK.finditer(text)
            if found[0] in self._values
        ]

    def tail(self, text: str) -> int:
        """Return how many characters at the end may be the beginning of a mask."""
        if not self._values or (at := text.rfind("[")) < 0:
            return 0
        return len(text) - at if _BEGINNING.match(text, at) else 0

    def _value(self, found: re.Match[str]) -> str:
        return self._values.get(found[0], found[0])
