"""Find what the books lack, have twice or have wrong, measured by what the upstream sent. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.chaos.accounts import Row, Seen, Sent
from bench.chaos.rates import CHARGES, COSTS
from gateway_project.lib.tokens import BYTES_PER_TOKEN

NOTE_TOKENS = 64
# What can be under way at most: two socket buffers full of events that carry a token each.
WIRE_TOKENS = 1024


@dataclass(slots=True)
class Findings:
    """The result of a comparison.

    Lists hold a sentence for each offender. A gap is the number of tokens an abandoned row lacks: of
    those its client had received, and of those the upstream had sent (what lies between was on the wire).
    """

    sent: int = 0
    rows: int = 0
    seen: int = 0
    abandoned: int = 0
    never_sent: int = 0
    gap_seen: int = 0
    gap_sent: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    mispriced: list[str] = field(default_factory=list)
    undercounted: list[str] = field(default_factory=list)

    @property
    def offenders(self) -> list[str]:
        return [*self.lost, *self.duplicated, *self.mispriced, *self.undercounted]


def compare(
    sent: Iterable[Sent],
    rows: Iterable[Row],
    seen: Iterable[Seen],
    *,
    may_end_early: bool = False,
) -> Findings:
    """Compare calls and rows, which share the marker in their prompt and tags.

    Where a budget may be exhausted, answers may end early: what was written until then is counted by us.
    """
    sent_by, rows_by = defaultdict[str, list[Sent]](list), defaultdict[str, list[Row]](list)
    for call in sorted(sent, key=lambda call: call.number):
        sent_by[call.marker].append(call)
    for row in sorted(rows, key=lambda row: row.id):
        rows_by[row.marker].append(row)
    seen_by = {one.marker: one for one in seen}
    found = Findings()
    for marker in sorted({*sent_by, *rows_by, *seen_by}):
        case = _Case(marker, sent_by[marker], rows_by[marker], seen_by.get(marker), may_end_early)
        case.examine(found)
    return found


@dataclass(slots=True)
class _Case:
    """Everything that bears one marker."""

    marker: str
    sent: list[Sent]
    rows: list[Row]
    seen: Seen | None
    may_end_early: bool

    def examine(self, found: Findings) -> None:
        found.sent += len(self.sent)
        found.rows += len(self.rows)
        pairs, without_row, without_call = matched(self.sent, self.rows)
        found.lost += [self._says("lost", call) for call in without_row]
        for row in without_call:
            if row.status == "abandoned" and row.output == 0:
                found.never_sent += 1  # its worker died between the two
            else:
                found.duplicated.append(self._says("a row too many", row))
        self._same_ids(found)
        for call, row in pairs:
            if row.source == "provider" and (wrong := _misreported(call, row)):
                found.mispriced.append(self._says(wrong, call, row))
        found.mispriced += [
            self._says(wrong, row) for row in self.rows if (wrong := _misrated(row))
        ]
        self._after_the_end(pairs, found)
        for call, row in pairs:
            if row.status == "abandoned":
                self._abandoned(call, row, found)

    def _same_ids(self, found: Findings) -> None:
        ids = [row.id for row in self.rows]
        if len(set(ids)) != len(ids):
            found.duplicated.append(self._says("the same id twice", *self.rows))

    def _after_the_end(self, pairs: Sequence[tuple[Sent, Row]], found: Findings) -> None:
        """Check that a call whose end was seen is booked with the provider's counts."""
        if self.seen is None:
            return
        found.seen += self.seen.ends > 0
        is_right = any(
            (call.is_whole and row.source == "provider" and row.status == "completed")
            or (self.may_end_early and row.status == "incomplete")
            for call, row in pairs
        )
        if self.seen.ends and not is_right:
            found.mispriced.append(
                self._says("the client saw its end", *self.sent, *self.rows, self.seen)
            )
        if self.seen.is_idempotent and len(self.sent) > self.seen.cuts + 1:
            found.duplicated.append(
                self._says("one key, several calls", *self.sent, *self.rows, self.seen)
            )

    def _abandoned(self, call: Sent, row: Row, found: Findings) -> None:
        found.abandoned += 1
        # With one call it is certain that what the client received was of this one.
        received = self.seen.text_bytes if self.seen is not None and len(self.sent) == 1 else 0
        gap_seen = received // BYTES_PER_TOKEN - row.output
        gap_sent = call.text_tokens - row.output
        found.gap_seen = max(found.gap_seen, gap_seen)
        found.gap_sent = max(found.gap_sent, gap_sent)
        if gap_seen > NOTE_TOKENS or gap_sent > NOTE_TOKENS + WIRE_TOKENS:
            found.undercounted.append(
                self._says(f"counted {max(gap_seen, gap_sent)} too few", call, row)
            )

    def _says(self, what: str, *about: Sent | Row | Seen) -> str:
        return "\n    ".join([f"{self.marker}: {what}", *(str(one) for one in about)])


def matched(
    sent: Sequence[Sent], rows: Sequence[Row]
) -> tuple[list[tuple[Sent, Row]], list[Sent], list[Row]]:
    """Pair calls with their rows and return the leftovers of both: reports first, by their counts, the
    rest in turn.
    """
    calls, rest, pairs = list(sent), [], []
    for row in rows:
        like = (call for call in calls if row.source == "provider" and _is_report(call, row))
        if (call := next(like, None)) is None:
            rest.append(row)
            continue
        calls.remove(call)
        pairs.append((call, row))
    # A row without output may be of a call that never left; those with some come first.
    for row in sorted(rest, key=lambda row: (row.output == 0, row.id)):
        if not calls:
            break
        pairs.append((calls.pop(0), row))
        rest.remove(row)
    return pairs, calls, rest


def _is_report(call: Sent, row: Row) -> bool:
    return call.is_whole and call.tokens == row.tokens


def _misreported(call: Sent, row: Row) -> str:
    """Return what is wrong with a row that claims to hold the provider's report."""
    if not call.is_whole or call.tokens is None:
        return "a report of a call that did not end"
    return "other tokens than were reported" if row.tokens != call.tokens else ""


def _misrated(row: Row) -> str:
    """Return what is wrong with the amounts of a row, wherever its tokens come from."""
    if row.other_tokens:
        return "tokens of classes that no upstream reported"
    charge, cost = CHARGES[row.alias].of(row.tokens), COSTS[row.alias].of(row.tokens)
    if (row.charge_nano + row.unfunded_nano, row.cost_nano) != (charge, cost):
        return f"charged {row.charge_nano} of {charge}, cost {row.cost_nano} of {cost}"
    return ""
