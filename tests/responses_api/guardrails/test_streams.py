"""Through every door and over every protocol: what a client sees of a stream is what it sees of a whole
answer, redacted; a block ends both in the door's own words."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from gateway_project.lib.errors import UnsupportedParameter
from gateway_project.lib.sse import Parser
from gateway_project.sandbox import protocols as sandbox
from gateway_project.sandbox.ask import Offer
from gateway_project.sandbox.frames import StreamTally
from gateway_project.sandbox.plan import AnswerPlan, ScriptedUsage, ToolUse
from gateway_project.sandbox.stamp import Stamp
from responses_api.doors.plan import Plan
from responses_api.doors.registry import BRIDGES, DOORS
from responses_api.doors.shapes import Compaction
from responses_api.guardrails.engine import Engine
from responses_api.guardrails.masks import Masks
from responses_api.stream.translation import Translation
from responses_api.stream.upstream_reader import Identity
from routing.protocols import PROTOCOLS
from tenants.token_classes import Usage
from tests.plugins.cases import cases
from tests.plugins.tiers import examples
from tests.responses_api.doors.speakers import SPEAKERS
from tests.responses_api.guardrails.engines import BITS, as_whole, every_kind, torn, words
from tests.support import chat_grammar, grammar
from tests.support.client import events_in
from tests.support.targets import target

Json = dict[str, Any]
ENGINE = every_kind()
PAIRS = [(door, protocol) for door in ("chat", "responses") for protocol in PROTOCOLS]
USAGE = ScriptedUsage(10, 20)
SEND = {"type": "function", "name": "send", "parameters": {"type": "object", "properties": {}}}


@dataclass(frozen=True, slots=True)
class Torn(AnswerPlan):
    """An answer in given pieces."""

    cut: tuple[str, ...] = ()

    def pieces(self) -> Any:
        return iter(self.cut)


def plan_of(door: str, protocol: str, engine: Engine, *, stream: bool, **fields: Any) -> Plan:
    body = {"model": "m", "stream": stream, **SPEAKERS[door].ask("Hi"), **fields}
    call = DOORS[door].decode(orjson.dumps(body), None)  # type: ignore[arg-type]
    guard = engine.output_guard(Masks(), lambda finding: None)
    call = structs.replace(call, guard=guard)
    identity = Identity(DOORS[door].new_id(), "m", 1)
    return BRIDGES[door, protocol].plan(call, target(protocol), identity, drop_unsupported=True)


def upstream(protocol: str) -> sandbox.Protocol:
    return sandbox.PROTOCOLS["/v1" + PROTOCOLS[protocol].path]


def streamed(plan: Plan, protocol: str, answer: AnswerPlan, seed: int) -> tuple[bytes, Translation]:
    """Return what a client gets of a stream whose bytes come in pieces cut anywhere."""
    events = upstream(protocol).events
    assert events is not None
    frames = events(plan.body, answer, Stamp("x", 1, "m"), StreamTally())
    raw = b"".join(frame for frame in frames if isinstance(frame, bytes))
    chance, parser, at = random.Random(seed), Parser(), 0
    reader = plan.guarded
    assert isinstance(reader, Translation)
    out = []
    while at < len(raw) and not (reader.ended or reader.is_blocked):
        size = chance.choice([1, 7, 60, 400])
        out.append(reader.forward(parser.feed(raw[at : at + size])))
        at += size
    if reader.is_blocked:
        out.append(reader.end_blocked(Usage(input_fresh=3), as_stream=True))
    elif not reader.ended:
        out.append(reader.finish())
    assert reader.failure is None
    return b"".join(out), reader


def whole(plan: Plan, protocol: str, answer: AnswerPlan) -> Json:
    reader = plan.guarded
    assert isinstance(reader, Translation)
    raw = upstream(protocol).answer(plan.body, answer, Stamp("x", 1, "m"))
    out = reader.body(orjson.dumps(raw))
    if reader.is_blocked:
        out = reader.end_blocked(reader.meter.usage or Usage(), as_stream=False)
    made: Json = orjson.loads(out)
    return made


def check_grammar(door: str, stream: bytes) -> None:
    if door == "responses":
        grammar.check_stream(stream)
    else:
        chat_grammar.check(chat_grammar.read(stream))


TEXTS = st.lists(st.sampled_from(BITS), min_size=1, max_size=10).map("".join)


@settings(max_examples=examples(300))
@given(TEXTS, st.integers(0, 2**32))
def test_a_stream_is_redacted_as_the_whole_answer(text: str, seed: int):
    expected = as_whole(ENGINE, text)[0]
    for door, protocol in PAIRS:
        answer = Torn(text, USAGE, cut=tuple(torn(text, seed)))
        stream, _ = streamed(plan_of(door, protocol, ENGINE, stream=True), protocol, answer, seed)
        told = whole(plan_of(door, protocol, ENGINE, stream=False), protocol, answer)
        said = SPEAKERS[door].read_stream(events_in(stream))
        assert said == SPEAKERS[door].read(told), (door, protocol)
        assert said[0] == expected, (door, protocol)


@cases(("door", "protocol"), PAIRS)
def test_reasoning_calls_and_texts_of_a_stream_are_searched(door: str, protocol: str):
    answer = Torn(
        "so forbidden.",
        USAGE,
        reasoning="think a@b.co",
        tools=(ToolUse(Offer("send"), '{"to": "a@b.co"}'),),
        stop="tool_calls",
        cut=tuple("so forbidden."),
    )
    tool = SEND if door == "responses" else {"type": "function", "function": {"name": "send"}}
    for seed in range(3):
        plan = plan_of(door, protocol, words(), stream=True, tools=[tool])
        stream, _ = streamed(plan, protocol, answer, seed)
        check_grammar(door, stream)
        assert b"a@b" not in stream
        assert b"forbidden" not in stream
        assert b"[REDACTED]" in stream
        assert orjson.dumps('{"to": "[EMAIL]"}')[1:-1] in stream


@cases(("door", "protocol"), PAIRS)
@cases("lead", ["", "Well, this is "])
def test_a_block_ends_a_stream_in_the_doors_own_words(door: str, protocol: str, lead: str):
    said = f"{lead}forbidden, and more."
    answer = Torn(said, USAGE, cut=tuple(torn(said, 4)))
    for seed in range(4):
        plan = plan_of(door, protocol, words("block"), stream=True)
        stream, reader = streamed(plan, protocol, answer, seed)
        check_grammar(door, stream)
        assert (reader.is_blocked, reader.ended, reader.status) == (True, True, "incomplete")
        assert b"forbidden" not in stream
        assert b"more" not in stream
        events = events_in(stream)
        told = SPEAKERS[door].read_stream(events)[0] if door == "responses" else _content(events)
        assert (lead + "f").startswith(told)
        assert reader.answer() is not None
        if door == "responses":
            last = events[-1]["response"]
            assert events[-1]["type"] == "response.incomplete"
            assert last["incomplete_details"] == {"reason": "content_filter"}
            assert last == reader.answer()
        else:
            reasons = [one["finish_reason"] for event in events for one in event["choices"]]
            assert reasons[-1] == "content_filter"
            assert stream.endswith(b"data: [DONE]\n\n")


def _content(events: list[Json]) -> str:
    deltas = (choice["delta"] for chunk in events for choice in chunk["choices"])
    return "".join(delta.get("content") or "" for delta in deltas)


@cases(("door", "protocol"), PAIRS)
def test_a_block_of_a_whole_answer_says_the_same(door: str, protocol: str):
    answer = Torn("all forbidden", USAGE)
    told = whole(plan_of(door, protocol, words("block"), stream=False), protocol, answer)
    assert "forbidden" not in str(told)
    if door == "responses":
        assert told["status"] == "incomplete"
        assert told["incomplete_details"] == {"reason": "content_filter"}
        assert told["usage"]["output_tokens"] == 20
    else:
        assert told["choices"][0]["finish_reason"] == "content_filter"
        assert told["usage"]["completion_tokens"] == 20


@cases(("door", "protocol"), PAIRS)
def test_without_a_guardrail_of_answers_a_call_goes_as_it_went(door: str, protocol: str):
    body = {"model": "m", "stream": True, **SPEAKERS[door].ask("Hi")}
    call = DOORS[door].decode(orjson.dumps(body), None)  # type: ignore[arg-type]
    identity = Identity(DOORS[door].new_id(), "m", 1)
    plan = BRIDGES[door, protocol].plan(call, target(protocol), identity, drop_unsupported=True)
    assert plan.guarded is None
    native = DOORS[door].native
    is_relayed = native is not None and native.protocol.name == protocol
    assert isinstance(plan.reader, Translation) is not is_relayed


def test_an_answer_that_no_translation_holds_is_refused():
    for fields in ({"n": 2}, {"modalities": ["text", "audio"]}):
        with pytest.raises(UnsupportedParameter):
            plan_of("chat", "chat", ENGINE, stream=True, **fields)


def test_a_summary_is_searched_before_it_is_sealed():
    sealed: list[str] = []

    def seal(summary: str) -> str:
        sealed.append(summary)
        return "sealed"

    call = DOORS["compact"].decode(b'{"model": "m", "input": "Hi"}', None)  # type: ignore[arg-type]
    guard = words().output_guard(Masks(), lambda finding: None)
    call = structs.replace(call, guard=guard, compaction=Compaction(seal, []))
    for protocol in PROTOCOLS:
        bridge = BRIDGES["compact", protocol].fitting(call)
        assert bridge.path == PROTOCOLS[protocol].path
        plan = bridge.plan(call, target(protocol), Identity("r", "m", 1), drop_unsupported=True)
        raw = upstream(protocol).answer(plan.body, Torn("of a@b.co", USAGE), Stamp("x", 1, "m"))
        plan.reader.body(orjson.dumps(raw))
    assert sealed == ["of [EMAIL]"] * len(PROTOCOLS)
