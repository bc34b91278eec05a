"""Responses requests as chat bodies."""

from __future__ import annotations

import pytest

from gateway_project.lib.errors import BadRequest, UnsupportedParameter
from routing.protocols.shared import envelope
from tests.plugins.cases import cases
from tests.support.requests import ask, check, sent, target

PIXEL = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="


def said(*parts, role="user"):
    return {"type": "message", "role": role, "content": list(parts)}


def text(words, kind="input_text"):
    return {"type": kind, "text": words}


def call(call_id, name="f", arguments="{}", **fields):
    fields = {"type": "function_call", "name": name, "arguments": arguments, **fields}
    return {"call_id": call_id, **fields}


def output(call_id, words="done", **fields):
    return {"type": "function_call_output", "call_id": call_id, "output": words, **fields}


def to_chat(*items, to=None, **fields) -> dict:
    """Every body is checked against what chat demands."""
    body = ask(input=list(items) or "What?", **fields)
    made = sent("responses", body, to or target("chat"))
    check("chat", made)
    return made


def test_a_question_is_a_user_message_for_the_upstreams_model() -> None:
    assert to_chat() == {
        "model": "some-model",
        "messages": [{"role": "user", "content": "What?"}],
    }


def test_an_input_without_anything_to_send_is_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        to_chat({"type": "web_search_call"})
    assert refused.value.param == "input"


def test_instructions_come_first_and_later_ones_stay_in_their_place() -> None:
    made = to_chat(
        said(text("Be kind."), role="developer"),
        said(text("Hi")),
        said(text("Now"), text("be short."), role="system"),
        instructions="Be brief.",
    )
    assert made["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "Now\nbe short."},
    ]


def test_instructions_may_be_items() -> None:
    made = to_chat(instructions=[said(text("One."), role="developer"), {"content": "Two."}])
    assert made["messages"][0]["content"] == "One.\n\nTwo."


def test_the_role_of_instructions_is_the_vendors() -> None:
    made = to_chat(instructions="Be brief.", to=target("chat", system_role="developer"))
    assert made["messages"][0]["role"] == "developer"


def test_a_users_parts_stay_parts() -> None:
    made = to_chat(
        said(
            text("Look:"),
            {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
            {"type": "input_image", "image_url": PIXEL, "detail": "original"},
            {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
            {"type": "input_file", "filename": "a.pdf", "file_data": "JVBERi0="},
        )
    )
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}
    assert made["messages"][0]["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "high"}},
        file,
        file,
    ]


@cases(
    ("part", "param"),
    [
        ({"type": "input_file", "file_id": "file-1"}, "file_id"),
        ({"type": "input_file", "file_url": "https://x.test/a.pdf"}, "file_url"),
        ({"type": "input_file", "file_data": "JVBERi0="}, "file_data"),
        ({"type": "input_image", "file_id": "file-1"}, "file_id"),
        ({"type": "input_image", "image_url": "https://x.test", "file_id": "file-1"}, "file_id"),
        ({"type": "input_image"}, "type"),
        ({"type": "input_video", "video_url": "x"}, "type"),
    ],
)
def test_what_chat_has_no_word_for_is_refused_by_name(part, param) -> None:
    with pytest.raises(BadRequest) as refused:
        to_chat(said(text("Look:"), part))
    assert refused.value.param == f"input[0].content[1].{param}"


def test_parallel_calls_are_one_message_and_their_results_follow_in_order() -> None:
    made = to_chat(
        said(text("Go")),
        said(
            {**text("I look.", "output_text"), "annotations": [], "logprobs": []}, role="assistant"
        ),
        call("c1", "f", '{"a": 1}', id="fc_1", status="completed"),
        call("c2", "g", ""),
        output("c2", "two"),
        output("c1", [text("one"), text("more")], id="fco_1"),
        said(text("And?")),
    )
    assert made["messages"][1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a": 1}'},
                },
                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "one\nmore"},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
        {"role": "user", "content": "And?"},
    ]


def test_a_result_moves_up_to_its_call() -> None:
    made = to_chat(call("c1"), said(text("Wait")), output("c1"))
    assert [message["role"] for message in made["messages"]] == ["assistant", "tool", "user"]


def test_an_output_may_be_an_object() -> None:
    made = to_chat(call("c1"), output("c1", {"n": 1}))
    assert made["messages"][-1]["content"] == '{"n":1}'


def test_an_image_a_tool_gave_follows_as_the_users() -> None:
    image = {"type": "input_image", "image_url": PIXEL}
    made = to_chat(call("c1", "view"), output("c1", [text("Seen."), image]))
    assert made["messages"][1:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "Seen."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What the tool view gave:"},
                {"type": "image_url", "image_url": {"url": PIXEL}},
            ],
        },
    ]


