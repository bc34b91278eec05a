"""Chat requests as Responses bodies, and thoughts that are replayed to Responses upstreams."""

from __future__ import annotations

import pytest

from gateway_project.lib.errors import BadRequest, UnsupportedParameter
from responses_api.doors.chat import canonical as chat_canonical
from responses_api.doors.responses import canonical as responses_canonical
from routing.protocols.responses import request as responses
from routing.protocols.shared import envelope
from tests.plugins.cases import cases
from tests.support.requests import chat, check, sent, target

USER = {"role": "user", "content": "Hi"}
QUESTION = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}


def to_responses(*messages, to=None, **fields) -> dict:
    """Every body is checked against what OpenAI describes."""
    made = sent("chat", chat(*messages or (USER,), **fields), to or target("responses"))
    check("responses", made)
    return made


def called(call_id="c1", **fields):
    function = {"name": "f", "arguments": '{"a":1}'}
    calls = [{"id": call_id, "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls, **fields}


def result(call_id="c1", content="done"):
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def test_a_question_is_asked_without_state() -> None:
    assert to_responses(to=target("responses", lacks={"reasoning"})) == {
        "model": "some-model",
        "input": [QUESTION],
        "store": False,
    }


def test_a_model_that_reasons_is_asked_for_what_can_be_replayed() -> None:
    assert to_responses()["include"] == ["reasoning.encrypted_content"]


def test_every_role_keeps_its_place() -> None:
    made = to_responses(
        {"role": "system", "content": "Be kind."},
        USER,
        {"role": "assistant", "content": "Hello."},
        {"role": "developer", "content": [{"type": "text", "text": "Be short."}]},
        {"role": "user", "content": "Go", "name": "ann"},
    )
    assert [item["role"] for item in made["input"]] == [
        "system", "user", "assistant", "developer", "user",
    ]  # fmt: skip
    assert made["input"][2]["content"] == "Hello."


def test_parts_of_every_kind() -> None:
    file = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}
    made = to_responses(
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:", "cache_control": {"type": "ephemeral"}},
                {
                    "type": "image_url",
                    "image_url": {"url": "https://x.test/a.png", "detail": "low"},
                },
                {"type": "image_url", "image_url": {"url": "https://x.test/b.png"}},
                {"type": "file", "file": file},
            ],
        }
    )
    assert made["input"][0]["content"] == [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
        {"type": "input_image", "image_url": "https://x.test/b.png", "detail": "auto"},
        {"type": "input_file", **file},
    ]


def test_calls_and_results() -> None:
    call = called(reasoning_content="Hm.", content="I look.")
    made = to_responses(USER, call, result(content=[{"type": "text", "text": "x"}]))
    assert made["input"][1:] == [
        {"type": "message", "role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_text", "text": "x"}],
        },
    ]


def test_custom_tools_and_their_calls() -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: x"}}
    calls = [{"id": "c1", "type": "custom", "custom": {"name": "exec", "input": "ls"}}]
    made = to_responses(
        {"role": "assistant", "tool_calls": calls},
        result(),
        tools=[
            {"type": "custom", "custom": {"name": "exec", "description": "D", "format": grammar}}
        ],
        tool_choice={"type": "custom", "custom": {"name": "exec"}},
    )
    assert made["input"] == [
        {"type": "custom_tool_call", "call_id": "c1", "name": "exec", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
    ]
    flat = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    assert made["tools"] == [{"type": "custom", "name": "exec", "description": "D", "format": flat}]
    assert made["tool_choice"] == {"type": "custom", "name": "exec"}


def test_the_deprecated_functions() -> None:
    made = to_responses(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "done"},
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    call, output = made["input"]
    assert (call["name"], call["call_id"]) == ("f", output["call_id"])
    assert made["tools"] == [
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
    ]
    assert made["tool_choice"] == {"type": "function", "name": "f"}
    assert to_responses(functions=[{"name": "f"}], function_call="none")["tool_choice"] == "none"


def test_a_function_is_not_strict_unless_the_client_said_so() -> None:
    tools = [
        {"type": "function", "function": {"name": "loose"}},
        {"type": "function", "function": {"name": "exact", "strict": True, "parameters": {}}},
    ]
    made = to_responses(tools=tools)
    assert [tool["strict"] for tool in made["tools"]] == [False, True]


def test_allowed_tools_are_said_in_this_protocols_form() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("a", "b")]
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "b"}}]}
    made = to_responses(
        tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed}
    )
    flat = [{"type": "function", "name": "b"}]
    assert made["tool_choice"] == {"type": "allowed_tools", "mode": "auto", "tools": flat}
    assert len(made["tools"]) == 2


