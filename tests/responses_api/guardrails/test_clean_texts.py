"""A conversation is searched once for each rule, not anew with each turn."""

from __future__ import annotations

import pytest

from responses_api.guardrails import clean_texts
from responses_api.guardrails.engine import Engine, compile_guardrails
from responses_api.guardrails.scanner import Scanner
from responses_api.guardrails.spec import GuardrailSpec, RequestContents, RequestSegment
from tests.responses_api.guardrails.engines import spec

TURN = "nothing that anybody minds, said in turn {0}; " * 20


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The characters of each search."""
    sizes: list[int] = []
    may_find = Scanner.may_find

    def counting(self: Scanner, text: str) -> bool:
        sizes.append(len(text))
        return may_find(self, text)

    monkeypatch.setattr(Scanner, "may_find", counting)
    return sizes


def said(*texts: str) -> RequestContents:
    segments = [
        RequestSegment("message", "user", f"input[{n}]", text) for n, text in enumerate(texts)
    ]
    return RequestContents(tuple(segments))


def engine_of(*terms: str) -> Engine:
    return compile_guardrails([blocking(*terms)])


def blocking(*terms: str) -> GuardrailSpec:
    stages = frozenset({"input"})
    return spec("terms", action="block", config={"terms": list(terms)}, stages=stages)


def test_only_what_is_new_is_searched(searched: list[int]) -> None:
    engine = engine_of("forbidden")
    turns = [TURN.format(number) for number in range(30)]
    for count in range(1, 31):
        assert engine.check_request(said(*turns[:count])).refusal is None
    assert max(searched) <= max(map(len, turns))
    assert sum(searched) == sum(map(len, turns))


def test_a_changed_rule_searches_everything_again(searched: list[int]) -> None:
    turns = [TURN.format(number) for number in range(5)]
    assert engine_of("forbidden").check_request(said(*turns)).refusal is None
    assert engine_of("forbidden", "minds").check_request(said(*turns)).refusal is not None


def test_what_is_found_is_found_every_time_whatever_was_clean_beside_it() -> None:
    engine = engine_of("forbidden")
    bad = TURN.format("forbidden")
    for texts in ([TURN], [TURN, bad], [bad, TURN], [bad]):
        for _ in range(3):
            verdict = engine.check_request(said(*texts))
            assert (verdict.refusal is not None) is (bad in texts)


def test_a_text_and_a_definition_of_a_tool_are_judged_by_their_own_rules() -> None:
    in_tools = spec(
        "terms", action="block", config={"terms": ["minds"]}, stages=frozenset({"tools"})
    )
    engine = compile_guardrails([blocking("forbidden"), in_tools])
    assert engine.check_request(said(TURN)).refusal is None
    tool = RequestContents((RequestSegment("tool_definition", "", "tools[0]", TURN),))
    assert engine.check_request(tool).refusal is not None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_texts, "MOST_TEXTS", 4)
    known = clean_texts.CleanTexts()
    for number in range(100):
        _, digests = known.without([TURN.format(number)])
        known.add(digests)
        assert len(known) <= 8
    assert known.without([TURN.format(99)])[0] == []
    assert known.without([TURN.format(0)])[0] == [TURN.format(0)]
