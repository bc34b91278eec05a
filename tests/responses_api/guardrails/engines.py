"""Guardrails for tests of the engine, and answers that go through them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from responses_api.guardrails.engine import Engine, compile_guardrails
from responses_api.guardrails.masks import Masks
from responses_api.guardrails.output import OutputFilter, OutputGuard
from responses_api.guardrails.spec import (
    GuardrailFinding,
    GuardrailSpec,
    OutputJudge,
    RequestContents,
    RequestSegment,
)
from responses_api.guardrails.window import HoldBackWindow
from routing.protocols.shared.deltas import Delta, Reasoning, Refusal, Stop, Text, ToolCall
from routing.protocols.shared.tools import Toolbox

ALL_STAGES = frozenset({"input", "output", "tools"})
TERMS = [
    "Project Apollo",
    "foo",
    "foo bar",
    "straße",
    "ÉCOLE",
    "東京",
    ".net",
    "c++",
    "müller",
    "k",
]
PATTERNS = [
    {"name": "ticket", "pattern": r"\bTICKET-\d{4,8}\b"},
    {"name": "quoted", "pattern": r"«[^»]{1,20}»"},
    {"name": "shout", "pattern": r"(?i)stop!{1,3}|^begin|the end$"},
]
# What random texts are made of: things to be found, pieces of them, and what stands beside them.
BITS = [
    "a@b.co", "bob.smith@example.com", "4111 1111 1111 1111", "4111 1111 1111 1112", "5500-0000-0000-0004",
    "DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "+49 170 1234567", "030 12345678",
    "(212) 555-0123", "192.168.1.17", "2001:db8::8:800:200c:417a", "078-05-1120", "000-05-1120",
    "86095742719", "943 476 5919", "AB 12 34 56 C", "sk-ant-abcdefghij0123456789", "AKIAABCDEFGHIJKLMNOP",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "tg_live_0123456789_abcdefghij", "xoxb-1234567890-abc",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc",
    "-----BEGIN PRIVATE KEY-----\nMIIabc+/\n-----END PRIVATE KEY-----", "-----BEGIN RSA ", "-----END ",
    "foo", "foo bar", "foo\u200bbar", "Proj\u200bect Apollo", "project  apollo", "PROJECT apollo", "STRASSE",
    "stra\u00dfe", "e\u0301cole", "\u00e9cole", "\u6771\u4eac\u90fd", ".NET", "C++", "M\u00fcller", "mu",
    "\u212a", "TICKET-12345", "TICKET-1", "\u00abso\u00bb", "\u00ab", "stop!!!", "STOP", "begin", "the end",
    " ", "  ", "\n", ".", "-", "_", "[", "@", "1", "x", "Z", "\u00e9", "\u00fc", "\u0301", "\u200b",
    "\U0001f600",
    "\u00ad", "\u00a0", "\u2011", "\u2026", "\u00b2", "\uff11", "\u0661", "\ufb01", "\uff20", "\ufe0f",
    "a@b.co\u200bm", "4111\u00a01111\u00a01111\u00a01111", "s\u200bk-ant-abcdefghij", "\u33c2@b.co",
    "\uff54\uff47_live_0123456789_abcdefghij", "078\u201105\u20111120", "-----\u00adBEGIN PRIVATE KEY-----",
]  # fmt: skip


def spec(kind: Any, action: Any = "mask", number: int = 1, **fields: Any) -> GuardrailSpec:
    """A guardrail of all stages, named like its kind."""
    fields.setdefault("config", {})
    fields.setdefault("stages", ALL_STAGES)
    return GuardrailSpec(id=number, name=kind, revision=1, kind=kind, action=action, **fields)


def every_kind(action: str = "mask") -> Engine:
    """All local kinds that read texts, with everything they know."""
    return compile_guardrails(
        [
            spec("terms", action, 1, config={"terms": TERMS}),
            spec("pattern", action, 2, config={"patterns": PATTERNS}),
            spec("pii", action, 3),
            spec("secrets", action, 4),
        ]
    )


def words(action: str = "mask", **fields: Any) -> Engine:
    """One guardrail, which knows one word and e-mail addresses."""
    return compile_guardrails(
        [
            spec("terms", action, 1, config={"terms": ["forbidden"]}, **fields),
            spec("pii", action, 2, config={"entities": ["email"]}, **fields),
        ]
    )


def sent(engine: Engine, text: str) -> str:
    """A text of a message as it is sent on."""
    verdict = engine.check_request(
        RequestContents((RequestSegment("message", "user", "input", text),))
    )
    return verdict.texts[0]


def as_whole(engine: Engine, text: str) -> tuple[str, list[tuple[int, int]]]:
    """An answer's text as it reaches its client, and the places that were replaced."""
    return in_pieces(engine, [text])


def in_pieces(engine: Engine, pieces: Iterable[str]) -> tuple[str, list[tuple[int, int]]]:
    guard = engine.output_guard(Masks(), lambda finding: None)
    assert guard is not None
    window = HoldBackWindow(guard.scanner, lambda hit: True)
    out = [window.feed(piece)[0] for piece in pieces]
    out.append(window.flush()[0])
    return "".join(out), [(edit.start, edit.end) for edit in window.edits]


def disguised(text: str, seed: int) -> str:
    """The text with characters in other forms, and such as cannot be seen between them."""
    chance = random.Random(seed)

    def written(char: str) -> str:
        others = [char, f"{char}\u200b", f"{char}\u00ad\u2060", f"\ufe0f{char}"]
        if "!" <= char <= "~":
            others.append(chr(ord(char) + 0xFEE0))  # full width
        if char in "- 0":
            others += {"-": "\u2011\u2212", " ": "\u00a0\u202f", "0": "\u0660\U0001d7ce"}[char]
        return chance.choice(others)

    return "".join(map(written, text))


def torn(text: str, seed: int, longest: int = 6) -> list[str]:
    """The text in pieces of random lengths."""
    chance, pieces, at = random.Random(seed), [], 0
    while at < len(text):
        pieces.append(text[at : at + chance.randint(1, longest)])
        at += len(pieces[-1])
    return pieces


@dataclass
class Answer:
    """An answer on its way through the filter of an engine, and what was reported."""

    engine: Engine
    masks: Masks = field(default_factory=Masks)
    judge: OutputJudge | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    findings: list[GuardrailFinding] = field(default_factory=list)
    passed: list[Delta] = field(default_factory=list)

    def __post_init__(self) -> None:
        guard = self.engine.output_guard(self.masks, self.findings.append, self.judge)
        assert isinstance(guard, OutputGuard)
        toolbox = Toolbox.of({"input": [], "tools": self.tools}, keeps_names=True)
        self.filter: OutputFilter = guard.begin(toolbox)

    def say(self, *deltas: Delta | str) -> list[Delta]:
        """Return what comes out of these deltas; a text stands for one of the message."""
        given = [Text("t", one) if isinstance(one, str) else one for one in deltas]
        out = self.filter.take(given)
        self.filter.tell()
        self.passed += out
        return out

    def end(self) -> Answer:
        self.say(Stop("stop"))
        return self

    @property
    def text(self) -> str:
        return "".join(one.text for one in self.passed if isinstance(one, Text))

    @property
    def thought(self) -> str:
        return "".join(one.text for one in self.passed if isinstance(one, Reasoning))

    @property
    def refusal(self) -> str:
        return "".join(one.text for one in self.passed if isinstance(one, Refusal))

    @property
    def calls(self) -> list[ToolCall]:
        return [one for one in self.passed if isinstance(one, ToolCall)]
