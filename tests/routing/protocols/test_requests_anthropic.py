"""Requests of both doors as Anthropic Messages."""

from __future__ import annotations

import pytest

from gateway_project.lib.errors import BadRequest, UnsupportedParameter
from routing.protocols.anthropic.messages import GO_ON
from routing.protocols.shared import envelope
from tests.plugins.cases import cases
from tests.support.requests import ask, chat, check, sent, target

PIXEL = "data:image/png;base64,iVBORw0KGgo="
HAIKU = "claude-haiku-4-5"
SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "sig=="}
HIDDEN = {"type": "redacted_thinking", "data": "xyz"}
CLOSED = {
    "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"],
    "additionalProperties": False,
}  # fmt: skip


def said(*parts, role="user"):
    return {"type": "message", "role": role, "content": list(parts)}


def text(words, kind="input_text"):
    return {"type": kind, "text": words}


def answered(words="Hi."):
    return said(text(words, "output_text"), role="assistant")


def call(call_id, name="f", arguments="{}"):
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def output(call_id, words="done"):
    return {"type": "function_call_output", "call_id": call_id, "output": words}


def thought(payload=None, provider="acme"):
    item = {"type": "reasoning", "id": "rs_1", "summary": [text("Hm.", "summary_text")]}
    if payload is not None:
        item["encrypted_content"] = envelope.pack("anthropic", provider, payload)
    return item


def to_claude(*items, to=None, **fields) -> dict:
    """Every body is checked against what Anthropic demands."""
    body = ask(input=list(items) or "What?", **fields)
    made = sent("responses", body, to or target("anthropic"))
    check("anthropic", made)
    return made


def of_chat(*messages, to=None, **fields) -> dict:
    made = sent("chat", chat(*messages, **fields), to or target("anthropic"))
    check("anthropic", made)
    return made


def roles(made) -> list[str]:
    return [message["role"] for message in made["messages"]]


def test_a_question_is_a_user_message_with_a_limit() -> None:
    assert to_claude() == {
        "model": "some-model",
        "max_tokens": 8192,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "What?"}]}],
    }


def test_the_limit_is_the_clients_or_else_the_models() -> None:
    to = target("anthropic", limit=32_000)
    assert to_claude(to=to)["max_tokens"] == 32_000
    assert to_claude(to=to, max_output_tokens=99)["max_tokens"] == 99


def test_instructions_are_the_system_prompt_and_later_ones_stay_in_their_place() -> None:
    made = to_claude(
        said(text("Be kind."), role="developer"),
        said(text("Hi")),
        said(text("Be short."), role="system"),
        answered(),
        said(text("Go")),
        instructions="Be brief.",
    )
    assert made["system"] == [
        {"type": "text", "text": "Be brief."},
        {"type": "text", "text": "Be kind."},
    ]
    assert made["messages"][0]["content"] == [
        {"type": "text", "text": "Hi"},
        {"type": "text", "text": "<system>\nBe short.\n</system>"},
    ]


def test_instructions_between_a_call_and_its_result_follow_the_result() -> None:
    made = to_claude(call("c1"), said(text("Be short."), role="developer"), output("c1"))
    kinds = [block["type"] for block in made["messages"][-1]["content"]]
    assert kinds == ["tool_result", "text"]


def test_all_results_of_a_turn_open_the_next_message_in_order() -> None:
    made = to_claude(
        said(text("Go")),
        answered("I look."),
        call("c1", "f", '{"a": 1}'),
        call("c2", "g", ""),
        said(text("Hurry")),
        output("c2", [text("two"), {"type": "input_image", "image_url": PIXEL}]),
        output("c1"),
        said(text("Well?")),
    )
    image = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    assert made["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "done"},
                {
                    "type": "tool_result",
                    "tool_use_id": "c2",
                    "content": [
                        {"type": "text", "text": "two"},
                        {"type": "image", "source": image},
                    ],
                },
                {"type": "text", "text": "Hurry"},
                {"type": "text", "text": "Well?"},
            ],
        },
    ]


def test_a_conversation_with_calls_comes_with_tools_even_if_none_is_left() -> None:
    made = to_claude(call("c1", "b"), output("c1"), call("c2", "a"), output("c2"))
    assert [tool["name"] for tool in made["tools"]] == ["a", "b"]
    assert made["tool_choice"] == {"type": "none"}


