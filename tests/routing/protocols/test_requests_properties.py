"""Any conversation is told in the upstream's form, or refused by name; nothing in between."""

from __future__ import annotations

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_project.lib.errors import BadRequest
from routing.protocols.shared import envelope
from routing.protocols.shared.conversation import CALLS, OUTPUTS, kind_of
from tests.plugins.tiers import examples
from tests.support.requests import ask, check, sent, target

WORDS = st.text(alphabet="ab \n\u2028é\ud7ff", max_size=6)
CALL_IDS = st.sampled_from(["c1", "c2", "f:3", "x" * 70])
NAMES = st.sampled_from(["f", "g.h", "n" * 70])
SEALED = {"type": "thinking", "thinking": "Hm.", "signature": "s"}


def messages(role):
    kind = "output_text" if role == "assistant" else "input_text"
    part = st.fixed_dictionaries({"type": st.just(kind), "text": WORDS})
    content = st.one_of(WORDS, st.lists(part, max_size=3))
    return st.fixed_dictionaries(
        {"type": st.just("message"), "role": st.just(role), "content": content}
    )


def calls(kind, field):
    arguments = st.one_of(WORDS, st.just('{"a": 1}'))
    return st.fixed_dictionaries(
        {"type": st.just(kind), "call_id": CALL_IDS, "name": NAMES, field: arguments},
        optional={"namespace": NAMES},
    )


OUTPUT = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(OUTPUTS)), "call_id": CALL_IDS, "output": WORDS}
)
THOUGHT = st.fixed_dictionaries(
    {"type": st.just("reasoning"), "summary": st.just([])},
    optional={
        "encrypted_content": st.sampled_from(
            ["gAAAA", *(envelope.pack("anthropic", name, SEALED) for name in ("acme", "other"))]
        )
    },
)
ITEM = st.one_of(
    *map(messages, ("user", "assistant", "system", "developer")),
    calls("function_call", "arguments"),
    calls("custom_tool_call", "input"),
    OUTPUT,
    THOUGHT,
)


def completed(items: list[dict]) -> list[dict]:
    """The conversation with every call answered in the end, and no other outputs."""
    made: list[dict] = []
    waiting: list[str] = []
    for item in items:
        if item.get("call_id") in waiting and kind_of(item) in CALLS:
            continue
        if kind_of(item) in OUTPUTS and item["call_id"] not in waiting:
            continue
        if kind_of(item) in CALLS:
            waiting.append(item["call_id"])
        if kind_of(item) in OUTPUTS:
            waiting.remove(item["call_id"])
        made.append(item)
    return made + [
        {"type": "function_call_output", "call_id": call_id, "output": "x"} for call_id in waiting
    ]


def refused_param(body: dict, protocol: str) -> str:
    """The field a refusal names; empty if there is none."""
    try:
        sent("responses", body, target(protocol))
    except BadRequest as refused:
        return refused.param or "nothing"
    return ""


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@settings(max_examples=examples(300))
@given(st.lists(ITEM, max_size=12), st.sampled_from(["claude-haiku-4-5", "claude-opus-5"]))
def test_a_whole_conversation_is_told_to_anthropic(items, model) -> None:
    body = ask(input=completed(items), reasoning={"effort": "low"})
    if refused := refused_param(body, "anthropic"):
        # Nothing was said: not by the user, and by the assistant only what is left out.
        assert refused == "input"
        assert {item.get("role", "assistant") for item in items} <= {"assistant"}
        return
    check("anthropic", sent("responses", body, target("anthropic", model=model)))


@settings(max_examples=examples(300))
@given(st.lists(ITEM, max_size=12), st.booleans())
def test_a_whole_conversation_is_told_to_chat(items, strict) -> None:
    whole = [
        {**item, "arguments": item["arguments"] if is_json(item["arguments"]) else "{}"}
        if "arguments" in item
        else item
        for item in completed([{"role": "user", "content": "Hi"}, *items])
    ]
    to = target("chat", strict_alternation=strict)
    made = sent("responses", ask(input=whole), to)
    check("chat", made)
    if strict:
        roles = [message["role"] for message in made["messages"]]
        assert "system" not in roles[1:]
        assert re.search("user user", " ".join(roles)) is None


@settings(max_examples=examples(300))
@given(st.lists(ITEM, max_size=8), st.sampled_from(["anthropic", "chat"]))
def test_a_broken_conversation_is_refused_by_the_name_of_a_call(items, protocol) -> None:
    body = ask(input=[{"role": "user", "content": "Hi"}, *items])
    assert re.fullmatch(r"|input\[\d+\]\.call_id", refused_param(body, protocol))
