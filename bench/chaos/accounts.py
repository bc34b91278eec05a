"""Hold the three accounts of a run: what the upstream sent, what clients saw, what was booked."""

from __future__ import annotations

from dataclasses import dataclass, field

# Output tokens are those a user sees, and those a model thought.
CLASSES = ("input_fresh", "output_visible", "output_reasoning")
Tokens = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Sent:
    """A call the upstream received.

    `tokens` is what it reported, None if it never reported. `text_tokens` is what it had handed to the
    socket when the call ended.
    """

    number: int
    marker: str
    protocol: str
    is_whole: bool
    tokens: Tokens | None
    text_tokens: int
    streamed: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the ledger.

    `other_tokens` are of classes the upstream never reports; `unfunded_nano` is what the call's budget
    did not cover.
    """

    id: str
    marker: str
    alias: str
    status: str
    source: str
    tokens: Tokens
    other_tokens: int
    charge_nano: int
    cost_nano: int
    unfunded_nano: int = 0

    @property
    def output(self) -> int:
        return self.tokens[1] + self.tokens[2]


@dataclass(slots=True)
class Seen:
    """A client's view of one thing it wanted done.

    `ends` are the terminal events it saw, one per completed attempt; `text_bytes` the most text one of
    the attempts brought before it was cut.
    """

    marker: str
    kind: str
    alias: str
    attempts: int = 0
    ends: int = 0
    cuts: int = 0
    text_bytes: int = 0
    refusals: list[str] = field(default_factory=list)

    @property
    def is_idempotent(self) -> bool:
        return self.kind.endswith("idempotent")
