"""Lead the texts in deltas through windows, one for each text of the answer.

A text is open until a delta of another one comes; then it is let go whole.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from msgspec import structs

from gateway_project.lib.json import Json
from responses_api.guardrails.hits import Hit
from responses_api.guardrails.shifts import Shift, end_of, move, without_dropped
from routing.protocols.shared.deltas import Delta, Reasoning, Refusal, Text, ToolCall

Words = Text | Refusal | Reasoning
_SURFACES: dict[type[Delta], str] = {Text: "text", Refusal: "refusal", Reasoning: "reasoning"}
Report = Callable[[list[Hit], str], None]


class TextWindow(Protocol):
    """One text on its way: what is let go, what was replaced or dropped, and how much of it was let go."""

    @property
    def edits(self) -> Sequence[Shift]: ...

    @property
    def dropped(self) -> Sequence[Shift]: ...

    @property
    def released(self) -> int: ...

    def feed(self, piece: str, *, is_last: bool = False) -> tuple[str, list[Hit]]: ...


def name_of(delta: Words) -> Hashable:
    """Return what tells the texts of an answer apart."""
    if isinstance(delta, Reasoning):
        return (Reasoning, delta.key, delta.kind, delta.part)
    return (type(delta), delta.key, delta.phase if isinstance(delta, Text) else None)


def surface_of(delta: Words) -> str:
    """Name the kind of text."""
    return _SURFACES[type(delta)]


class _OpenText:
    """The text that is open. `last` is the delta whose place what is held will take."""

    __slots__ = ("annotations", "last", "name", "surface", "window")

    def __init__(self, name: Hashable, last: Words | ToolCall, window: TextWindow) -> None:
        self.name = name
        self.last = last
        self.surface = "text" if isinstance(last, ToolCall) else surface_of(last)
        self.window = window
        self.annotations: list[Json] = []


class TextBlocks:
    """The texts of one answer. `report` is told what was found, and in what kind of text."""

    __slots__ = ("_begin", "_block", "_is_passive", "_report")

    def __init__(
        self, begin: Callable[[], TextWindow], report: Report, *, is_passive: bool = False
    ) -> None:
        """`begin` makes the window of a text. Log probabilities spell the text as it was, so they go.
        `is_passive`: nothing is changed, so that nothing is held."""
        self._begin = begin
        self._report = report
        self._is_passive = is_passive
        self._block: _OpenText | None = None

    def take(self, delta: Words) -> list[Delta]:
        """Take a piece of a text."""
        block = self._block
        if block is not None and isinstance(delta, Text) and self._goes_on(block, delta):
            block.last = delta
            out, hits = block.window.feed(delta.text)
            if hits:
                self._report(hits, block.surface)
            return [Text(delta.key, out, (), (), delta.phase)] if out else []
        name = name_of(delta)
        before = self.close() if block is not None and block.name != name else []
        if delta.text or (isinstance(delta, Text) and delta.annotations):
            before += self._take(name, delta)
        elif self._is_passive:
            before.append(delta)
        if isinstance(delta, Reasoning) and delta.sealed is not None and not self._is_passive:
            before += self.close()
            before.append(structs.replace(delta, text=""))
        return before

    def _goes_on(self, block: _OpenText, delta: Text) -> bool:
        """Tell whether a delta is more of the open text and nothing else, as almost every one is."""
        last = block.last
        if not isinstance(last, Text) or self._is_passive:
            return False
        is_same = last.key == delta.key and last.phase == delta.phase
        return is_same and not (delta.annotations or block.annotations)

    def _take(self, name: Hashable, delta: Words) -> list[Delta]:
        block = self._block
        if block is None:
            block = self._block = _OpenText(name, delta, self._begin())
        block.last = delta
        out = self._feed(block, delta.text)
        if self._is_passive:
            return [delta]
        if isinstance(delta, Text) and delta.annotations:
            block.annotations += delta.annotations
        return self._deltas(block, out, delta)

    def take_answer(self, delta: ToolCall) -> list[Delta]:
        """Take a piece of an answer that comes as the arguments of a call."""
        name = (ToolCall, delta.key)
        before = self.close() if self._block is not None and self._block.name != name else []
        block = self._block
        is_first = block is None
        if block is None:
            block = self._block = _OpenText(name, delta, self._begin())
        out = self._feed(block, delta.arguments)
        if self._is_passive:
            before.append(delta)
        elif out or is_first:
            before.append(structs.replace(delta, arguments=out))
        return before

    def close(self) -> list[Delta]:
        """Let go what is held: the open text has ended."""
        block, self._block = self._block, None
        if block is None:
            return []
        out, hits = block.window.feed("", is_last=True)
        if hits:
            self._report(hits, block.surface)
        if self._is_passive:
            return []
        last = block.last
        if isinstance(last, ToolCall):
            return [ToolCall(last.key, out)] if out else []
        return self._deltas(block, out, last, is_last=True)

    def _feed(self, block: _OpenText, text: str) -> str:
        out, hits = block.window.feed(text)
        if hits:
            self._report(hits, block.surface)
        return out

    def _deltas(
        self, block: _OpenText, out: str, delta: Words, *, is_last: bool = False
    ) -> list[Delta]:
        """Put what is let go into a delta like the one that brought it."""
        if isinstance(delta, Text):
            marks = self._annotations(block, is_last=is_last) if block.annotations else ()
            if not (out or marks):
                return []
            return [Text(delta.key, out, marks, (), delta.phase)]
        if isinstance(delta, Reasoning):
            return [Reasoning(delta.key, out, delta.kind, delta.part)] if out else []
        return [Refusal(delta.key, out)] if out else []

    def _annotations(self, block: _OpenText, *, is_last: bool) -> tuple[Json, ...]:
        """Return the annotations of text that was let go, moved along with it."""
        released = block.window.released
        waiting: list[Json] = []
        ready: list[Json] = []
        for annotation in block.annotations:
            left = without_dropped(annotation, block.window.dropped)
            if waiting or (not is_last and end_of(left) > released):
                waiting.append(annotation)
            elif (moved := move(left, block.window.edits)) is not None:
                ready.append(moved)
        block.annotations = waiting
        return tuple(ready)
