"""The table of parameters: what it says is what upstreams receive, and what is documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_project.lib.errors import UnsupportedParameter
from responses_api.doors import reference
from responses_api.doors.registry import DOORS
from routing.protocols import PROTOCOLS
from routing.protocols.shared.parameters import TABLE, fates, prepare
from tests.plugins.cases import cases
from tests.support.requests import check, sent, target

ROOT = Path(__file__).resolve().parents[3]
FUNCTION = {"type": "function", "name": "f", "parameters": None, "strict": False}
FORM = {
    "type": "json_schema", "name": "out", "strict": True,
    "schema": {
        "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
        "additionalProperties": False,
    },
}  # fmt: skip

# A value for each row that asks for something, in canonical form.
VALUES: dict[str, object] = {
    "model": "m",
    "input": "Hi",
    "instructions": "Be kind.",
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "max_output_tokens": 4000,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "logit_bias": {"1": 5},
    "seed": 1,
    "stop": ["END"],
    "n": 2,
    "logprobs": True,
    "top_logprobs": 2,
    "prediction": {"type": "content", "content": "x"},
    "modalities": ["audio"],
    "audio": {"voice": "x", "format": "mp3"},
    "text.format": FORM,
    "text.verbosity": "low",
    "reasoning.effort": "low",
    "reasoning.summary": "auto",
    "tools": [FUNCTION],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "max_tool_calls": 3,
    "web_search_options": {},
    "store": True,
    "background": True,
    "previous_response_id": "resp_1",
    "conversation": "conv_1",
    "prompt": {"id": "pmpt_1"},
    "usage": {"include": True},
    "include": ["message.output_text.logprobs"],
    "metadata": {"a": "b"},
    "client_metadata": {"a": "b"},
    "user": "u-1",
    "safety_identifier": "u-2",
    "service_tier": "auto",
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "implicit"},
    "prompt_cache_retention": "24h",
    "truncation": "auto",
    "context_management": [{"type": "compaction"}],
    "access_programs": {},
    "image": {},
    "moderation": {"model": "m"},
}

ANTHROPIC = PROTOCOLS["anthropic"].parameters

# Translated cells; what is relayed is sent as it came.
CELLS = [
    pytest.param(parameter, door, protocol, id=f"{door}-{protocol}-{parameter.name}")
    for parameter in TABLE
    for door, protocol in (
        ("chat", "responses"),
        ("chat", "anthropic"),
        ("responses", "chat"),
        ("responses", "anthropic"),
    )
    if parameter.name in DOORS[door].parameters
]


def test_every_row_has_a_value() -> None:
    assert list(VALUES) == [parameter.name for parameter in TABLE]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_says_what_becomes_of_every_parameter(protocol) -> None:
    assert list(PROTOCOLS[protocol].parameters) == [parameter.name for parameter in TABLE]


def test_doors_name_parameters_of_the_table_only() -> None:
    known = {parameter.name for parameter in TABLE}
    assert all(known.issuperset(door.parameters) for door in DOORS.values())


def test_a_fate_is_one_of_four_words_about_a_known_parameter() -> None:
    for wrong in ({"model": "maybe"}, {"nonsense": "hint"}):
        with pytest.raises(ValueError, match="no fate"):
            fates(wrong)


def request(door, *names):
    """A request with these parameters, the door's names and forms for them."""
    body = _chat_body(names) if door == "chat" else _responses_body(names)
    return {"model": "m", **({"tools": []} if door == "chat" else {}), **body}


def _responses_body(names):
    body: dict = {"input": "Hi"}
    for name in names:
        outer, _, inner = name.partition(".")
        body[outer] = {inner: VALUES[name]} if inner else VALUES[name]
    if "tool_choice" in names or "parallel_tool_calls" in names:
        body["tools"] = VALUES["tools"]
    return body


def _chat_body(names):
    body: dict = {"messages": [{"role": "user", "content": "Hi"}]}
    for name in names:
        if name not in {"input", "tools", "text.format"}:
            body[DOORS["chat"].parameters[name]] = VALUES[name]
    if {"tools", "tool_choice", "parallel_tool_calls"} & set(names):
        body["tools"] = [{"type": "function", "function": {"name": "f"}}]
    if "text.format" in names:
        inner = {name: value for name, value in FORM.items() if name != "type"}
        body["response_format"] = {"type": "json_schema", "json_schema": inner}
    return body


@cases(("parameter", "door", "protocol"), CELLS)
def test_a_row_is_what_the_upstream_receives(parameter, door, protocol) -> None:
    to = target(protocol, model="claude-haiku-4-5")
    fate, own_name = PROTOCOLS[protocol].parameters[parameter.name]
    plain = sent(door, request(door), to)
    body = request(door, parameter.name)
    if fate == "refused":
        with pytest.raises(UnsupportedParameter) as refused:
            sent(door, body, to)
        assert refused.value.param == DOORS[door].parameters[parameter.name]
    made = sent(door, body, to, drop_unsupported=True)
    if parameter.name in {"access_programs", "image", "moderation", "prediction"}:
        return  # forwarded as they came, whatever they are
    check(protocol, made)
    path = own_name or parameter.name
    if fate == "forwarded":
        assert found(made, path) != found(plain, path)
    if fate in {"hint", "refused"}:
        assert made == plain


def found(body, path):
    for name in path.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return body


def test_what_asks_for_nothing_is_never_refused() -> None:
    neutral = {
        "n": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logprobs": False, "top_logprobs": 0,
        "logit_bias": {}, "modalities": ["text"], "stop": None, "seed": None, "nonsense": None,
    }  # fmt: skip
    body = {"input": [], **neutral}
    assert prepare(body, ANTHROPIC, False) == ({"input": []}, ())


@cases("name", ["nonsense", "seed", "n", "logprobs"])
def test_what_is_refused_is_named_unless_the_alias_drops_it(name) -> None:
    body = {"input": [], name: 3}
    with pytest.raises(UnsupportedParameter) as refused:
        prepare(body, ANTHROPIC, False)
    assert refused.value.param == name
    assert prepare(body, ANTHROPIC, True) == ({"input": []}, (name,))


def test_the_clients_body_is_not_changed() -> None:
    body = {"input": [], "seed": 3, "user": "u"}
    prepare(body, ANTHROPIC, True)
    assert body == {"input": [], "seed": 3, "user": "u"}


def test_the_documentation_is_the_table() -> None:
    assert (ROOT / "docs" / "parameters.md").read_text() == reference.document()
