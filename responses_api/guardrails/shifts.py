"""Move annotations along with a text in which places were replaced."""

from __future__ import annotations

from collections.abc import Sequence

from gateway_project.lib.json import Json


class Shift:
    """A replaced place of a text, in code points, and the length of what is there now. `end` may still
    grow."""

    __slots__ = ("end", "length", "start")

    def __init__(self, start: int, end: int, length: int) -> None:
        self.start = start
        self.end = end
        self.length = length


def end_of(annotation: Json) -> int:
    """Return where what an annotation is about ends; 0 if it does not say."""
    end = annotation.get("end_index")
    return end if end.__class__ is int else 0


def move(annotation: Json, shifts: Sequence[Shift]) -> Json | None:
    """Return an annotation as it fits the changed text; None if what it is about was replaced."""
    start, end = annotation.get("start_index"), annotation.get("end_index")
    if not shifts or start.__class__ is not int or end.__class__ is not int:
        return annotation
    if any(shift.start < end and start < shift.end for shift in shifts):
        return None
    by = sum(shift.length - (shift.end - shift.start) for shift in shifts if shift.end <= start)
    return {**annotation, "start_index": start + by, "end_index": end + by}
