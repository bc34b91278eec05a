"""Replace what rules find in a text that comes in pieces, and hold back no more of it than is uncertain.

1. At the end of what has come, a run of characters may still become part of a match: it is held. How long it
   can be follows from the width and the alphabet of each expression, and from the beginnings of terms.
2. Every match that begins before it is certain. Up to there the text is let go, matches replaced.
3. The last character that was let go is kept, because an expression may look at it (`\\b`).
4. What cannot be seen is no part of a width, so it could be held without end. Where more is held than
   `MOST_HELD`, it goes: it is not let go either. Places that were replaced are counted in the text without
   it, those of matches and of what was dropped in the text as it came.
5. What is held is looked at again once it is a sixteenth longer, if it is long: looking at all of it for each
   character would let a stream keep a worker busy.

However a text is cut into pieces, what is let go is the same; a text as a whole is one piece.
"""

from __future__ import annotations

from collections.abc import Callable

from responses_api.guardrails import folding
from responses_api.guardrails.hits import Hit
from responses_api.guardrails.scanner import Scanner, ScanState
from responses_api.guardrails.shape import Alphabet
from responses_api.guardrails.shifts import Shift, before_drops

MOST_HELD = 4_096
# From so many characters on what is held has to grow by this share before it is looked at again.
MANY_HELD = 256
GROWTH_SHARE = 16


class Edit(Shift):
    """A replaced place, named by the first of the matches that overlap there."""

    __slots__ = ("hit",)

    def __init__(self, hit: Hit, start: int, end: int, after: Shift | None) -> None:
        super().__init__(start, end, len(hit.label) + 2, after)
        self.hit = hit


class HoldBackWindow:
    """One text on its way. `edits` are the places that were replaced, `released` is how much of the text was
    let go, `dropped` where characters of the text as it came were left out."""

    __slots__ = (
        "_continues",
        "_covered",
        "_is_masked",
        "_looked_at",
        "_origin",
        "_scanner",
        "_start",
        "_state",
        "_text",
        "dropped",
        "edits",
    )  # fmt: skip

    def __init__(self, scanner: Scanner, is_masked: Callable[[Hit], bool]) -> None:
        """`is_masked` tells which matches are replaced."""
        self._scanner = scanner
        self._is_masked = is_masked
        self._text = ""  # what is held, behind the character that was let go last
        self._start = 0  # where in it what is held begins
        self._looked_at = 0  # how much of what is held was looked at, and is not certain
        self._origin = 0  # where in the whole text it stands
        self._state = ScanState()
        self._covered = 0  # up to here the text was replaced, in the whole text
        self._continues: Alphabet | None = None
        self.edits: list[Edit] = []
        self.dropped: list[Shift] = []

    @property
    def held(self) -> int:
        """Return how many characters are held."""
        return len(self._text) - self._start

    @property
    def released(self) -> int:
        return self._origin + self._start

    def feed(self, piece: str, *, is_last: bool = False) -> tuple[str, list[Hit]]:
        """Take a piece; return what can be let go, and the matches that are certain now, by their place in
        the whole text as it came."""
        text = self._text = self._text + piece
        start, looked_at = self._start, self._looked_at
        if looked_at > MANY_HELD and not is_last:
            held = len(text) - start
            if held <= MOST_HELD and (held - looked_at) * GROWTH_SHARE < looked_at:
                return "", []
        cut, hits = self._scanner.scan(text, start, self._state, is_last=is_last)
        if cut <= start:
            self._hold(len(text) - start)
            return "", []
        if hits or self._covered > self._origin + start or self._continues is not None:
            out = self._replace(text, start, cut, hits)
        else:
            out = text[start:cut]
        if hits and (self._origin or self.dropped):
            hits = list(map(self._as_it_came, hits))
        self._trim(text, start, cut)
        self._hold(len(text) - cut)
        return out, hits

    def _hold(self, size: int) -> None:
        """Hold what is not certain, which was looked at."""
        if size > MOST_HELD:
            self._drop_unseen()
            size = self.held
        self._looked_at = size

    def _as_it_came(self, hit: Hit) -> Hit:
        """Return a match with its place in the whole text, what was dropped included."""
        first, last = self._origin + hit.start, self._origin + hit.end - 1
        start = before_drops(first, self.dropped)
        return hit._replace(start=start, back=start - before_drops(last, self.dropped) - 1)

    def flush(self) -> tuple[str, list[Hit]]:
        """Let go what is held: the text ends here."""
        return self.feed("", is_last=True)

    def _replace(self, text: str, start: int, cut: int, hits: list[Hit]) -> str:
        pieces: list[str] = []
        origin, at = self._origin, start
        for hit in hits:
            if not self._is_masked(hit):
                continue
            self._stretch(text)
            begin, end = origin + hit.start, origin + hit.end
            if begin >= self._covered:
                pieces += text[max(at, self._covered - origin) : hit.start], f"[{hit.label}]"
                self.edits.append(Edit(hit, begin, end, self.edits[-1] if self.edits else None))
            if end > self._covered:
                self._cover(end, hit.continues)
            at = self._covered - origin
        self._stretch(text)
        pieces.append(text[max(at, self._covered - origin) : cut])
        return "".join(pieces)

    def _cover(self, end: int, continues: Alphabet | None) -> None:
        self._covered, self._continues = end, continues
        self.edits[-1].end = end

    def _stretch(self, text: str) -> None:
        """Let the last replaced place go on over what belongs to it."""
        continues = self._continues
        if continues is None:
            return
        at, size = self._covered - self._origin, len(text)
        while at < size and all(char in continues for char in folding.plain(text[at])):
            at += 1
        self._cover(self._origin + at, continues if at == size else None)

    def _trim(self, text: str, start: int, cut: int) -> None:
        self._state.move(text, start, cut)
        gone = cut - 1
        self._text, self._start = text[gone:], 1
        self._origin += gone

    def _drop_unseen(self) -> None:
        """Drop what cannot be seen of what is held: nothing else can be so long."""
        text, start = self._text, self._start
        self._note_unseen(text, start)

        def unseen(end: int) -> int:
            return sum(not folding.fold(char) for char in text[start:end])

        self._covered -= unseen(max(self._covered - self._origin, start))
        resume = self._state.resume
        self._state.resume = {rule: at - unseen(start + at) for rule, at in resume.items()}
        self._text = text[:start] + "".join(filter(folding.fold, text[start:]))

    def _note_unseen(self, text: str, start: int) -> None:
        """Note where what goes now stood in the text as it came: behind all that went before."""
        dropped = self.dropped
        came = self._origin - (dropped[-1].moves if dropped else 0)
        for at in range(start, len(text)):
            if folding.fold(text[at]):
                continue
            if dropped and dropped[-1].end == came + at:
                dropped[-1].end += 1
            else:
                dropped.append(Shift(came + at, came + at + 1, 0, dropped[-1] if dropped else None))
