"""Put the values of masks back into a text that comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from responses_api.guardrails.hits import Hit
from responses_api.guardrails.masks import Masks
from responses_api.guardrails.shifts import Shift


class UnmaskingWindow:
    """One text on its way; what may be the beginning of a mask is held."""

    __slots__ = ("_masks", "_text", "edits", "released")
    dropped: Sequence[Shift] = ()

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._text = ""
        self.released = 0
        self.edits: list[Shift] = []

    def feed(self, piece: str, *, is_last: bool = False) -> tuple[str, list[Hit]]:
        """Take a piece; return what can be let go. Nothing is found."""
        text, masks = self._text + piece, self._masks
        cut = len(text) - (0 if is_last else masks.tail(text))
        ready, self._text = text[:cut], text[cut:]
        for start, end, length in masks.places(ready):
            before = self.edits[-1] if self.edits else None
            self.edits.append(Shift(self.released + start, self.released + end, length, before))
        self.released += cut
        return masks.unmask(ready), []
