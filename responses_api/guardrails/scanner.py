"""Find all matches of the rules of a call in a text, or in the part of a text that has come so far.

Expressions are looked for twice: in the text as it is written, and in its plain form (folding.py), in which
nothing hides between the characters of a secret. Either finds what the other does not: a digit put behind a
number in another form is a part of it in the plain form only. Where both are alike, as in ASCII, one does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from responses_api.guardrails import folding
from responses_api.guardrails.hits import BoundRule, BoundTerms, Hit
from responses_api.guardrails.rule_search import RuleSearch
from responses_api.guardrails.terms import is_edge

# Up to so many characters every place is looked at by itself; that is cheaper than a search.
SHORT = 64


class ScanState:
    """The state of one text that is scanned as it comes: what of the part before still matters.

    folded         the last character before, as terms see it
    resume         how far behind that place each rule looks on, in the text as it is written
    plain          the last character before in the plain form, and
    plain_resume   how far each rule looks on in it; None: the same as in the text as it is written
    is_apart       one of these two differs
    """

    __slots__ = ("folded", "is_apart", "plain", "plain_resume", "resume")

    def __init__(self) -> None:
        self.folded = ""
        self.resume: dict[int, int] = {}
        self.plain: str | None = None
        self.plain_resume: dict[int, int] | None = None
        self.is_apart = False

    def begin_plain(self) -> dict[int, int]:
        """Return how far each rule looks on in the plain form, which is scanned by itself from here on."""
        if self.plain_resume is None:
            self.plain_resume = dict(self.resume)
            self.is_apart = True
        return self.plain_resume

    def move(self, text: str, start: int, cut: int) -> None:
        """Note that the text was scanned from `start` to `cut`."""
        last = text[cut - 1]
        if last < "\x80":  # whose case does not matter
            self.folded = last
        elif folded := folding.fold(text[start:cut]):
            self.folded = folded[-1]
        if self.resume:
            self.resume = _less(self.resume, cut - start)
        if self.is_apart or not (text.isascii() or folding.is_plain(text[start:cut])):
            self._move_plain(text, start, cut)

    def _move_plain(self, text: str, start: int, cut: int) -> None:
        before = text[start - 1 : start] if self.plain is None else self.plain
        passed = folding.plain(text[start:cut])
        plain = (before + passed)[-1:]
        self.plain = None if plain == text[cut - 1] else plain
        if self.plain_resume is not None:
            resume = _less(self.plain_resume, len(passed))
            self.plain_resume = None if resume == self.resume else resume
        self.is_apart = not (self.plain is None and self.plain_resume is None)


def _less(resume: dict[int, int], by: int) -> dict[int, int]:
    return {rule: at - by for rule, at in resume.items() if at > by}


class Scanner:
    """The rules of a call, compiled. Shared by calls: what differs between two is theirs to keep."""

    def __init__(self, rules: Sequence[BoundRule], terms: Sequence[BoundTerms]) -> None:
        self._rules = RuleSearch(rules) if rules else None
        self._terms = tuple(terms)
        self._guardrails = [bound.guardrail for bound in rules]
        self._guardrails += [bound.guardrail for bound in terms]
        self._glance = min((bound.terms.glance for bound in self._terms), default=1)
        self._beginnings = frozenset(
            beginning[: self._glance]
            for bound in self._terms
            for beginning in bound.terms.beginnings
        )

    def __bool__(self) -> bool:
        return bool(self._guardrails)

    @property
    def is_anchored(self) -> bool:
        """Tell whether an expression asks where a text begins or ends."""
        return self._rules is not None and self._rules.is_anchored

    @property
    def changes(self) -> bool:
        """Tell whether anything that is found changes a text, or ends it."""
        return any(guardrail.action != "monitor" for guardrail in self._guardrails)

    def may_find(self, text: str) -> bool:
        """Tell quickly whether anything may be found in a text."""
        rules = self._rules
        if rules is not None and (
            rules.may_find(text)
            or (not folding.is_plain(text) and rules.may_find(folding.plain(text)))
        ):
            return True
        folded = folding.fold(text) if self._terms else ""
        return any(bound.terms.stands_in(folded) for bound in self._terms)

    def scan(
        self, text: str, start: int, state: ScanState, *, is_last: bool = False
    ) -> tuple[int, list[Hit]]:
        """Return up to where a text is certain, and the matches that begin from `start` to before that, in
        the order in which they are taken. What stands before `start` is known by `state`."""
        rules = self._rules
        plain = None
        if rules is not None and (state.is_apart or not text.isascii()):
            plain = _PlainText.of(text, start, state)
        cut = len(text)
        if rules is not None and not is_last:
            cut -= rules.run(text, start)
            if plain is not None:
                cut = min(cut, plain.certain(rules))
        found: list[Hit] = []
        if self._terms and self._may_begin(text, start):
            looks = [_Look(bound, text, start, state.folded) for bound in self._terms]
            if not is_last:
                cut = min(cut, *[look.certain() for look in looks])
            for look in looks:
                look.add_hits(cut, found)
        if rules is not None:
            resume = state.resume if plain is None else state.begin_plain()
            rules.add_hits(text, start, cut, state.resume, found)
            if plain is not None:
                plain.add_hits(rules, cut, resume, found)
        if len(found) > 1:
            found.sort(key=_order)
        return cut, found

    def _may_begin(self, text: str, start: int) -> bool:
        """Tell quickly whether a term, or the beginning of one, may stand in a text."""
        if len(text) - start > SHORT or not text.isascii():
            return True
        folded, glance, beginnings = text.lower(), self._glance, self._beginnings
        for at in range(start, len(folded)):
            if folded[at : at + glance] in beginnings and is_edge(folded, at):
                return True
        return False


class _PlainText:
    """The plain form of the part of a text that begins at `start`, behind the character before it."""

    __slots__ = ("_first", "_offsets", "_plain")

    def __init__(self, before: str, text: str, start: int) -> None:
        part = text[start:]
        self._first = len(before)
        self._plain = before + folding.plain(part)
        self._offsets = [start + at for at in folding.plain_offsets(part)]

    @staticmethod
    def of(text: str, start: int, state: ScanState) -> _PlainText | None:
        """Return the plain form; None if it is the text itself, and was scanned in the same way so far."""
        if not state.is_apart and folding.is_plain(text[start:]):
            return None
        before = text[start - 1 : start] if state.plain is None else state.plain
        return _PlainText(before, text, start)

    def certain(self, rules: RuleSearch) -> int:
        """Return up to where the text is certain."""
        held = rules.run(self._plain, self._first)
        return self._offsets[len(self._plain) - held - self._first]

    def add_hits(
        self, rules: RuleSearch, cut: int, resume: dict[int, int], found: list[Hit]
    ) -> None:
        """Add the matches that begin before `cut`, by their places in the text; of two that begin at one
        place the longer is taken."""
        first, offsets = self._first, self._offsets
        hits: list[Hit] = []
        rules.add_hits(self._plain, first, first + bisect_left(offsets, cut), resume, hits)
        known = {(hit.order, hit.start): at for at, hit in enumerate(found)}
        for hit in hits:
            start, end = offsets[hit.start - first], offsets[hit.end - first - 1] + 1
            moved = hit._replace(start=start, back=start - end)
            at = known.setdefault((hit.order, start), len(found))
            if at == len(found):
                found.append(moved)
            elif moved.back < found[at].back:
                found[at] = moved


class _Look:
    """A look for the terms of a guardrail in the part of a text that begins at `start`."""

    __slots__ = ("_before", "_bound", "_folded", "_places", "_start", "_text")

    def __init__(self, bound: BoundTerms, text: str, start: int, folded_before: str) -> None:
        self._bound = bound
        self._text = text
        self._start = start
        self._before = len(folded_before)
        self._folded = folded_before + folding.fold(text[start:])
        self._places: list[int] | None = None  # where terms may stand, if that is known

    def certain(self) -> int:
        """Return up to where the text is certain."""
        terms = self._bound.terms
        if len(self._folded) <= SHORT:
            at, self._places = terms.look(self._folded, self._before)
        else:
            at = terms.tail(self._folded, self._before)
        if at == len(self._folded):
            return len(self._text)
        return self._start + self._offsets()[at - self._before]

    def add_hits(self, cut: int, found: list[Hit]) -> None:
        """Add the terms that begin before `cut`."""
        if self._places == []:
            return
        offsets, start, bound = self._offsets(), self._start, self._bound
        for first, last in self._spans():
            begin = start + offsets[first - self._before]
            if begin >= cut:
                return
            end = start + offsets[last - self._before - 1] + 1
            made = (bound.guardrail, "terms", bound.label, None, self._text[begin:end])
            found.append(Hit(begin, begin - end, bound.order, *made))

    def _spans(self) -> Iterable[tuple[int, int]]:
        terms, folded = self._bound.terms, self._folded
        if self._places is None:
            return terms.spans(folded, self._before)
        return [(at, end) for at in self._places if (end := terms.end(folded, at))]

    def _offsets(self) -> Sequence[int]:
        # Equal lengths prove nothing: one character may have become two, and another none.
        if self._text.isascii():
            return range(len(self._folded) + 1)
        return folding.offsets(self._text[self._start :])


def _order(hit: Hit) -> tuple[int, int, int]:
    return hit[:3]
