"""Tools under names every upstream accepts, and the way back."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.lib.errors import BadRequest, UnsupportedParameter
from routing.protocols import PROTOCOLS
from routing.protocols.shared.custom_input import unwrap
from routing.protocols.shared.tools import WRAPPED_INPUT, CustomInput, Toolbox
from tests.plugins.cases import cases
from tests.support.requests import target

SEARCH = {"type": "web_search"}
FORM = {"type": "json_schema", "name": "out", "schema": {"type": "object"}}


def function(name, **fields):
    return {"type": "function", "name": name, **fields}


def toolbox(*tools, to=None, items=(), **fields) -> Toolbox:
    return PROTOCOLS[(to or target("chat")).protocol].toolbox(
        {"tools": list(tools), "input": list(items), **fields}, to
    )


def names(box: Toolbox) -> list[str]:
    return [tool.wire_name for tool in box.offered]


def test_without_tools_there_is_nothing_to_choose() -> None:
    box = Toolbox.of({"input": []})
    assert (box.tools, box.dropped, box.choice, box.allowed) == ((), (), "auto", None)


def test_a_valid_name_stays_as_it_is() -> None:
    box = toolbox(function("get_weather-2"))
    assert names(box) == ["get_weather-2"]
    assert box.item("get_weather-2") == {"type": "function_call", "name": "get_weather-2"}


def test_an_unknown_name_becomes_a_call_of_that_name() -> None:
    assert toolbox().item("other") == {"type": "function_call", "name": "other"}


def test_a_namespace_is_flattened_and_restored() -> None:
    clock = {"type": "namespace", "name": "clock", "tools": [function("sleep")]}
    box = toolbox(clock)
    assert names(box) == ["clock__sleep"]
    assert box.wire_name("sleep", "clock", "function") == "clock__sleep"
    whole = {"type": "function_call", "name": "sleep", "namespace": "clock"}
    assert box.item("clock__sleep") == whole


def test_a_flattened_name_leaves_a_plain_one_alone_whichever_comes_first() -> None:
    clock = {"type": "namespace", "name": "clock", "tools": [function("sleep")]}
    box = toolbox(clock, function("clock__sleep"))
    flattened, plain = box.tools
    assert plain.wire_name == "clock__sleep"
    assert re.fullmatch(r"clock__sleep_[0-9a-f]{8}", flattened.wire_name)
    assert box.item(flattened.wire_name)["namespace"] == "clock"


def test_long_and_odd_names_are_made_to_fit_the_same_way_every_time() -> None:
    long = {
        "type": "namespace",
        "name": "n" * 60,
        "tools": [function("a" * 60), function("b" * 60)],
    }
    box = toolbox(long, function("mit.punkt"))
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names(box))
    assert len(set(names(box))) == 3
    assert names(box) == names(toolbox(long, function("mit.punkt")))
    assert box.item("mit_punkt") == {"type": "function_call", "name": "mit.punkt"}


def test_a_custom_tool_is_offered_as_a_function_of_one_string() -> None:
    form = {"type": "grammar", "syntax": "lark", "definition": 'start: "x"+'}
    box = toolbox({"type": "custom", "name": "exec", "description": "Runs it.", "format": form})
    (tool,) = box.tools
    assert (tool.kind, tool.parameters, tool.strict) == ("custom", WRAPPED_INPUT, None)
    assert tool.description is not None
    assert tool.description.startswith("Runs it.")
    assert tool.description.endswith('(lark):\nstart: "x"+')
    assert box.item("exec") == {"type": "custom_tool_call", "name": "exec"}


def test_a_function_and_a_custom_tool_of_one_name_are_told_apart() -> None:
    box = toolbox(function("run"), {"type": "custom", "name": "run"})
    assert box.wire_name("run", None, "function") == "run"
    assert box.wire_name("run", None, "custom") != "run"
    assert box.item(box.wire_name("run", None, "custom"))["type"] == "custom_tool_call"


def test_hosted_tools_are_left_out_and_named_once() -> None:
    mixed = {"type": "namespace", "name": "n", "tools": [SEARCH, function("f")]}
    box = toolbox(SEARCH, {"type": "mcp", "server_label": "x"}, SEARCH, mixed)
    assert (names(box), box.dropped) == (["n__f"], ("web_search", "mcp"))


def test_tools_in_the_input_are_offered_too_the_later_in_place_of_the_earlier() -> None:
    added = {"type": "additional_tools", "role": "developer", "tools": [function("f", strict=True)]}
    found = {"type": "tool_search_output", "tools": [function("g", defer_loading=True)]}
    box = toolbox(function("f"), items=[added, found])
    assert [(tool.name, tool.strict) for tool in box.tools] == [("f", True), ("g", None)]


def test_a_tool_found_by_searching_is_replayed_under_its_own_name() -> None:
    assert toolbox(function("look")).wire_name("look", "look", "function") == "look"


def test_a_call_of_a_tool_that_is_gone_is_replayed_under_a_fitting_name() -> None:
    assert toolbox().wire_name("sleep", "clock", "function") == "clock__sleep"


@cases("word", ["auto", "none", None])
def test_a_plain_choice_is_kept(word) -> None:
    assert toolbox(tool_choice=word).choice == (word or "auto")


def test_a_function_can_be_forced() -> None:
    clock = {"type": "namespace", "name": "clock", "tools": [function("sleep")]}
    box = toolbox(clock, tool_choice={"type": "function", "name": "sleep"})
    assert box.choice == "forced"
    assert box.forced is box.find("clock__sleep")


def test_a_custom_tool_can_be_forced() -> None:
    box = toolbox(
        {"type": "custom", "name": "exec"}, tool_choice={"type": "custom", "name": "exec"}
    )
    assert box.forced is not None
    assert box.forced.kind == "custom"


def test_allowed_tools_alone_are_offered_and_permitted() -> None:
    clock = {"type": "namespace", "name": "clock", "tools": [function("sleep"), function("now")]}
    allowed = [function("a"), {"type": "namespace", "name": "clock"}, SEARCH]
    choice = {"type": "allowed_tools", "mode": "required", "tools": allowed}
    box = toolbox(function("a"), function("b"), clock, tool_choice=choice)
    assert names(box) == ["a", "clock__sleep", "clock__now"]
    assert box.choice == "required"
    assert box.permits("a")
    assert not box.permits("b")
    assert box.wire_name("b", None, "function") == "b"


@cases(
    ("choice", "param"),
    [
        ("sometimes", "tool_choice"),
        ("required", "tool_choice"),
        (7, "tool_choice"),
        ({"type": "function", "name": "gone"}, "tool_choice.name"),
        ({"type": "custom", "name": "f"}, "tool_choice.name"),
        ({"type": "allowed_tools", "mode": "auto"}, "tool_choice.tools"),
        ({"type": "allowed_tools", "tools": ["f"]}, "tool_choice.tools[0]"),
        ({"type": "allowed_tools", "tools": [function("gone")]}, "tool_choice.tools[0].name"),
    ],
)
def test_a_choice_that_cannot_be_kept_is_refused_by_name(choice, param) -> None:
    tools = [] if choice == "required" else [function("f")]
    with pytest.raises(BadRequest) as refused:
        toolbox(*tools, tool_choice=choice)
    assert refused.value.param == param


@cases("choice", [{"type": "web_search"}, {"type": "mcp", "server_label": "x"}, "required"])
def test_a_demand_for_a_hosted_tool_is_refused(choice) -> None:
    with pytest.raises(UnsupportedParameter) as refused:
        toolbox(SEARCH, tool_choice=choice)
    assert refused.value.param == "tool_choice"


@cases(
    ("tool", "param"),
    [
        (function(""), "tools[0].name"),
        ({"type": "custom"}, "tools[0].name"),
        (function("f", parameters=[]), "tools[0].parameters"),
        ("f", "tools[0]"),
        (
            {"type": "namespace", "name": "n", "tools": [{"type": "function"}]},
            "tools[0].tools[0].name",
        ),
    ],
)
def test_a_broken_tool_is_refused_by_name(tool, param) -> None:
    with pytest.raises(BadRequest) as refused:
        toolbox(tool)
    assert refused.value.param == param


def test_parameters_may_be_null() -> None:
    assert toolbox(function("f", parameters=None)).tools[0].parameters is None


def test_a_structured_answer_of_anthropic_is_a_tool_where_the_model_has_no_format() -> None:
    to = target("anthropic", lacks={"structured_output"})
    box = toolbox(function("json_answer"), to=to, text={"format": FORM})
    assert box.answer_tool is not None
    assert box.answer_tool.parameters == {"type": "object"}
    assert box.is_answer(box.answer_tool.wire_name)
    assert not box.is_answer("json_answer")  # the client's own keeps its name
    assert box.answer_tool not in box.tools


def test_who_demands_a_call_gets_no_answer_tool() -> None:
    to = target("anthropic", lacks={"structured_output"})
    box = toolbox(function("f"), to=to, text={"format": FORM}, tool_choice="required")
    assert box.answer_tool is None


def test_other_protocols_need_no_answer_tool() -> None:
    assert toolbox(to=target("chat"), text={"format": FORM}).answer_tool is None


# Custom input


@given(st.text(), st.booleans(), st.lists(st.integers(1, 7)))
def test_wrapped_input_comes_out_as_it_went_in_however_it_is_cut(text, ascii_only, cuts) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    reader, given_out = CustomInput(), ""
    for size in cuts:
        given_out += reader.feed(arguments[:size])
        arguments = arguments[size:]
    given_out += reader.feed(arguments) + reader.finish()
    assert given_out == text


@given(st.text())
def test_arguments_of_another_form_never_fail(arguments) -> None:
    given_out = unwrap(arguments)
    given_out.encode()
    if '"' not in arguments:
        assert given_out == arguments


@cases(
    ("arguments", "input_"),
    [
        ('{"input": "a\\nb"}', "a\nb"),
        ('{ "input" : "a\nb" }', "a\nb"),  # a raw line end, which JSON forbids and models write
        ('{"note": 1, "input": "late"}', "late"),
        ('{"input": 7}', '{"input": 7}'),
        ("plain text", "plain text"),
        ("", ""),
        ('{"input": "cut he', "cut he"),
        ('{"input": "cut \\u00', "cut "),
        ('{"input": "bad \\ud83d tail"}', "bad \ufffd tail"),
        ('{"input": "bad \\uzz tail"}', "bad \\uzz tail"),
        ('{"input": "odd \\d"}', "odd \\d"),
        ('{"input": "pair \\ud83d\\ude00"}', "pair 😀"),
        ('{"input": "slashes \\\\\\\\ud83d"}', "slashes \\\\ud83d"),
    ],
)
def test_input_is_taken_out_of_its_json(arguments, input_) -> None:
    whole = unwrap(arguments)
    reader = CustomInput()
    piecewise = "".join(map(reader.feed, arguments)) + reader.finish()
    assert (whole, piecewise) == (input_, input_)


def test_text_comes_out_as_soon_as_it_is_there() -> None:
    reader = CustomInput()
    assert [reader.feed(piece) for piece in ('{"in', 'put":"a', "b\\", 'nc"', "}")] == [
        "", "a", "b", "\nc", "",
    ]  # fmt: skip
