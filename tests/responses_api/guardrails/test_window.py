"""A torn text is let go as redacting the whole gives it, however it is torn."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from responses_api.guardrails.engine import Engine, compile_guardrails
from responses_api.guardrails.folding import fold
from responses_api.guardrails.hits import Hit
from responses_api.guardrails.masks import Masks
from responses_api.guardrails.scanner import Scanner, ScanState
from responses_api.guardrails.window import HoldBackWindow
from tests.plugins.cases import cases
from tests.plugins.tiers import by_tier, examples
from tests.responses_api.guardrails.engines import (
    BITS,
    as_whole,
    disguised,
    every_kind,
    in_pieces,
    sent,
    spec,
    torn,
)

ENGINE = every_kind()


def scanner_of(engine: Engine) -> Scanner:
    guard = engine.output_guard(Masks(), lambda finding: None)
    assert guard is not None
    return guard.scanner


TEXTS = st.lists(st.sampled_from(BITS) | st.text(max_size=3), min_size=1, max_size=14).map("".join)


@settings(max_examples=by_tier(60, 180, examples(3_000)))
@example("straße.NET\u200b", 0, False)  # folded it is as long as it was
@given(TEXTS, st.integers(0, 2**32), st.booleans())
def test_a_torn_text_is_redacted_as_the_whole(text: str, seed: int, is_disguised: bool):
    """In disguise: with characters in other forms, and with some that cannot be seen."""
    if is_disguised:
        text = disguised(text, seed)
    whole = as_whole(ENGINE, text)
    assert in_pieces(ENGINE, torn(text, seed)) == whole
    assert in_pieces(ENGINE, text) == whole  # one character at a time


@settings(max_examples=examples(300))
@given(TEXTS, st.integers(0, 2**32))
def test_a_request_is_redacted_as_an_answer(text: str, seed: int):
    assert sent(ENGINE, text) == as_whole(ENGINE, text)[0]
    stage_by_stage, _ = ENGINE.detect(text, "output", piece=seed % 7)
    assert stage_by_stage == as_whole(ENGINE, text)[0]


@settings(max_examples=examples(300))
@given(st.lists(st.text("ab1 -", max_size=4), min_size=1, max_size=30), st.integers(0, 2**32))
def test_expressions_of_others_that_overlap_in_chains_are_redacted_alike(
    bits: list[str], seed: int
):
    patterns = [
        {"name": "four", "pattern": "[ab]{4}"},
        {"name": "three", "pattern": "[ab1]{3}"},
        {"name": "lazy", "pattern": r"\ba[ab1 ]{0,9}?-"},
        {"name": "edge", "pattern": r"\B1\b"},
    ]
    engine = compile_guardrails([spec("pattern", config={"patterns": patterns})])
    text = "".join(bits)
    assert in_pieces(engine, torn(text, seed)) == as_whole(engine, text)


def test_prose_waits_for_the_current_word_only():
    prose = "The quick brown fox jumps over the lazy dog, again and again; nobody knows why. " * 20
    terms = {"terms": ["Project Apollo", *(f"word{number}" for number in range(5_000))]}
    engine = compile_guardrails([spec("terms", config=terms), spec("pii"), spec("secrets")])
    window, held, said = HoldBackWindow(scanner_of(engine), lambda hit: True), [], ""
    for piece in torn(prose, 1):
        said += piece
        window.feed(piece)
        held.append(window.held)
        assert window.held <= len(said) - 1 - said.rfind(" ")
    assert sum(held) / len(held) < 3


@cases(
    "stuff", ["a" * 5_000, "1 " * 5_000, "A1" * 5_000, "foo" * 3_000, "-" * 5_000, "eyJ" * 3_000]
)
def test_no_text_makes_much_be_held(stuff: str):
    window = HoldBackWindow(scanner_of(ENGINE), lambda hit: True)
    for piece in torn(stuff, 3, longest=50):
        window.feed(piece)
        assert window.held <= 1_200


def test_what_cannot_be_seen_within_a_term_is_not_held_for_ever():
    window, out = HoldBackWindow(scanner_of(ENGINE), lambda hit: True), []
    for piece in ["a fo", *["\u200b" * 1_000] * 50, "o bar."]:
        out.append(window.feed(piece)[0])
        assert window.held <= 4_096
    out.append(window.flush()[0])
    assert "".join(out) == "a [REDACTED]."


def test_what_cannot_be_seen_within_a_key_is_not_held_for_ever():
    hidden = "sk-ant-abcde" + "\u200b" * 50_000 + "fghijk"
    window, out = HoldBackWindow(scanner_of(ENGINE), lambda hit: True), []
    for piece in torn(f"a {hidden}. and so on", 4, longest=400):
        out.append(window.feed(piece)[0])
        assert window.held <= 4_096
    out.append(window.flush()[0])
    assert "".join(out) == "a [API_KEY]. and so on"


def test_what_is_found_is_told_by_its_place_in_the_text_as_it_came():
    pieces = [
        "a fo",
        *["\u200b" * 1_000] * 9,
        "o, fo",
        "\u00ad" * 5_000,
        "o",
        " and foo",
        "\u200b" * 9,
    ]
    text = "".join(pieces)
    window, hits = HoldBackWindow(scanner_of(ENGINE), lambda hit: True), []
    for piece in pieces:
        hits += window.feed(piece)[1]
    hits += window.flush()[1]
    found = [text[hit.start : hit.end] for hit in hits]
    assert [fold(each) for each in found] == ["foo", "foo", "foo"]
    assert all(each[0] == "f" and each[-1] == "o" for each in found)
    assert len(window.dropped) == 2


@cases("piece", ["\u200b", "a\u200b\u200b", "a"])
def test_a_stream_of_which_much_is_held_is_not_looked_at_for_each_character(piece: str):
    window = HoldBackWindow(looked := _Counting(scanner_of(ENGINE)), lambda hit: True)
    window.feed("eyJ" + "a" * 30 + ".eyJ")
    for _ in range(6_000):
        window.feed(piece)
    window.flush()
    assert looked.characters < 100 * 6_000


class _Counting(Scanner):
    """A scanner that counts the characters it looks at."""

    def __init__(self, scanner: Scanner) -> None:
        vars(self).update(vars(scanner))
        self.characters = 0

    def scan(
        self, text: str, start: int, state: ScanState, *, is_last: bool = False
    ) -> tuple[int, list[Hit]]:
        self.characters += len(text)
        return super().scan(text, start, state, is_last=is_last)


def test_a_key_is_masked_however_long_it_is():
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQ+/\n" * 400 + "-----END PRIVATE KEY-----"
    text = f"Here: {key}\nKeep it safe."
    assert in_pieces(ENGINE, torn(text, 5))[0] == "Here: [PRIVATE_KEY]\nKeep it safe."
    token = "eyJ" + "a" * 30 + ".eyJ" + "b" * 5_000 + "." + "c" * 400
    assert in_pieces(ENGINE, torn(f"t={token};", 6))[0] == "t=[TOKEN];"
