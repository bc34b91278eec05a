"""Conditions of targets: a closed set of words, refused when they are saved, not when a call comes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from routing.policy import conditions
from routing.policy.facts import CallFacts
from tests.plugins.cases import cases

FACTS = CallFacts(
    route="chat",
    stream=True,
    key="0123456789",
    tags={"team": "search", "tier": "gold"},
    input_tokens=5_000,
    needs=frozenset({"vision", "tools"}),
    reasoning_effort="high",
    budget_used_percent=80,
)


@cases(
    ("when", "unmet"),
    [
        ({"route": "chat"}, ""),
        ({"route": {"eq": "responses"}}, "route"),
        ({"route": {"in": ["responses", "chat"]}}, ""),
        ({"route": ["responses"]}, "route"),
        ({"stream": True}, ""),
        ({"stream": False}, "stream"),
        ({"tags.team": "search"}, ""),
        ({"tags.team": {"in": ["ads", "search"]}, "tags.tier": "silver"}, "tags.tier"),
        ({"tags.other": "search"}, "tags.other"),
        ({"key": "0123456789"}, ""),
        ({"key": ["9876543210"]}, "key"),
        ({"input_tokens": {"gte": 5_000, "lte": 5_000}}, ""),
        ({"input_tokens": {"gte": 5_001}}, "input_tokens"),
        ({"input_tokens": {"lte": 4_999}}, "input_tokens"),
        ({"needs": "vision"}, ""),
        ({"needs": ["tools", "vision"]}, ""),
        ({"needs": ["vision", "files"]}, "needs"),
        ({"reasoning_effort": {"in": ["high", "xhigh"]}}, ""),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"budget_used_percent": {"gte": 80}}, ""),
        ({"budget_used_percent": {"gte": 81}}, "budget_used_percent"),
    ],
)
def test_all_conditions_must_hold(when: Any, unmet: str) -> None:
    read = conditions.read(when)
    assert read is not None
    assert read.unmet(FACTS) == unmet


@cases("word", ["input_tokens", "budget_used_percent"])
def test_what_is_not_known_is_not_as_demanded(word: str) -> None:
    read = conditions.read({word: {"gte": 1}})
    assert read is not None
    assert read.unmet(structs.replace(FACTS, **{word: None})) == word


@cases(
    ("when", "told"),
    [
        ([], "must be an object"),
        ({"model": "x"}, "Unknown condition 'model'"),
        ({"tags.": "x"}, "Unknown condition 'tags.'"),
        ({"tags": {"team": "x"}}, "Unknown condition 'tags'"),
        ({"stream": "yes"}, "stream is true or false"),
        ({"route": ""}, "texts of 1 to"),
        ({"route": []}, "1 to 50 values"),
        ({"route": ["a"] * 51}, "1 to 50 values"),
        ({"route": {"eq": "a", "in": ["b"]}}, "either eq or in"),
        ({"route": {"not": "a"}}, "does not know 'not'"),
        ({"route": {}}, "either eq or in"),
        ({"needs": ["sound"]}, "Unknown need 'sound'"),
        ({"input_tokens": 5}, "takes an object with gte or lte"),
        ({"input_tokens": {"gte": True}}, "whole numbers"),
        ({"input_tokens": {"gte": -1}}, "whole numbers"),
        ({"input_tokens": {"gte": 6, "lte": 5}}, "never hold"),
        ({"budget_used_percent": {"gte": 100}}, "from 1 to 99"),
        ({"budget_used_percent": {"lte": 50}}, "does not know 'lte'"),
    ],
)
def test_what_is_not_understood_is_refused_in_words(when: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told.replace(".", r"\.")):
        conditions.read(when)


def test_no_conditions_mean_every_call() -> None:
    assert conditions.read({}) is None
