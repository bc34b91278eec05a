"""Move annotations along with a text in which places were replaced."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from gateway_project.lib.json import Json


class Shift:
    """A replaced place of a text, in code points, and the length of what is there now.

    `end` may still grow while it is the last one; `before` is by how much those before it moved the text.
    """

    __slots__ = ("before", "end", "length", "start")

    def __init__(self, start: int, end: int, length: int, after: Shift | None) -> None:
        self.start = start
        self.end = end
        self.length = length
        self.before = 0 if after is None else after.moves

    @property
    def moves(self) -> int:
        """Return by how much the text behind it has moved."""
        return self.before + self.length - (self.end - self.start)


def end_of(annotation: Json) -> int:
    """Return where what an annotation is about ends; 0 if it does not say."""
    end = annotation.get("end_index")
    return end if end.__class__ is int else 0


def move(annotation: Json, shifts: Sequence[Shift]) -> Json | None:
    """Return an annotation as it fits the changed text; None if what it is about was replaced."""
    start, end = annotation.get("start_index"), annotation.get("end_index")
    if not shifts or start.__class__ is not int or end.__class__ is not int:
        return annotation
    behind = bisect_right(shifts, start, key=_end)  # the first that ends behind where it begins
    if behind < len(shifts) and shifts[behind].start < end:
        return None
    by = shifts[behind - 1].moves if behind else 0
    return {**annotation, "start_index": start + by, "end_index": end + by}


def without_dropped(annotation: Json, dropped: Sequence[Shift]) -> Json:
    """Return an annotation as it fits the text without what was dropped from it."""
    start, end = annotation.get("start_index"), annotation.get("end_index")
    if not dropped or start.__class__ is not int or end.__class__ is not int:
        return annotation
    return {**annotation, "start_index": _left(start, dropped), "end_index": _left(end, dropped)}


def _left(place: int, dropped: Sequence[Shift]) -> int:
    """Return how much is left of the text before a place."""
    behind = bisect_right(dropped, place, key=_end)
    if behind < len(dropped) and dropped[behind].start < place:
        place = dropped[behind].start
    return place + (dropped[behind - 1].moves if behind else 0)


def before_drops(place: int, dropped: Sequence[Shift]) -> int:
    """Return where a character stood that stands at this place of the text without what was dropped."""
    behind = bisect_right(dropped, place, key=_place_left)
    return place - (dropped[behind - 1].moves if behind else 0)


def _place_left(shift: Shift) -> int:
    return shift.start + shift.before


def _end(shift: Shift) -> int:
    return shift.end