def test_a_custom_call_and_broken_arguments_become_objects() -> None:
    custom = {"type": "custom_tool_call", "call_id": "c1", "name": "exec", "input": "ls"}
    made = to_claude(
        custom,
        {"type": "custom_tool_call_output", "call_id": "c1", "output": ""},
        call("c2", "f", '{"cut'),
        output("c2"),
    )
    blocks = [block for message in made["messages"] for block in message["content"]]
    inputs = [block["input"] for block in blocks if block["type"] == "tool_use"]
    assert inputs == [{"input": "ls"}, {"arguments": '{"cut'}]


def test_ids_anthropic_would_refuse_are_replaced_in_call_and_result() -> None:
    made = to_claude(call("f:0"), output("f:0"), call("f:0"), output("f:0"))
    ids = [block["id"] for block in made["messages"][1]["content"]]
    assert ids[0].startswith("f_0_")
    assert made == to_claude(call("f:0"), output("f:0"), call("f:0"), output("f:0"))


def test_a_user_opens_and_closes_the_conversation() -> None:
    made = to_claude(answered("Hello."))
    assert roles(made) == ["user", "assistant", "user"]
    assert made["messages"][-1]["content"] == [{"type": "text", "text": GO_ON}]
    assert roles(to_claude(said(text("Be kind."), role="developer"))) == ["user"]


def test_blank_texts_are_left_out() -> None:
    made = to_claude(said(text("Hi"), text(" \n")), answered(""), said(text("Go"), text("")))
    texts = [block["text"] for block in made["messages"][0]["content"]]
    assert texts == ["Hi", "Go"]


def test_images_and_files() -> None:
    made = to_claude(
        said(
            {"type": "input_image", "image_url": "https://x.test/a.png"},
            {"type": "input_image", "image_url": "data:image/svg+xml,%3Csvg%2F%3E"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "JVBERi0="},
            {"type": "input_file", "file_url": "https://x.test/a.pdf"},
            {
                "type": "input_file",
                "filename": "a.md",
                "file_data": "data:text/markdown;base64,IyBB",
            },
            {"type": "input_file", "filename": "a.png", "file_data": PIXEL},
        )
    )
    assert [(block["type"], block["source"]) for block in made["messages"][0]["content"]] == [
        ("image", {"type": "url", "url": "https://x.test/a.png"}),
        ("image", {"type": "base64", "media_type": "image/svg+xml", "data": "PHN2Zy8+"}),
        ("document", {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}),
        ("document", {"type": "url", "url": "https://x.test/a.pdf"}),
        ("document", {"type": "text", "media_type": "text/plain", "data": "# A"}),
        ("image", {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}),
    ]


@cases(
    ("part", "param"),
    [
        ({"type": "input_file", "file_id": "file-1"}, "file_id"),
        ({"type": "input_image", "file_id": "file-1"}, "file_id"),
        ({"type": "input_image", "image_url": "data:,x"}, "image_url"),
        ({"type": "input_file", "file_data": "data:text/plain;base64,/w=="}, "file_data"),
        ({"type": "input_file"}, "type"),
        ({"type": "input_audio", "input_audio": {}}, "type"),
    ],
)
def test_what_anthropic_has_no_word_for_is_refused_by_name(part, param) -> None:
    with pytest.raises(BadRequest) as refused:
        to_claude(said(part))
    assert refused.value.param == f"input[0].content[0].{param}"


def test_items_nobody_else_can_read_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedParameter) as refused:
        to_claude({"type": "compaction", "encrypted_content": "x"})
    assert refused.value.param == "input[0].type"


# Thoughts


def test_signed_thoughts_go_back_unmodified_before_the_call_they_led_to() -> None:
    made = to_claude(thought(HIDDEN), thought(SIGNED), call("c1"), output("c1"))
    kinds = [block["type"] for block in made["messages"][1]["content"]]
    assert kinds == ["redacted_thinking", "thinking", "tool_use"]
    assert made["messages"][1]["content"][:2] == [HIDDEN, SIGNED]


def test_a_bare_signature_goes_with_the_text_of_its_item() -> None:
    made = to_claude(thought("sig=="), answered())
    assert made["messages"][1]["content"][0] == SIGNED