def test_a_custom_tool_is_wrapped_in_the_tools_and_in_the_history() -> None:
    functions = {"type": "namespace", "name": "fn", "tools": [{"type": "custom", "name": "exec"}]}
    custom = {
        "type": "custom_tool_call", "call_id": "c1", "name": "exec", "namespace": "fn", "input": 'a "b"\n',
    }  # fmt: skip
    made = to_chat(
        custom,
        {"type": "custom_tool_call_output", "call_id": "c1", "output": [text("ok")]},
        tools=[functions],
    )
    wrapped = {"name": "fn__exec", "arguments": '{"input":"a \\"b\\"\\n"}'}
    assert made["messages"][0]["tool_calls"][0]["function"] == wrapped
    assert made["tools"][0]["function"]["name"] == "fn__exec"
    assert made["tools"][0]["function"]["parameters"]["required"] == ["input"]
    assert "strict" not in made["tools"][0]["function"]


def test_ids_of_another_provider_are_made_to_fit() -> None:
    long = "functions.look_at_the_weather:0" * 2
    made = to_chat(
        call(long), output(long), call("same"), output("same"), call("same"), output("same")
    )
    ids = [message["tool_call_id"] for message in made["messages"] if message["role"] == "tool"]
    assert len(set(ids)) == 3
    assert ids[1] == "same"


@cases(
    ("items", "param"),
    [
        ([output("c1")], "input[0].call_id"),
        ([call("c1"), output("c1"), output("c1")], "input[2].call_id"),
        ([call("c1")], "input[0].call_id"),
        ([call("c1"), call("c1"), output("c1")], "input[0].call_id"),
        ([call("c1"), said(text("Hm")), call("c2"), output("c2")], "input[0].call_id"),
        ([call("c1"), output("")], "input[1].call_id"),
    ],
)
def test_a_call_and_its_result_need_each_other(items, param) -> None:
    with pytest.raises(BadRequest) as refused:
        to_chat(*items)
    assert refused.value.param == param


@cases(
    "kind",
    [
        "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call",
        "mcp_list_tools", "tool_search_call", "tool_search_output", "additional_tools",
    ],
)  # fmt: skip
def test_what_hosted_tools_left_in_the_history_is_left_out(kind) -> None:
    made = to_chat(said(text("Hi")), {"type": kind, "id": "x", "status": "completed"})
    assert made["messages"] == [{"role": "user", "content": "Hi"}]


@cases("kind", ["compaction", "computer_call", "shell_call", "mcp_approval_response", "acme:thing"])
def test_items_nobody_else_can_read_are_refused_by_name(kind) -> None:
    with pytest.raises(UnsupportedParameter) as refused:
        to_chat(said(text("Hi")), {"type": kind})
    assert refused.value.param == "input[1].type"


def test_thoughts_are_left_out_and_never_become_text() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [text("Secret.", "summary_text")]}
    made = to_chat(said(text("Hi")), thought, call("c1"), output("c1"))
    assert "Secret" not in str(made)


def test_thoughts_come_back_in_the_vendors_field_with_the_calls_they_led_to() -> None:
    raw = {"type": "reasoning", "summary": [], "content": [text("Hm.", "reasoning_text")]}
    made = to_chat(
        raw, call("c1"), output("c1"), call("c2"), output("c2"), raw, said(text("Hi"), role="assistant"),
        to=target("chat", reasoning_field="reasoning_content"),
    )  # fmt: skip
    keys = [message.get("reasoning_content") for message in made["messages"]]
    assert keys == ["Hm.", None, "", None, None]


def test_sealed_details_go_back_to_their_provider_only() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    sealed = envelope.pack("chat", "acme", {"reasoning_details": details})
    thought = {"type": "reasoning", "summary": [], "encrypted_content": sealed}
    own = to_chat(thought, call("c1"), output("c1"))
    assert own["messages"][0]["reasoning_details"] == details
    other = to_chat(thought, call("c1"), output("c1"), to=target("chat", provider="other"))
    assert "reasoning_details" not in other["messages"][0]


def test_phase_status_and_ids_of_replayed_messages_stay_behind() -> None:
    message = said({**text("Hi.", "output_text"), "annotations": [{"type": "x"}]}, role="assistant")
    made = to_chat({**message, "id": "msg_1", "status": "completed", "phase": "commentary"})
    assert made["messages"] == [{"role": "assistant", "content": "Hi."}]


