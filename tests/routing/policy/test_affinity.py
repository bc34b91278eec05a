"""Affinity: calls that begin alike have one number, and it is remembered who answered them last."""

from __future__ import annotations

from typing import Any

from routing.policy.affinity import (
    MAX_TEXT,
    NOTHING,
    AffinityMemory,
    key_of_beginning,
    key_of_name,
)

TOOLS = [{"type": "function", "name": "look_up"}]


def of(body: dict[str, Any], tenant: int = 1, alias: str = "m") -> int:
    return key_of_beginning(tenant, alias, body)


def chat(*messages: tuple[str, str], **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in messages], **fields}


def test_a_conversation_that_grows_begins_alike() -> None:
    first = chat(("system", "Be brief."), ("user", "Hi"))
    later = chat(
        ("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "And now?")
    )
    assert of(first) == of(later)


def test_a_text_begins_as_the_item_that_is_made_of_it() -> None:
    item = {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    answer = {"role": "assistant", "content": "Hello"}
    said = {"instructions": "Be brief.", "input": "Hi"}
    assert of(said) == of({**said, "input": [item, answer, {"role": "user", "content": "More"}]})


def test_what_differs_at_the_beginning_makes_another_number() -> None:
    body: dict[str, Any] = {"instructions": "Be brief.", "input": "Hi", "tools": TOOLS}
    others = [
        {**body, "instructions": "Be long."},
        {**body, "input": "Hello"},
        {**body, "tools": [{"type": "function", "name": "other"}]},
        {"input": "Hi"},
    ]
    found = {of(body), *(of(other) for other in others), of(body, tenant=2), of(body, alias="n")}
    assert len(found) == len(others) + 3
    assert 0 not in found


def test_names_of_tenants_and_aliases_are_apart() -> None:
    found = {key_of_name(tenant, alias, "s") for tenant in (1, 2) for alias in ("m", "n")}
    assert len(found) == 4


def test_only_the_beginning_of_long_texts_counts() -> None:
    assert of({"input": "x" * MAX_TEXT}) == of({"input": "x" * MAX_TEXT + "y"})
    parts = [{"type": "input_text", "text": "x" * 10_000_000}]
    assert of({"input": [{"role": "user", "content": parts}]})


def test_any_body_has_a_number() -> None:
    odd: list[Any] = [
        {}, {"input": None}, {"input": [1, None, {"role": "user"}]}, {"messages": [[]]},
        {"input": "\ud800"}, {"tools": [1, {"function": 2}], "input": [{"role": "user", "content": 3}]},
    ]  # fmt: skip
    assert all(of(body) for body in odd)


def test_a_success_is_remembered_for_its_time_and_the_oldest_is_forgotten() -> None:
    memory = AffinityMemory(most=2)
    memory.remember(1, "a", 10, 100.0)
    memory.remember(2, "b", 20, 101.0)
    assert memory.recall(1, 699.0, 600).lane_id == "a"
    assert memory.recall(1, 700.0, 600) is NOTHING
    memory.remember(1, "c", 10, 102.0)
    memory.remember(3, "d", 30, 103.0)
    assert [memory.recall(key, 104.0, 600).lane_id for key in (1, 2, 3)] == ["c", "", "d"]
    assert len(memory) == 2