@cases(
    "item",
    [
        thought(),
        thought(SIGNED, provider="other"),
        {**thought(), "encrypted_content": "gAAAA-of-openai"},
        {**thought(), "encrypted_content": envelope.PREFIX + "damaged"},
    ],
)
def test_thoughts_of_others_are_left_out_and_never_become_text(item) -> None:
    made = to_claude(said(text("Hi")), item, answered(), said(text("Go")))
    assert "Hm." not in str(made)


def test_a_turn_of_thoughts_alone_is_left_out() -> None:
    assert roles(to_claude(said(text("Hi")), thought(SIGNED), said(text("Go")))) == ["user"]


@cases(
    ("effort", "limit", "thinking"),
    [
        ("low", 32_000, {"type": "enabled", "budget_tokens": 2048}),
        ("high", 32_000, {"type": "enabled", "budget_tokens": 16384}),
        ("high", 8_000, {"type": "enabled", "budget_tokens": 6000}),
        ("minimal", 1_025, {"type": "enabled", "budget_tokens": 1024}),
        ("high", 1_024, None),
        ("none", 32_000, None),
        (None, 32_000, None),
    ],
)
def test_up_to_4_5_an_effort_is_a_budget_below_the_limit(effort, limit, thinking) -> None:
    to = target("anthropic", model=HAIKU, limit=limit)
    made = to_claude(to=to, reasoning={"effort": effort, "summary": "auto"})
    assert made.get("thinking") == thinking
    assert "output_config" not in made


@cases(
    ("model", "effort", "thinking", "config"),
    [
        ("claude-opus-4-6", "xhigh", {"type": "adaptive"}, {"effort": "high"}),
        ("claude-opus-4.7", "xhigh", {"type": "adaptive", "display": "summarized"}, {"effort": "xhigh"}),
        ("claude-sonnet-5", "minimal", {"type": "adaptive", "display": "summarized"}, {"effort": "low"}),
        ("eu.anthropic.claude-opus-5-v1:0", "max", {"type": "adaptive", "display": "summarized"},
         {"effort": "max"}),
    ],
)  # fmt: skip
def test_from_4_6_on_it_is_an_effort(model, effort, thinking, config) -> None:
    made = to_claude(to=target("anthropic", model=model), reasoning={"effort": effort})
    assert (made["thinking"], made["output_config"]) == (thinking, config)


@cases("model", ["claude-sonnet-4-20250514", "claude-3-7-sonnet-latest", "kimi-k3"])
def test_older_and_other_models_think_with_a_budget(model) -> None:
    made = to_claude(to=target("anthropic", model=model), reasoning={"effort": "low"})
    assert made["thinking"]["type"] == "enabled"


def test_a_quirk_overrides_what_the_name_tells() -> None:
    for style, kind in (("adaptive", "adaptive"), ("budget", "enabled")):
        to = target(
            "anthropic", model="claude-opus-5" if style == "budget" else "kimi", thinking=style
        )
        assert to_claude(to=to, reasoning={"effort": "low"})["thinking"]["type"] == kind


def test_models_that_do_not_reason_are_not_told_to() -> None:
    to = target("anthropic", model=HAIKU, lacks={"reasoning"})
    assert "thinking" not in to_claude(to=to, reasoning={"effort": "high"})


@cases("model", [HAIKU, "claude-opus-5"])
def test_there_is_no_thinking_where_a_call_is_forced(model) -> None:
    made = to_claude(
        to=target("anthropic", model=model),
        reasoning={"effort": "low"},
        tools=[{"type": "function", "name": "f"}],
        tool_choice="required",
    )
    assert "thinking" not in made


def test_there_is_no_budget_after_results_of_another_providers_calls() -> None:
    to = target("anthropic", model=HAIKU)
    foreign = to_claude(call("c1"), output("c1"), to=to, reasoning={"effort": "low"})
    assert "thinking" not in foreign
    own = to_claude(thought(SIGNED), call("c1"), output("c1"), to=to, reasoning={"effort": "low"})
    assert own["thinking"]["type"] == "enabled"


# Tools and the form of the answer


def test_tools_and_what_is_left_out() -> None:
    made = to_claude(
        tools=[
            {
                "type": "function",
                "name": "f",
                "description": "D",
                "parameters": CLOSED,
                "strict": True,
            },
            {"type": "function", "name": "bare", "parameters": None},
            {"type": "function", "name": "odd", "parameters": {"properties": {}}},
            {"type": "web_search"},
        ],
        parallel_tool_calls=True,
    )
    empty = {"type": "object", "properties": {}}
    assert made["tools"] == [
        {"name": "f", "description": "D", "input_schema": CLOSED},
        {"name": "bare", "input_schema": empty},
        {"name": "odd", "input_schema": empty},
    ]
    assert "tool_choice" not in made