def test_a_hosted_tool_never_slips_through_with_another_tenants_files() -> None:
    stores = {"type": "file_search", "vector_store_ids": ["vs_1"]}
    assert "tools" not in to_responses(tools=[stores])
    function = {"type": "function", "function": {"name": "f"}}
    assert [tool["type"] for tool in to_responses(tools=[stores, function])["tools"]] == [
        "function"
    ]


def test_state_named_by_a_chat_client_is_never_sent() -> None:
    state = {"previous_response_id": "resp_1", "conversation": "conv_1", "prompt": {"id": "p"}}
    assert to_responses(**state, background=True, input="x") == to_responses()


def test_without_tools_no_choice_is_sent() -> None:
    made = to_responses(tools=[], tool_choice="auto", parallel_tool_calls=True)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(made)


def test_parameters_have_this_protocols_names() -> None:
    schema = {"name": "out", "schema": {"type": "object"}, "strict": True}
    made = to_responses(
        max_tokens=50,
        max_completion_tokens=90,
        reasoning_effort="low",
        verbosity="high",
        response_format={"type": "json_schema", "json_schema": schema},
        logprobs=True,
        top_logprobs=2,
        n=1,
        presence_penalty=0,
        stream=True,
        stream_options={"include_usage": True},
        store=True,
    )
    del made["input"]
    assert made == {
        "model": "some-model",
        "max_output_tokens": 90,
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "high", "format": {"type": "json_schema", **schema}},
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
        "top_logprobs": 2,
        "stream": True,
        "store": False,
    }


@cases(
    ("messages", "param", "clients"),
    [
        ([result()], "input[0].call_id", "messages[0].tool_call_id"),
        ([USER, called(content="x", reasoning="y")], "input[3].call_id", "messages[1].tool_calls[0].id"),
    ],
)  # fmt: skip
def test_errors_about_items_can_be_told_in_the_clients_words(messages, param, clients) -> None:
    with pytest.raises(BadRequest) as refused:
        to_responses(*messages)
    assert refused.value.param == param
    assert chat_canonical.client_param(chat(*messages), param) == clients


@cases(
    ("param", "clients"),
    [
        ("input[0].content[1].file_data", "messages[0].content[1].file.file_data"),
        ("input[0].content[0].image_url", "messages[0].content[0].image_url.url"),
        ("input[0].content[0].type", "messages[0].content[0].type"),
        ("input[9].content[0]", "messages"),
        ("tools[0].name", "tools[0].function.name"),
        ("tools[1].parameters", "functions[0].parameters"),
        ("max_output_tokens", "max_tokens"),
        ("text.format", "response_format"),
        ("tool_choice", "tool_choice"),
    ],
)
def test_other_errors_too(param, clients) -> None:
    part = {"type": "image_url", "image_url": {"url": "x"}}
    file = {"type": "file", "file": {"file_data": "x"}}
    body = chat(
        {"role": "user", "content": [part, file]},
        tools=[{"type": "function", "function": {"name": ""}}],
        functions=[{"name": "f"}],
    )
    assert chat_canonical.client_param(body, param) == clients


def test_an_error_about_a_string_input_names_the_input() -> None:
    assert responses_canonical.client_param({"input": "Hi"}, "input[0].content[0]") == "input"
    assert responses_canonical.client_param({"input": []}, "input[0].type") == "input[0].type"


