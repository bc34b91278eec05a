"""Counting tokens: as the tokenizer counts, without any connection, and never more than the bound."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.lib.errors import BadRequest
from routing import tokens
from tests.plugins.cases import cases

ROOT = Path(__file__).resolve().parents[2]
# Numbers of OpenAI's own tokenizer.
KNOWN = {
    "": 0,
    "hello world": 2,
    "tiktoken is great!": 6,
    "お誕生日おめでとう": 8,
    "antidisestablishmentarianism": 6,
    "2 + 2 = 4": 7,
}


@cases("text", KNOWN)
def test_a_text_has_the_tokens_of_o200k(text) -> None:
    assert tokens.count(text) == KNOWN[text]


def test_names_of_special_tokens_are_plain_text() -> None:
    assert tokens.count("<|endoftext|>") == 7


@cases(
    "odd", ["\0", "a\ud800b", "\udfff", "\U0010ffff", b"\xff\xfe", "\u202e", "e\u0301", "👨‍👩‍👧"]
)
def test_any_text_can_be_counted(odd) -> None:
    assert tokens.count(odd) > 0


@given(st.text(st.characters(codec=None)))
def test_no_text_has_more_tokens_than_bytes(text) -> None:
    assert tokens.count(text) <= len(text.encode(errors="replace"))


@cases("word", ["a", "ab ", "\n", "é", "{}", "x1"])
def test_a_long_text_is_counted_in_pieces_that_hardly_show(word) -> None:
    short = tokens.count(word * 20_000)
    assert abs(tokens.count(word * 200_000) - 10 * short) < 100


def test_counting_stops_when_it_is_enough() -> None:
    assert 100 < tokens.count("word " * 1_000_000, enough=100) < 20_000


def test_it_is_loaded_when_something_is_counted_and_connects_to_nothing() -> None:
    program = """
import socket, sys
def refuse(*_, **__): raise AssertionError("a connection")
socket.socket.connect = socket.getaddrinfo = refuse
from routing import tokens
from routing import truncation
from routing.protocols.shared import counting
assert "toktok" not in sys.modules
assert tokens.at_most({"input": []}) == 3
assert "toktok" not in sys.modules
print(tokens.count("hello world"))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"


# Items


@cases(
    ("item", "text"),
    [
        ({"role": "user", "content": "hello world"}, "hello world"),
        (
            {
                "type": "message",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "hello"},
                    {"type": "refusal", "refusal": "no"},
                ],
            },
            "hello\nno",
        ),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'},
            'f\n{"a":1}',
        ),
        ({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "ls"}, "f\nls"),
        ({"type": "function_call_output", "call_id": "c", "output": "sunny"}, "sunny"),
        ({"type": "custom_tool_call_output", "call_id": "c", "output": {"a": 1}}, '{"a":1}'),
        ({"type": "acme:new", "a": 1}, '{"type":"acme:new","a":1}'),
    ],
)
def test_an_item_has_the_tokens_of_its_text_and_three(item, text) -> None:
    assert tokens.of_item(item) == tokens.count(text) + 3


def test_thoughts_count_by_what_can_be_read_of_them() -> None:
    thought = {
        "type": "reasoning",
        "encrypted_content": "x" * 5000,
        "summary": [{"type": "summary_text", "text": "hello world"}],
    }
    assert tokens.of_item(thought) == 2


@cases("kind", ["compaction", "compaction_trigger", "web_search_call"])
def test_what_is_not_for_the_model_counts_nothing(kind) -> None:
    assert tokens.of_item({"type": kind, "encrypted_content": "x" * 5000}) == 0


@cases(
    ("part", "allowance"),
    [
        ({"type": "input_image", "image_url": "data:image/png;base64," + "A" * 10_000}, 765),
        ({"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"}, 85),
        ({"type": "input_file", "file_url": "https://x.test/a.pdf"}, 1500),
        ({"type": "input_file", "file_data": "data:application/pdf;base64,AAAA"}, 1500),
        ({"type": "input_file", "file_data": "data:text/plain;base64," + "A" * 1577}, 300),
        ({"type": "input_audio", "input_audio": {"data": "A" * 10_000}}, 1500),
    ],
)
def test_what_is_no_text_has_an_allowance(part, allowance) -> None:
    assert tokens.of_item({"role": "user", "content": [part]}) == allowance + 3
    output = {"type": "function_call_output", "call_id": "c", "output": [part]}
    assert tokens.of_item(output) == allowance + 3


# Requests


def test_a_request_counts_its_instructions_tools_and_schema_too() -> None:
    plain = {"input": [{"role": "user", "content": "hello world"}]}
    assert tokens.of_request(plain) == 8
    instructed = {**plain, "instructions": "Be kind."}
    assert tokens.of_request(instructed) == 8 + 3 + tokens.count("Be kind.")
    tool = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
    assert tokens.of_request({**plain, "tools": [tool]}) > 8 + 15
    form = {"format": {"type": "json_schema", "name": "out", "schema": {"type": "object"}}}
    assert tokens.of_request({**plain, "text": form}) > 8 + 15


def test_items_are_counted_alike_alone_and_together() -> None:
    sizes = [1, 10, 70_000, 3, 40_000, 40_000, 2]
    items = [{"role": "user", "content": "ab " * size} for size in sizes]
    assert list(tokens.of_items(items)) == [tokens.of_item(item) for item in items]


WORDS = st.text(alphabet="ab \né你😀", max_size=20)
CONTENT = st.one_of(
    WORDS,
    st.lists(
        st.one_of(
            st.fixed_dictionaries({"type": st.just("input_text"), "text": WORDS}),
            st.fixed_dictionaries({"type": st.just("input_image"), "image_url": st.just("u")}),
            st.fixed_dictionaries({"type": st.just("input_file"), "file_url": st.just("u")}),
        ),
        max_size=3,
    ),
)
ITEMS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": st.just("user"), "content": CONTENT}),
        st.fixed_dictionaries(
            {"type": st.just("function_call_output"), "call_id": WORDS, "output": CONTENT}
        ),
        st.fixed_dictionaries({"type": st.just("acme:new"), "a": WORDS}),
    ),
    max_size=6,
)


@given(ITEMS, WORDS)
def test_the_bound_holds_and_only_text_can_exceed(items, words) -> None:
    body = {"input": items, "instructions": words, "tools": [{"type": "function", "name": words}]}
    estimate, bound = tokens.of_request(body), tokens.at_most(body)
    assert estimate <= bound
    assert not tokens.exceeds(body, estimate)
    assert tokens.exceeds(body, -1)


def test_json_that_is_too_deep_is_a_bad_request() -> None:
    deep: dict = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(BadRequest, match="nested too deep"):
        tokens.of_request({"input": [], "tools": [{"type": "function", "parameters": deep}]})
