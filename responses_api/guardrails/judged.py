"""Hold what external checks have not seen, and let it go by their verdict."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from msgspec import structs

from responses_api.guardrails.held_calls import MAX_HELD_BYTES
from responses_api.guardrails.spec import OutputJudge, OutputSegment, OutputVerdict
from responses_api.guardrails.text_blocks import Words, name_of, surface_of
from responses_api.stream.written import text_bytes
from routing.protocols.shared.deltas import (
    Delta,
    Opaque,
    Reasoning,
    Refusal,
    Stop,
    Text,
    ToolCall,
)

WINDOW = 1_000
OVERLAP = 200
_WORDS = (Text, Refusal, Reasoning)


class JudgedStage:
    """Deltas that wait for a verdict; one is asked for at a time.

    What is let go of a text goes along once more with its next window, so that nothing hides on an edge.
    """

    __slots__ = ("_held", "_judge", "_rewritten", "_seen", "_seen_of", "_size", "is_waiting")

    def __init__(self, judge: OutputJudge) -> None:
        self._judge = judge
        self._held: list[Delta] = []
        self._size = 0
        self._seen = ""
        self._seen_of: Hashable = None
        self._rewritten: set[Hashable] = set()  # keys of thoughts that were written anew
        self.is_waiting = False

    def take(self, deltas: list[Delta]) -> None:
        """Hold deltas."""
        for delta in deltas:
            self._held.append(delta)
            self._size += text_bytes(_text_of(delta))
            if isinstance(delta, Stop):
                self.is_waiting = True
        most = MAX_HELD_BYTES if self._judge.holds_all else WINDOW
        if self._size >= most:
            self.is_waiting = True

    async def verdict(self) -> tuple[OutputVerdict, list[Delta]]:
        """Ask, and return the verdict with what may go on by it."""
        held, self._held, self._size = self._held, [], 0
        self.is_waiting = False
        groups = _groups(held)
        is_last = any(isinstance(delta, Stop) for delta in held)
        segments = tuple(self._segment(group) for group in groups)
        if not segments:
            return OutputVerdict(), [one for one in held if not self._tells_the_old(one)]
        verdict = await self._judge.judge(segments, is_last=is_last)
        if verdict.blocks:
            return verdict, []
        self._remember(groups, segments)
        if verdict.texts is not None:
            self._note_rewritten(held, groups, segments, verdict.texts)
            held = _rewritten(held, groups, segments, verdict.texts)
        return verdict, [delta for delta in held if not self._tells_the_old(delta)]

    def _note_rewritten(
        self,
        held: list[Delta],
        groups: list[_Group],
        segments: tuple[OutputSegment, ...],
        texts: tuple[str, ...],
    ) -> None:
        for group, segment, text in zip(groups, segments, texts, strict=True):
            delta = held[group.positions[0]]
            if text != segment.text and isinstance(delta, Reasoning):
                self._rewritten.add(delta.key)

    def _tells_the_old(self, delta: Delta) -> bool:
        """Tell whether a thought that was written anew is sealed here as it was, for its maker."""
        if not isinstance(delta, Reasoning) or delta.sealed is None:
            return False
        return delta.key in self._rewritten

    def _segment(self, group: _Group) -> OutputSegment:
        seen = self._seen if group.name == self._seen_of else ""
        return OutputSegment(group.surface, seen + group.text, len(seen))

    def _remember(self, groups: list[_Group], segments: tuple[OutputSegment, ...]) -> None:
        self._seen_of, self._seen = groups[-1].name, segments[-1].text[-OVERLAP:]


class _Group:
    """The deltas of one text that are held."""

    __slots__ = ("name", "positions", "surface", "text")

    def __init__(self, name: Hashable, surface: str) -> None:
        self.name = name
        self.surface = surface
        self.positions: list[int] = []
        self.text = ""


def _groups(held: list[Delta]) -> list[_Group]:
    groups: list[_Group] = []
    pieces: dict[int, list[str]] = {}
    for position, delta in enumerate(held):
        text = _text_of(delta)
        if not text:
            continue
        name, surface = _named(delta)
        if not groups or groups[-1].name != name:
            groups.append(_Group(name, surface))
        groups[-1].positions.append(position)
        pieces.setdefault(len(groups) - 1, []).append(text)
    for index, group in enumerate(groups):
        group.text = "".join(pieces[index])
    return groups


def _named(delta: Delta) -> tuple[Hashable, str]:
    if isinstance(delta, _WORDS):
        return name_of(delta), surface_of(delta)
    assert isinstance(delta, ToolCall | Opaque)
    surface = "tool_call" if isinstance(delta, ToolCall) else "item"
    return (type(delta), delta.key), surface


def _text_of(delta: Delta) -> str:
    if isinstance(delta, _WORDS):
        return delta.text
    if isinstance(delta, ToolCall):
        return delta.arguments
    return _words_in(delta.item) if isinstance(delta, Opaque) else ""


def _words_in(value: object) -> str:
    """Join the texts of an item of which nothing else is known."""
    if isinstance(value, str):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return "\n".join(filter(None, map(_words_in, inner)))


def _rewritten(
    held: list[Delta],
    groups: list[_Group],
    segments: tuple[OutputSegment, ...],
    texts: tuple[str, ...],
) -> list[Delta]:
    """Put other texts into deltas: the first of each text takes all of it. Annotations of a text that is
    another now are dropped, and so is an item that cannot be written anew."""
    made: list[Delta | None] = list(held)
    for group, segment, text in zip(groups, segments, texts, strict=True):
        if text == segment.text:
            continue
        first, *others = group.positions
        made[first] = _with_text(held[first], text[segment.seen :])
        for position in others:
            made[position] = _with_text(held[position], "")
    return [delta for delta in made if delta is not None]


def _with_text(delta: Delta, text: str) -> Delta | None:
    change: Callable[..., Delta] = structs.replace
    if isinstance(delta, Text):
        return change(delta, text=text, annotations=(), logprobs=())
    if isinstance(delta, Words):
        return change(delta, text=text)
    return change(delta, arguments=text) if isinstance(delta, ToolCall) else None