def test_a_refusal_is_replayed_as_what_was_said() -> None:
    made = to_chat(said({"type": "refusal", "refusal": "No."}, role="assistant"))
    assert made["messages"] == [{"role": "assistant", "content": "No."}]


def test_tools_and_their_choice() -> None:
    exact = {
        "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"],
        "additionalProperties": False,
    }  # fmt: skip
    made = to_chat(
        tools=[
            {"type": "function", "name": "exact", "description": "D", "parameters": exact},
            {
                "type": "function",
                "name": "loose",
                "parameters": {"type": "object", "properties": {}},
            },
            {"type": "function", "name": "told", "parameters": exact, "strict": False},
            {"type": "function", "name": "bare", "parameters": None},
            {"type": "web_search"},
        ],
        tool_choice={"type": "function", "name": "told"},
        parallel_tool_calls=False,
    )
    functions = [tool["function"] for tool in made["tools"]]
    empty = {"type": "object", "properties": {}}
    assert functions == [
        {"name": "exact", "description": "D", "parameters": exact, "strict": True},
        {"name": "loose", "parameters": empty},
        {"name": "told", "parameters": exact},
        {"name": "bare", "parameters": empty},
    ]
    assert made["tool_choice"] == {"type": "function", "function": {"name": "told"}}
    assert made["parallel_tool_calls"] is False


def test_without_tools_no_choice_is_sent() -> None:
    made = to_chat(tools=[], tool_choice="auto", parallel_tool_calls=False)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(made)


def test_allowed_tools_are_the_only_ones_offered() -> None:
    tools = [{"type": "function", "name": name} for name in ("a", "b")]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [tools[1]]}
    made = to_chat(tools=tools, tool_choice=allowed)
    assert [tool["function"]["name"] for tool in made["tools"]] == ["b"]
    assert made["tool_choice"] == "required"


def test_the_form_of_the_answer() -> None:
    schema = {"type": "object"}
    form = {"type": "json_schema", "name": "out", "schema": schema, "strict": True}
    made = to_chat(text={"format": form, "verbosity": "low"})
    inner = {"name": "out", "schema": schema, "strict": True}
    assert made["response_format"] == {"type": "json_schema", "json_schema": inner}
    assert to_chat(text={"format": {"type": "json_object"}})["response_format"] == {
        "type": "json_object"
    }
    for empty in ({}, {"format": {"type": "text"}}, None):
        assert "response_format" not in to_chat(text=empty)


def test_effort_is_for_models_that_reason() -> None:
    wish = {"effort": "low", "summary": "auto"}
    assert to_chat(reasoning=wish)["reasoning_effort"] == "low"
    assert "reasoning_effort" not in to_chat(reasoning=wish, to=target("chat", lacks={"reasoning"}))


def test_the_output_limit_has_the_vendors_name() -> None:
    assert to_chat(max_output_tokens=99)["max_completion_tokens"] == 99
    quirky = target("chat", max_tokens_field="max_tokens")
    assert to_chat(max_output_tokens=99, to=quirky)["max_tokens"] == 99


def test_a_stream_always_asks_for_its_usage_unless_the_vendor_refuses() -> None:
    assert to_chat(stream=True)["stream_options"] == {"include_usage": True}
    quirky = target("chat", no_stream_usage=True)
    assert "stream_options" not in to_chat(stream=True, to=quirky)


@cases(
    ("fields", "made"),
    [
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"include": ["reasoning.encrypted_content"]}, {}),
        ({"top_logprobs": 0}, {}),
    ],
)
def test_logprobs_are_asked_for_in_chats_way(fields, made) -> None:
    body = to_chat(**fields)
    assert {name: body[name] for name in ("logprobs", "top_logprobs") if name in body} == made


def test_where_roles_must_alternate_they_do() -> None:
    made = to_chat(
        said(text("Be kind."), role="developer"),
        said(text("Hi")),
        said(text("I am Ann.")),
        said(text("Be short."), role="developer"),
        said(text("Hello", "output_text"), role="assistant"),
        said(text("Ann", "output_text"), role="assistant"),
        call("c1"),
        output("c1"),
        said(text("Look:"), {"type": "input_image", "image_url": PIXEL}),
        said(text("Well?")),
        instructions="Be brief.",
        to=target("chat", strict_alternation=True),
    )
    *others, last = made["messages"]
    assert [(message["role"], message["content"]) for message in others] == [
        ("system", "Be brief.\n\nBe kind."),
        ("user", "Hi\n\nI am Ann.\n\nBe short."),
        ("assistant", "Hello\n\nAnn"),
        ("tool", "done"),
    ]
    assert [part["type"] for part in last["content"]] == ["text", "image_url", "text"]
