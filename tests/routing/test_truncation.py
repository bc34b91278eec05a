"""Truncation: what of a conversation is sent where it is longer than the model's context window."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_project.lib.errors import ContextLengthExceeded
from routing import tokens, truncation
from routing.protocols.shared.conversation import kind_of
from tests.plugins.cases import cases
from tests.plugins.tiers import examples
from tests.support import requests

LONG = "word " * 100


def target(window, protocol="chat", limit=None):
    return replace(requests.target(protocol, limit=limit), context_window=window)


def fitted(items, window, *, truncation_="auto", to="chat", limit=None, **fields):
    body = {"input": items, "truncation": truncation_, **fields}
    return truncation.fit_to_window(body, target(window, to, limit))["input"]


def said(role, text=LONG):
    return {"type": "message", "role": role, "content": text}


def call(call_id, kind="function_call"):
    return {"type": kind, "call_id": call_id, "name": "f", "arguments": LONG}


def output(call_id, kind="function_call_output"):
    return {"type": kind, "call_id": call_id, "output": LONG}


THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": LONG}]}
# Each item has some hundred tokens.
CONVERSATION = [
    said("system"),
    said("user"),
    said("assistant"),
    said("user"),
    THOUGHT,
    call("a"),
    call("b"),
    output("a"),
    output("b"),
    said("assistant"),
    said("user"),
]


def test_a_model_whose_window_is_unknown_is_not_checked() -> None:
    body = {"input": [said("user", "word " * 100_000)]}
    assert truncation.fit_to_window(body, target(None)) is body


@cases("mode", ["auto", "disabled", None])
def test_what_fits_is_sent_as_it_is(mode) -> None:
    body = {"input": CONVERSATION, "truncation": mode}
    assert truncation.fit_to_window(body, target(2000)) is body


@cases("mode", ["auto", "disabled"])
def test_what_fits_by_its_bytes_is_never_counted(mode, monkeypatch) -> None:
    monkeypatch.setattr(tokens, "_counts", None)
    body = {"input": CONVERSATION, "truncation": mode}
    assert truncation.is_short(body, target(10_000))
    assert truncation.fit_to_window(body, target(10_000)) is body


def test_disabled_refuses_what_is_longer_than_the_window() -> None:
    with pytest.raises(ContextLengthExceeded) as refused:
        fitted(CONVERSATION, 500, truncation_="disabled")
    assert refused.value.body()["error"] == {
        "message": "The input is longer than the context window of this model, 500 tokens: shorten it, "
        "or set 'truncation' to 'auto'.",
        "type": "invalid_request_error",
        "param": "input",
        "code": "context_length_exceeded",
    }
    with pytest.raises(ContextLengthExceeded):
        fitted([said("user", "Hi")], 50, truncation_=None, instructions=LONG)


def test_disabled_leaves_to_the_provider_what_only_allowances_make_too_long() -> None:
    images = [{"type": "input_image", "image_url": "https://x.test/a.png"}] * 10
    items = [said("user", images)]
    assert fitted(items, 1000, truncation_="disabled") == items


def test_the_oldest_turns_are_left_out_first() -> None:
    turns = [said(role, f"{n} {LONG}") for n in range(10) for role in ("user", "assistant")]
    turns.append(said("user", "And now?"))
    kept = fitted(turns, 1000)
    assert kept == turns[-len(kept) :]
    assert kept[0]["role"] == "user"
    assert len(kept) == 9


def test_instructions_that_open_the_conversation_stay() -> None:
    assert fitted(CONVERSATION, 300) == [CONVERSATION[0], CONVERSATION[-1]]


def test_tools_that_the_input_brings_stay_wherever_they_stand() -> None:
    tools = {"type": "additional_tools", "tools": [{"type": "function", "name": "f"}]}
    opened = [tools, said("developer", "Hi"), *CONVERSATION[1:3], tools, said("user", "So?")]
    assert fitted(opened, 150) == [tools, opened[1], tools, opened[-1]]


def test_a_cut_lies_before_the_user_and_not_between_a_call_and_its_output() -> None:
    kept = fitted(CONVERSATION, 1100)
    assert kept == [CONVERSATION[0], *CONVERSATION[3:]]
    assert fitted(CONVERSATION, 700) == [CONVERSATION[0], CONVERSATION[-1]]


def test_what_a_user_says_at_once_stays_together() -> None:
    at_once = [said("user", "These are my files."), said("developer", "Be brief."), said("user")]
    items = [said("user"), said("assistant"), *at_once, call("a"), output("a")]
    assert fitted(items, 450) == items[2:]


def test_the_newest_turn_is_never_cut() -> None:
    newest = [said("user"), call("a"), output("a"), call("b"), output("b")]
    assert fitted([said("user"), said("assistant"), *newest], 580) == newest
    with pytest.raises(ContextLengthExceeded, match="The newest turn is longer") as refused:
        fitted([said("user"), said("assistant"), *newest], 300)
    assert refused.value.param == "input"


def test_a_newest_turn_that_leaves_little_room_is_left_to_the_provider() -> None:
    items = [said("user"), said("assistant"), said("user")]
    assert fitted(items, 150, max_output_tokens=70) == items[-1:]


def test_a_user_who_speaks_while_a_call_runs_is_no_place_to_cut() -> None:
    items = [said("user"), call("a"), said("user", "Hurry!"), output("a"), said("user", "Well?")]
    assert fitted(items, 350) == items[-1:]
    assert fitted(items[:-1], 350) == items[:-1]


def test_a_conversation_without_a_user_is_cut_between_its_steps() -> None:
    steps = [THOUGHT, call("a"), output("a"), THOUGHT, call("b"), output("b")]
    assert fitted(steps, 400) == steps[3:]


def test_ids_of_calls_may_come_again() -> None:
    turn = [said("user"), call("call_0"), output("call_0"), said("assistant")]
    assert fitted([*turn, *turn, *turn], 600) == turn


def test_an_approval_belongs_to_its_request() -> None:
    items = [
        said("user"),
        {"type": "mcp_approval_request", "id": "mcpr_1", "name": "f", "arguments": LONG},
        said("user", "Hm."),
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True},
    ]
    assert fitted(items, 400, max_output_tokens=200) == items


@cases(("fields", "limit"), [({"max_output_tokens": 500}, None), ({}, 500), ({}, 2**31)])
def test_what_is_cut_leaves_room_for_the_answer(fields, limit) -> None:
    turns = [said(role) for _ in range(10) for role in ("user", "assistant")]
    turns.append(said("user", "And now?"))
    assert len(fitted(turns, 2000)) == 17
    assert len(fitted(turns, 2000, limit=limit, **fields)) == (13 if limit != 2**31 else 9)


def test_more_is_cut_where_the_vendor_makes_more_tokens_of_a_text() -> None:
    turns = [said(role) for _ in range(10) for role in ("user", "assistant")]
    turns.append(said("user", "And now?"))
    sizes = [len(fitted(turns, 2000, to=to)) for to in ("anthropic", "chat", "responses")]
    assert sizes == [13, 17, 19]


# Any conversation

TEXT = st.sampled_from(["Hi", "word " * 30, "word " * 200])
IDS = st.sampled_from(["c0", "c1", "c2"])
STEP = st.one_of(
    st.builds(said, st.sampled_from(["user", "user", "assistant", "developer", "system"]), TEXT),
    st.just(THOUGHT),
    st.builds(call, IDS, st.sampled_from(["function_call", "custom_tool_call", "shell_call"])),
    IDS,  # an output, if such a call is waiting
)


def conversation(steps) -> list[dict]:
    """Items in which every output has its call before it, each with a number of its own."""
    items: list[dict] = []
    waiting: dict[str, str] = {}
    for step in steps:
        if isinstance(step, str):
            if step in waiting:
                items.append(output(step, waiting.pop(step) + "_output"))
        elif step.get("call_id") not in waiting:
            items.append(dict(step))
            if "call_id" in step:
                waiting[step["call_id"]] = step["type"]
    items += [output(call_id, f"{kind}_output") for call_id, kind in waiting.items()]
    return [{**item, "id": str(number)} for number, item in enumerate(items)]


def pairs(items) -> list[tuple[str, str]]:
    """The numbers of each call and its output."""
    asked: dict[str, str] = {}
    found = []
    for item in items:
        if str(item.get("type")).endswith("_output"):
            found.append((asked[item["call_id"]], item["id"]))
        elif "call_id" in item:
            asked[item["call_id"]] = item["id"]
    return found


def is_models(item) -> bool:
    return kind_of(item) == "reasoning" or "name" in item or item.get("role") == "assistant"


@settings(max_examples=examples(400))
@given(st.lists(STEP, max_size=30).map(conversation), st.integers(50, 3000))
def test_no_call_loses_its_output_and_no_thought_what_it_led_to(items, window) -> None:
    body = {"input": items, "truncation": "auto"}
    try:
        kept = truncation.fit_to_window(body, target(window))["input"]
    except ContextLengthExceeded:
        return
    numbers = {item["id"] for item in kept}
    assert kept == [item for item in items if item["id"] in numbers]
    for asked, answered in pairs(items):
        assert (asked in numbers) == (answered in numbers)
    for before, item in pairwise(items):
        if kind_of(before) == "reasoning" and is_models(item):
            assert (before["id"] in numbers) == (item["id"] in numbers)
    users = [item for item in items if item.get("role") == "user"]
    if users:
        assert users[-1] in kept
        assert kept[-1] == items[-1]
    instructing = {"system", "developer"}
    opening = next((n for n, i in enumerate(items) if i.get("role") not in instructing), len(items))
    assert kept[:opening] == items[:opening]


@settings(max_examples=examples(200))
@given(st.lists(STEP, max_size=30).map(conversation), st.integers(50, 3000))
def test_what_was_cut_is_not_cut_again(items, window) -> None:
    body = {"input": items, "truncation": "auto"}
    try:
        cut = truncation.fit_to_window(body, target(window))
    except ContextLengthExceeded:
        return
    assert truncation.fit_to_window(cut, target(window)) == cut