@cases(
    ("message", "param"),
    [
        ({"role": "critic", "content": "x"}, "messages[0].role"),
        ({"role": "user", "content": [{"type": "video"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].type"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "function", "name": "f", "content": "x"}, "messages[0]"),
        ({"role": "assistant", "audio": {"id": "a"}}, "messages[0].audio"),
        (called(call_id=None), "messages[0].tool_calls[0].id"),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"arguments": ""}}]},
            "messages[0].tool_calls[0].function.name",
        ),
    ],
)
def test_a_broken_message_is_refused_by_name(message, param) -> None:
    with pytest.raises(BadRequest) as refused:
        chat_canonical.canonical(chat(message))
    assert refused.value.param == param


def test_a_raw_thought_is_an_item_of_its_own_before_what_it_led_to() -> None:
    for name in ("reasoning_content", "reasoning"):
        items = chat_canonical.canonical(chat(called(**{name: "Hm."}), result()))["input"]
        assert [item["type"] for item in items] == [
            "reasoning", "function_call", "function_call_output",
        ]  # fmt: skip
        assert items[0]["content"] == [{"type": "reasoning_text", "text": "Hm."}]


def test_a_responses_body_is_canonical_but_for_a_string_input() -> None:
    body = {"model": "m", "input": [QUESTION], "anything": 1}
    assert responses_canonical.canonical(body) is body
    assert responses_canonical.canonical({"model": "m", "input": "Hi"})["input"] == [QUESTION]
    assert responses_canonical.canonical({"model": "m"})["input"] == []


# Thoughts, on relay too


def relayed(*items, to=None) -> list:
    made = responses.request({"model": "m", "input": list(items)}, to or target("responses"))
    return made["input"]


def thought(sealed):
    return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}


def test_what_openai_sealed_is_replayed_untouched() -> None:
    items = [QUESTION, thought("gAAAA"), {"type": "reasoning", "summary": []}]
    assert relayed(*items) == items


def test_the_summary_of_a_thought_another_vendor_sealed_stays() -> None:
    summary = [{"type": "summary_text", "text": "Hm."}]
    foreign = {**thought(envelope.pack("anthropic", "claude", "sig")), "summary": summary}
    assert relayed(foreign) == [{"type": "reasoning", "summary": summary}]


def test_a_thought_without_a_payload_keeps_its_text_with_its_own_vendor_only() -> None:
    unsealed = envelope.pack("responses", "acme", None)
    raw = {**thought(unsealed), "content": [{"type": "reasoning_text", "text": "Hm."}]}
    assert relayed(raw) == [{k: v for k, v in raw.items() if k != "encrypted_content"}]
    assert relayed(raw, to=target("responses", provider="other")) == []
    assert relayed(thought(unsealed)) == []


def test_a_compaction_goes_back_to_its_own_vendor_and_is_never_left_out() -> None:
    compaction = {"type": "compaction", "id": "cmp_1"}
    own = {**compaction, "encrypted_content": envelope.pack("responses", "acme", "gAAAA")}
    assert relayed(own) == [{**compaction, "encrypted_content": "gAAAA"}]
    with pytest.raises(UnsupportedParameter, match="another provider") as refused:
        relayed(QUESTION, own, to=target("responses", provider="other"))
    assert refused.value.param == "input[1].type"


def test_what_another_vendor_sealed_is_left_out() -> None:
    foreign = thought(envelope.pack("anthropic", "claude", {"type": "thinking"}))
    damaged = thought(envelope.PREFIX + "???")
    assert relayed(QUESTION, foreign, damaged) == [QUESTION]


def test_what_this_provider_sealed_is_opened() -> None:
    own = thought(envelope.pack("responses", "acme", "gAAAA"))
    assert relayed(own) == [thought("gAAAA")]
    assert relayed(own, to=target("responses", provider="other")) == []


def test_an_envelope_gives_back_what_it_was_given() -> None:
    payload = {"type": "thinking", "signature": "ü=="}
    sealed = envelope.pack("anthropic", "acme", payload)
    assert envelope.unpack(sealed) == envelope.Sealed("anthropic", "acme", payload)
    assert envelope.unpack("gAAAA") is None
    assert envelope.unpack(envelope.PREFIX + "W10") is None
