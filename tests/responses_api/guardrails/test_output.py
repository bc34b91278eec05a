"""Answers on their way through a filter: texts, calls, annotations, blocks, verdicts, and masks put back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway_project.lib.errors import GuardrailUnavailable, UpstreamMalformed
from responses_api.guardrails.engine import Engine, compile_guardrails
from responses_api.guardrails.held_calls import MAX_HELD_BYTES
from responses_api.guardrails.masks import Masks
from responses_api.guardrails.spec import GuardrailFinding, OutputSegment, OutputVerdict
from routing.protocols.shared import envelope
from routing.protocols.shared.deltas import Delta, Opaque, Reasoning, Refusal, Stop, Text, ToolCall
from tests.plugins.cases import cases
from tests.responses_api.guardrails.engines import Answer, spec, words

MASK = words()
BLOCK = words("block")
NOTE = words("monitor")


def call(arguments: str, key: str = "c", name: str = "send") -> ToolCall:
    return ToolCall(key, arguments, f"call_{key}", name)


# Texts


def test_every_kind_of_text_is_searched_by_itself():
    answer = Answer(MASK)
    answer.say(
        Reasoning("r", "think a@b"), Reasoning("r", ".co so"), Reasoning("r", "a@b.", part=1)
    )
    answer.say("a@", "b.c", "o said", Refusal("f", "no, a@b"), Refusal("f", ".co")).append(
        Stop("stop")
    )
    answer.end()
    assert answer.thought == "think [EMAIL] soa@b."
    assert answer.text == "[EMAIL] said"
    assert answer.refusal == "no, [EMAIL]"
    assert {(one.surface, one.rule, one.outcome) for one in answer.findings} == {
        ("reasoning", "email", "masked"),
        ("text", "email", "masked"),
        ("refusal", "email", "masked"),
    }
    assert "a@b" not in repr(answer.findings)


def test_what_was_sealed_stays_in_its_place_unless_it_is_refused():
    thought = (Reasoning("r", "so a@b.co"), Reasoning("r", "", sealed="opaque"))
    answer = Answer(MASK)
    answer.say(*thought)
    assert [(one.text, one.sealed) for one in answer.passed if isinstance(one, Reasoning)] == [
        ("so ", None),
        ("[EMAIL]", None),
        ("", "opaque"),
    ]
    strict = Answer(compile_guardrails([spec("pii", config={"opaque": "refuse"})]))
    strict.say(*thought)
    strict.end()
    assert all(not getattr(one, "sealed", None) for one in strict.passed)


def test_what_we_sealed_goes_where_something_in_it_is_replaced():
    # It hides nothing: it is base64 of what its maker wants back.
    def sealed(thinking: str, signature: str = "c2ln") -> Reasoning:
        payload = {"type": "thinking", "thinking": thinking, "signature": signature}
        return Reasoning("r", "", sealed=envelope.pack("anthropic", "claude", payload))

    for said, seal, kept, surfaces in (
        ("so a@b.co", sealed("so a@b.co"), False, ["reasoning"]),
        ("so a@b.co", sealed("x", "to a@b.co"), False, ["reasoning"]),
        ("so", sealed("a@b.co"), False, ["reasoning"]),  # what is shown is not what is sealed
        ("so", sealed("so"), True, []),
    ):
        answer = Answer(MASK)
        answer.say(Reasoning("r", said), seal, "x")
        assert (seal in answer.passed) is kept
        assert [one.surface for one in answer.findings] == surfaces
    blocked = Answer(BLOCK)
    blocked.say(Reasoning("r", "so"), sealed("a@b.co"))
    assert blocked.filter.is_blocked
    assert Answer(NOTE).say(sealed("a@b.co")) == [sealed("a@b.co")]


def test_logprobs_are_dropped_where_a_text_may_change():
    tokens = ({"token": "a", "logprob": 0.0},)
    for engine, kept in ((MASK, ()), (BLOCK, ()), (NOTE, tokens)):
        answer = Answer(engine)
        answer.say(Text("t", "a b ", (), tokens))
        answer.end()
        (text, _) = answer.passed
        assert isinstance(text, Text)
        assert text.logprobs == kept


def test_annotations_move_with_their_text_and_go_where_it_was_replaced():
    said = "a@b.co says x, forbidden y."
    marks = [
        {"type": "url_citation", "url": "https://z.test", "start_index": at, "end_index": end}
        for at, end in ((0, 6), (12, 13), (3, 12), (25, 26))
    ]
    answer = Answer(MASK)
    for n in range(0, len(said), 4):
        answer.say(said[n : n + 4])
    answer.say(*(Text("t", "", (mark,)) for mark in marks))
    answer.say(Text("t", "", ({"type": "file_citation", "filename": "a@b.co", "index": 3},)))
    answer.end()
    assert answer.text == "[EMAIL] says x, [REDACTED] y."
    told = [mark for one in answer.passed if isinstance(one, Text) for mark in one.annotations]
    assert [answer.text[mark["start_index"] : mark["end_index"]] for mark in told[:-1]] == [
        "x",
        "y",
    ]
    assert told[-1] == {"type": "file_citation", "filename": "[EMAIL]", "index": 3}


@cases("size", [300, 701, 20_000])
def test_annotations_move_with_what_is_dropped_because_it_cannot_be_seen(size: int):
    hidden = "\u200b" * 5_000
    said = f"forb{hidden}id{hidden}den says x, forb{hidden}ears y, a@b.co says z."
    marks = [
        {"type": "url_citation", "start_index": said.index(end) - 6, "end_index": said.index(end)}
        for end in (",", ", a", ".co", ".")
    ]
    marks[-1] = {"type": "url_citation", "start_index": len(said) - 2, "end_index": len(said) - 1}
    answer = Answer(MASK)
    for n in range(0, len(said), size):
        answer.say(said[n : n + size])
    answer.say(*(Text("t", "", (mark,)) for mark in marks))
    answer.end()
    assert answer.text.replace("\u200b", "") == "[REDACTED] says x, forbears y, [EMAIL] says z."
    told = [mark for one in answer.passed if isinstance(one, Text) for mark in one.annotations]
    assert [answer.text[mark["start_index"] : mark["end_index"]] for mark in told] == [
        "says x", "ears y", "z",
    ]  # fmt: skip


def test_what_only_watches_changes_and_holds_nothing():
    given: list[Delta] = [
        Text("t", "a@b", (), ({"token": "a"},)), Text("t", ".co"), Reasoning("r", "forbidden", sealed="x"),
        Refusal("f", "forbidden"), Stop("stop"),
    ]  # fmt: skip
    answer = Answer(NOTE)
    for delta in given:
        assert answer.say(delta) == [delta]
    assert [one.surface for one in answer.findings] == ["text", "reasoning", "refusal"]
    assert {one.outcome for one in answer.findings} == {"monitored"}


# Calls of tools


@cases(
    ("arguments", "expected"),
    [
        ('{"to": "a@b.co", "n": 1.50}', '{"to": "[EMAIL]", "n": 1.50}'),
        ('{"to": "a\\u0040b.co"}', '{"to": "[EMAIL]"}'),
        ('{"a": "x", "a": "a@b.co"}', '{"a": "x", "a": "[EMAIL]"}'),
        ('{"a@b.co": [["forbidden"]]}', '{"[EMAIL]": [["[REDACTED]"]]}'),
        ('{"to": "x"}', '{"to": "x"}'),
        ("mail a@b.co", "mail [EMAIL]"),
        ('{"to": "a@b.co', '{"to": "[EMAIL]'),
        ("", ""),
    ],
)
def test_a_call_is_held_until_it_is_whole_and_its_texts_are_searched(arguments: str, expected: str):
    answer = Answer(MASK)
    assert answer.say(call("")) == []
    for letter in arguments:
        assert answer.say(ToolCall("c", letter)) == []
    answer.end()
    assert answer.calls == [call(expected)]


def test_numbers_in_arguments_are_read_too():
    answer = Answer(compile_guardrails([spec("pii")]))
    answer.say(call('{"card": 4111111111111111, "n": 7}'))
    answer.end()
    assert answer.calls == [call('{"card": "[CARD]", "n": 7}')]


def test_calls_that_come_at_once_leave_in_their_order_and_before_what_follows():
    answer = Answer(MASK)
    answer.say(call('{"a":', "1"), call('{"b":', "2"), ToolCall("1", "1}"), ToolCall("2", "2}"))
    answer.say("Done.")
    answer.end()
    assert [type(one).__name__ for one in answer.passed] == ["ToolCall", "ToolCall", "Text", "Stop"]
    assert [one.arguments for one in answer.calls] == ['{"a":1}', '{"b":2}']
    with pytest.raises(UpstreamMalformed):
        answer.say(ToolCall("1", "more"))


def test_a_blocked_call_was_never_begun():
    answer = Answer(BLOCK)
    answer.say("Now ", call('{"to": "a@b.co"}'))
    answer.end()
    assert answer.filter.is_blocked
    assert answer.calls == []
    assert not any(isinstance(one, Stop) for one in answer.passed)


def test_a_name_that_a_model_made_up_is_searched_and_one_of_the_clients_tools_is_not():
    tools = [{"type": "function", "name": "forbidden", "parameters": {}}]
    calls = [ToolCall(name, "{}", f"c-{name}", name) for name in ("forbidden", "a forbidden one")]
    answer = Answer(words(), tools=tools)
    answer.say(*calls)
    assert [call.name for call in answer.end().calls] == ["forbidden", "a [REDACTED] one"]
    blocked = Answer(words("block"))
    blocked.say(*calls)
    assert blocked.end().calls == []


def test_calls_that_are_too_large_to_be_searched_end_the_answer():
    for engine, is_blocked in ((MASK, True), (NOTE, False)):
        answer = Answer(engine)
        answer.say(call("x" * MAX_HELD_BYTES), ToolCall("c", "y"), ToolCall("c", "z"))
        assert answer.filter.is_blocked is is_blocked
        assert "".join(one.arguments for one in answer.calls)[-2:] == ("" if is_blocked else "yz")


@cases(
    ("config", "rule"),
    [
        ({"denied_functions": ["send"]}, "denied_functions"),
        ({"allowed_functions": ["read"]}, "allowed_functions"),
        ({"max_arguments_bytes": 3}, "max_arguments_bytes"),
        ({"allowed_functions": ["send"], "max_arguments_bytes": 8}, None),
    ],
)
def test_calls_of_tools_may_be_denied(config: dict[str, Any], rule: str | None):
    tools: list[dict[str, Any]] = [
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "send"}]},
        {"type": "function", "name": "send"},
    ]
    for name in ("send", "n__send"):
        answer = Answer(compile_guardrails([spec("tools", "block", config=config)]), tools=tools)
        answer.say(call('{"a": 1}', name=name))
        answer.end()
        assert answer.filter.is_blocked is bool(rule)
        assert [one.rule for one in answer.findings] == ([rule] if rule else [])


def test_items_of_a_providers_own_tools_are_searched_in_all_their_texts():
    item = {"type": "mcp_call", "id": "m", "name": "f", "server_label": "s", "output": "a@b.co"}
    answer = Answer(MASK)
    answer.say(Opaque("o", item), Opaque("p", {"type": "brand_new", "x": ["forbidden"]}))
    shown = [one.item for one in answer.passed if isinstance(one, Opaque)]
    assert shown == [{**item, "output": "[EMAIL]"}, {"type": "brand_new", "x": ["[REDACTED]"]}]
    denied = Answer(compile_guardrails([spec("tools", config={"denied_servers": ["s"]})]))
    denied.say(Opaque("o", item))
    assert denied.filter.is_blocked


# Blocks


@cases("at", range(12))
def test_nothing_of_what_is_blocked_is_let_go(at: int):
    answer, said = Answer(BLOCK), "well, forbidden things"
    answer.say(said[:at], *said[at:])
    answer.end()
    assert answer.filter.is_blocked
    assert "f" not in answer.text
    assert [(one.rule, one.outcome, one.start) for one in answer.findings] == [
        ("terms", "blocked", 6)
    ]


# Masks of the request


def test_masks_are_put_back_into_texts_and_calls_and_nowhere_else():
    masks = Masks()
    for value in ("a@b.co", 'say "hi"'):
        masks.mask("EMAIL", value)
    answer = Answer(compile_guardrails([spec("terms", config={"terms": ["x"]})]), masks)
    answer.say(*"To [EMAIL_1], [EMAIL_3] or [email_1]: [EMAIL", "_2]!", call('{"to": "[EMAIL_2]"}'))
    answer.say(Opaque("o", {"type": "mcp_call", "arguments": "[EMAIL_1]"}))
    answer.end()
    assert answer.text == 'To a@b.co, [EMAIL_3] or [email_1]: say "hi"!'
    assert json.loads(answer.calls[0].arguments) == {"to": 'say "hi"'}
    assert [one.item for one in answer.passed if isinstance(one, Opaque)] == [
        {"type": "mcp_call", "arguments": "[EMAIL_1]"}
    ]


def test_annotations_move_once_more_when_masks_are_put_back():
    masks = Masks()
    masks.mask("EMAIL", "somebody@example.com")
    answer = Answer(compile_guardrails([spec("pii")]), masks)
    mark = {"type": "url_citation", "start_index": 17, "end_index": 18}
    answer.say("[EMAIL_1] a@b.co x", Text("t", "", (mark,)))
    answer.end()
    assert answer.text == "somebody@example.com [EMAIL] x"
    (moved,) = [one for text in answer.passed if isinstance(text, Text) for one in text.annotations]
    assert answer.text[moved["start_index"] : moved["end_index"]] == "x"


# Verdicts of others


@dataclass
class Judge:
    """A judge that says yes, but for the texts with `bad`, and rewrites `old`."""

    holds_all: bool = False
    asked: list[OutputSegment] = field(default_factory=list)
    lasts: list[bool] = field(default_factory=list)
    outcome: Any = "blocked"

    async def judge(self, segments: tuple[OutputSegment, ...], *, is_last: bool) -> OutputVerdict:
        self.asked += segments
        self.lasts.append(is_last)
        texts = tuple(one.text.replace("old", "new") for one in segments)
        bad = any("bad" in one.text for one in segments)
        findings = (
            (GuardrailFinding(spec("webhook"), "", "output", "text", self.outcome),) if bad else ()
        )
        return OutputVerdict(findings, texts)


def judged(engine: Engine, judge: Judge, *deltas: Delta | str) -> Answer:
    answer = Answer(engine, judge=judge)
    for delta in deltas:
        answer.say(delta)
        while answer.filter.is_waiting:
            answer.passed += asyncio.run(answer.filter.verdict())
    return answer


OUTSIDE = compile_guardrails([spec("webhook", "block"), spec("pii", number=2)])


def test_a_window_is_held_until_its_verdict_and_overlaps_the_one_before():
    judge = Judge()
    text = "".join(f"w{number:03d} " for number in range(300))
    answer = judged(
        OUTSIDE, judge, *[text[at : at + 50] for at in range(0, 1_500, 50)], Stop("stop")
    )
    assert answer.text == text
    assert [one.seen for one in judge.asked] == [0, 200]
    assert judge.asked[1].text[:200] == text[:1_500][len(judge.asked[0].text) - 200 :][:200]
    assert judge.lasts == [False, True]


def test_a_whole_answer_is_judged_once_and_may_be_written_anew():
    judge = Judge(holds_all=True)
    answer = judged(
        OUTSIDE,
        judge,
        "an old",
        " story, a@b.co",
        Reasoning("r", "old"),
        Reasoning("r", "", sealed="of the old"),
        Reasoning("s", "", sealed="of another"),
        call('{"x": "old"}'),
        Stop("stop"),
    )
    assert answer.text == "an new story, [EMAIL]"
    seals = [one.sealed for one in answer.passed if isinstance(one, Reasoning) and one.sealed]
    assert seals == ["of another"]
    assert (answer.thought, answer.calls[0].arguments) == ("new", '{"x": "new"}')
    assert [one.text for one in judge.asked] == ["an old story, [EMAIL]", "old", '{"x": "old"}']
    assert judge.lasts == [True]


def test_what_a_verdict_refuses_is_dropped_and_an_outage_is_no_block():
    answer = judged(OUTSIDE, Judge(), "this is bad", Stop("stop"))
    assert answer.filter.is_blocked
    assert answer.passed == []
    with pytest.raises(GuardrailUnavailable):
        judged(OUTSIDE, Judge(outcome="unavailable"), "this is bad", Stop("stop"))
    skipped = judged(OUTSIDE, Judge(outcome="skipped"), "this is bad", Stop("stop"))
    assert skipped.text == "this is bad"