@cases(
    ("choice", "parallel", "made"),
    [
        ("auto", None, None),
        ("auto", False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("none", False, {"type": "none"}),
        ("required", True, {"type": "any"}),
        ({"type": "function", "name": "f"}, None, {"type": "tool", "name": "f"}),
        ({"type": "allowed_tools", "mode": "auto", "tools": []}, None, None),
    ],
)
def test_the_choice_of_tools(choice, parallel, made) -> None:
    tools = [{"type": "function", "name": "f"}]
    body = to_claude(tools=tools, tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == made


def form(schema=CLOSED, **fields):
    return {"format": {"type": "json_schema", "name": "out", "schema": schema, **fields}}


def test_a_structured_answer_has_anthropics_form() -> None:
    made = to_claude(text=form(strict=True), to=target("anthropic", model="claude-opus-5"))
    assert made["output_config"] == {"format": {"type": "json_schema", "schema": CLOSED}}
    assert "tools" not in made


def test_bounds_anthropic_cannot_enforce_are_told_to_the_model() -> None:
    bounded = {"n": {"type": "integer", "minimum": 1, "description": "Count"}}
    schema: dict = {"type": "object", "properties": bounded, "required": ["n"]}
    made = to_claude(text=form(schema))["output_config"]["format"]["schema"]
    assert made["additionalProperties"] is False
    assert made["properties"]["n"] == {"type": "integer", "description": "Count (minimum: 1)"}
    assert schema["properties"]["n"]["minimum"] == 1


@cases(
    ("text_field", "lacks"),
    [
        (form(), {"structured_output"}),
        (form({"type": "object", "additionalProperties": {"type": "string"}}), ()),
        (form({"type": "object", "properties": {"next": {"$ref": "#"}}}), ()),
        ({"format": {"type": "json_object"}}, ()),
    ],
)
def test_otherwise_a_tool_takes_the_answer(text_field, lacks) -> None:
    made = to_claude(text=text_field, to=target("anthropic", lacks=lacks))
    assert [tool["name"] for tool in made["tools"]] == ["json_answer"]
    assert made["tool_choice"] == {"type": "tool", "name": "json_answer"}
    assert "output_config" not in made


def test_beside_other_tools_the_model_may_answer_or_call() -> None:
    to = target("anthropic", lacks={"structured_output"})
    tools = [{"type": "function", "name": "f"}]
    made = to_claude(text=form(), tools=tools, to=to)
    assert [tool["name"] for tool in made["tools"]] == ["f", "json_answer"]
    assert made["tool_choice"] == {"type": "any"}
    silent = to_claude(text=form(), tools=tools, tool_choice="none", to=to)
    assert silent["tool_choice"] == {"type": "tool", "name": "json_answer"}


# Parameters


def test_parameters_have_anthropics_names() -> None:
    made = of_chat(
        {"role": "user", "content": "Hi"},
        stop="END",
        user="u-1",
        service_tier="default",
        temperature=0.5,
        top_p=0.9,
        max_tokens=77,
        stream=True,
    )
    del made["messages"]
    assert made == {
        "model": "some-model",
        "max_tokens": 77,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
        "service_tier": "standard_only",
        "temperature": 0.5,
        "top_p": 0.9,
        "stream": True,
    }


@cases("tier", ["flex", "priority", None])
def test_a_tier_anthropic_does_not_have_is_left_out(tier) -> None:
    assert "service_tier" not in to_claude(service_tier=tier)


def test_a_chat_conversation_with_tools() -> None:
    function = {"name": "f", "arguments": '{"a":1}'}
    made = of_chat(
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Hm.",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "done"}]},
        tools=[{"type": "function", "function": {"name": "f", "parameters": CLOSED}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
    )
    assert made["system"] == [{"type": "text", "text": "Be kind."}]
    assert roles(made) == ["user", "assistant", "user"]
    assert made["messages"][1]["content"] == [
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}
    ]
    assert made["tool_choice"] == {"type": "tool", "name": "f"}
