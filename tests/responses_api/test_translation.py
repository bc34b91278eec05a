"""All six cells over real sockets: every door to every upstream protocol, as JSON and as a stream.

Only the provider is fake. Whatever it speaks, the client gets the same answer; where protocols differ in
what they can say, the table in the test tells how.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from gateway_project.sandbox.log import LoggedCall
from gateway_project.sandbox.plan import REASONING, REFUSAL
from gateway_project.sandbox.reply import Scripted
from tests.plugins.cases import cases
from tests.support import grammar, rows
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.reference import event_validators, explain, response_validator
from tests.support.rows import Customer

Json = dict[str, Any]

PROTOCOLS = ("chat", "responses", "anthropic")
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TIME = {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edit files."}
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}
LONG = "x" * 400
over_each_protocol = cases("protocol", PROTOCOLS)
streamed_or_not = cases("stream", [False, True], ids=["json", "stream"])


class Door:
    """A client of one door: asks, and checks the form of what it gets."""

    def __init__(self, gateway: LiveGateway, customer: Customer) -> None:
        self.gateway = gateway
        self.http = client_of(gateway, customer)
        self.headers: dict[str, str] = {}

    def close(self) -> None:
        self.http.close()

    def post(self, path: str, body: Json) -> httpx.Response:
        answer = self.http.post(path, json=body)
        self.headers = dict(answer.headers)
        return answer

    @property
    def sent(self) -> LoggedCall:
        """The call that the provider received last."""
        self.gateway.idle()
        return self.gateway.sandbox.calls[-1]


class ResponsesDoor(Door):
    def ask(self, protocol: str, stream: bool, given: Any, **body: Any) -> Json:
        """The final Response."""
        request = {"model": f"sandbox-{protocol}", "input": given, "stream": stream, **body}
        answer = self.post("/responses", request)
        assert answer.status_code == 200, answer.text
        if not stream:
            response: Json = answer.json()
            if protocol != "responses":
                assert explain(response_validator(), response) == []
            return response
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = grammar.read(answer.content)
        validators = event_validators()
        for event in events:
            assert explain(validators[event["type"]], event) == []
        return grammar.check(events)


class ChatDoor(Door):
    def ask(self, protocol: str, stream: bool, given: Any, **body: Any) -> Json:
        """The completion; a stream's is put together from its chunks."""
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
        request = {"model": f"sandbox-{protocol}", "messages": messages, "stream": stream, **body}
        if stream:
            request["stream_options"] = {"include_usage": True}
        answer = self.post("/chat/completions", request)
        assert answer.status_code == 200, answer.text
        return _gathered(answer.text) if stream else answer.json()


def _gathered(stream: str) -> Json:
    blocks = stream.removesuffix("\n\n").split("\n\n")
    assert blocks[-1] == "data: [DONE]"
    chunks = [json.loads(block.removeprefix("data: ")) for block in blocks[:-1]]
    message: Json = {}
    calls: dict[int, Json] = {}
    choice: Json = {"index": 0, "message": message}
    for chunk in chunks[:-1]:
        assert chunk["usage"] is None
        (part,) = chunk["choices"]
        for name, value in part["delta"].items():
            if name == "tool_calls":
                _gather_call(calls, value[0])
            elif isinstance(value, str):
                message[name] = (message.get(name) or "") + value
            else:
                message.setdefault(name, value)
        choice["finish_reason"] = part["finish_reason"]
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    assert chunks[-1]["choices"] == []
    return {**chunks[-1], "choices": [choice]}


def _gather_call(calls: dict[int, Json], piece: Json) -> None:
    call = calls.setdefault(piece.pop("index"), {})
    for name, value in piece.items():
        if not isinstance(value, dict):
            call[name] = value
            continue
        kept = call.setdefault(name, {})
        for field, text in value.items():
            kept[field] = kept.get(field, "") + text


@pytest.fixture
def responses(gateway: LiveGateway, acme: Customer) -> Iterator[ResponsesDoor]:
    door = ResponsesDoor(gateway, acme)
    yield door
    door.close()


@pytest.fixture
def chat(gateway: LiveGateway, acme: Customer) -> Iterator[ChatDoor]:
    door = ChatDoor(gateway, acme)
    yield door
    door.close()


@pytest.fixture
def sdk(gateway: LiveGateway, acme: Customer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.base_url, api_key=acme.secret, max_retries=0) as client:
        yield client


def output_text(response: Json) -> str:
    return "".join(
        part["text"]
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
        if part["type"] == "output_text"
    )


def calls_of(response: Json) -> list[Json]:
    return [item for item in response["output"] if item["type"].endswith("_call")]


def as_chat_tool(tool: Json) -> Json:
    kind = tool["type"]
    return {"type": kind, kind: {name: value for name, value in tool.items() if name != "type"}}


# Responses to everything


@over_each_protocol
@streamed_or_not
def test_a_response_says_what_the_provider_said(responses, protocol, stream):
    response = responses.ask(protocol, stream, "Hi", metadata={"team": "a"})
    assert output_text(response) == "You said: Hi"
    assert response["status"] == "completed"
    assert response["model"] == f"sandbox-{protocol}"
    assert response["id"].startswith("resp_")
    assert response["store"] is True
    assert response["metadata"] == {"team": "a"}
    assert (
        response["usage"]["total_tokens"]
        == (response["usage"]["input_tokens"] + response["usage"]["output_tokens"])
        > 0
    )
    assert response["usage"]["input_tokens_details"] == {
        "cached_tokens": 0,
        "cache_write_tokens": 0,
    }


@cases("protocol", ["chat", "anthropic"])
@streamed_or_not
def test_a_translated_response_has_its_text_at_hand(responses, protocol, stream):
    assert responses.ask(protocol, stream, "Hi")["output_text"] == "You said: Hi"


@over_each_protocol
@streamed_or_not
def test_a_tool_is_called_and_its_result_is_read(responses, protocol, stream):
    question = {"role": "user", "content": "[tool] Weather?"}
    response = responses.ask(protocol, stream, [question], tools=[WEATHER])
    (call,) = calls_of(response)
    assert (call["type"], call["name"]) == ("function_call", "get_weather")
    assert json.loads(call["arguments"]) == {"city": "sandbox"}
    assert call["id"] != call["call_id"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    history = [question, *response["output"], result]
    after = responses.ask(protocol, stream, history, tools=[WEATHER])
    assert output_text(after) == "The tool answered: sunny"


@over_each_protocol
@streamed_or_not
def test_parallel_calls_are_told_apart(responses, protocol, stream):
    response = responses.ask(protocol, stream, "[tools=3]", tools=[WEATHER, TIME])
    calls = calls_of(response)
    assert [call["name"] for call in calls] == ["get_weather", "get_time", "get_weather"]
    assert len({call["call_id"] for call in calls}) == 3
    assert len({call["id"] for call in calls}) == 3
    results = [
        {"type": "function_call_output", "call_id": call["call_id"], "output": str(number)}
        for number, call in enumerate(calls)
    ]
    asked = {"role": "user", "content": "[tools=3]"}
    after = responses.ask(
        protocol, stream, [asked, *response["output"], *results], tools=[WEATHER, TIME]
    )
    assert output_text(after) == "The tool answered: 0 / 1 / 2"


@over_each_protocol
@streamed_or_not
def test_a_custom_tool_gets_plain_text(responses, protocol, stream):
    (call,) = calls_of(responses.ask(protocol, stream, "[tool]", tools=[PATCH]))
    assert (call["type"], call["name"]) == ("custom_tool_call", "apply_patch")
    assert call["input"] == (
        "plain input for apply_patch" if protocol == "responses" else "sandbox"
    )
    assert "arguments" not in call
    result = {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "done"}
    after = responses.ask(
        protocol,
        stream,
        [{"role": "user", "content": "[tool]"}, {**call, "input": "x"}, result],
        tools=[PATCH],
    )
    assert output_text(after) == "The tool answered: done"


@over_each_protocol
@streamed_or_not
def test_a_tool_of_a_namespace_comes_back_by_its_own_name(responses, protocol, stream):
    clock = {"type": "namespace", "name": "clock", "description": "Time.", "tools": [TIME]}
    (call,) = calls_of(responses.ask(protocol, stream, "[tool]", tools=[clock]))
    assert (call["namespace"], call["name"]) == ("clock", "get_time")


@over_each_protocol
@streamed_or_not
def test_thought_is_kept_apart_from_the_answer(responses, protocol, stream):
    response = responses.ask(
        protocol, stream, "[reason] Hi", reasoning={"effort": "low", "summary": "auto"}
    )
    thought, message = response["output"]
    told = [*thought["summary"], *thought.get("content", ())]
    assert "".join(part["text"] for part in told) == REASONING
    assert message["type"] == "message"
    assert output_text(response) == "You said: Hi"
    if protocol != "chat":
        assert thought["encrypted_content"]
    after = responses.ask(
        protocol,
        stream,
        [{"role": "user", "content": "a"}, *response["output"], {"role": "user", "content": "b"}],
    )
    assert output_text(after) == "You said: b"


@over_each_protocol
@streamed_or_not
def test_a_refusal_is_no_ordinary_answer(responses, protocol, stream):
    response = responses.ask(protocol, stream, "[refuse]")
    if protocol == "anthropic":  # which gives no words with it
        assert response["incomplete_details"] == {"reason": "content_filter"}
        return
    (message,) = response["output"]
    assert [part["refusal"] for part in message["content"]] == [REFUSAL]
    assert output_text(response) == ""


@over_each_protocol
@streamed_or_not
def test_a_structured_answer_is_text_of_that_structure(responses, protocol, stream):
    form = {"type": "json_schema", "name": "reply", "schema": SCHEMA, "strict": True}
    response = responses.ask(protocol, stream, "Hi", text={"format": form})
    assert json.loads(output_text(response)) == {"answer": 0}
    assert calls_of(response) == []
    assert response["text"]["format"]["schema"] == SCHEMA


@over_each_protocol
@streamed_or_not
def test_an_answer_cut_at_the_limit_is_incomplete(responses, protocol, stream):
    response = responses.ask(protocol, stream, LONG, max_output_tokens=16)
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][-1]["status"] == "incomplete"
    assert response["usage"]["output_tokens"] == 16


# Chat Completions to everything


@over_each_protocol
@streamed_or_not
def test_a_completion_says_what_the_provider_said(chat, protocol, stream):
    answer = chat.ask(protocol, stream, "Hi")
    (choice,) = answer["choices"]
    assert choice["message"]["content"] == "You said: Hi"
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "stop"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == f"sandbox-{protocol}"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


@over_each_protocol
def test_a_client_that_did_not_ask_for_usage_gets_none(chat, protocol):
    body = {"model": f"sandbox-{protocol}", "messages": [{"role": "user", "content": "Hi"}]}
    answer = chat.post("/chat/completions", {**body, "stream": True})
    assert '"usage":{' not in answer.text


@over_each_protocol
@streamed_or_not
def test_a_chat_tool_is_called_and_its_result_is_read(chat, protocol, stream):
    asked = {"role": "user", "content": "[tools=2]"}
    tools = [as_chat_tool(WEATHER), as_chat_tool(TIME)]
    (choice,) = chat.ask(protocol, stream, [asked], tools=tools)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    calls = choice["message"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["get_weather", "get_time"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [
        {"city": "sandbox"},
        {},
    ]
    assert choice["message"]["content"] is None
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": name}
        for call, name in zip(calls, "ab", strict=True)
    ]
    history = [asked, choice["message"], *results]
    (after,) = chat.ask(protocol, stream, history, tools=tools)["choices"]
    assert after["message"]["content"] == "The tool answered: a / b"


@over_each_protocol
@streamed_or_not
def test_a_custom_chat_tool_has_chats_own_shape(chat, protocol, stream):
    answer = chat.ask(protocol, stream, "[tool]", tools=[as_chat_tool(PATCH)])
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    text = "sandbox" if protocol == "anthropic" else "plain input for apply_patch"
    assert call == {
        "id": call["id"],
        "type": "custom",
        "custom": {"name": "apply_patch", "input": text},
    }


@over_each_protocol
@streamed_or_not
def test_thought_is_reasoning_content(chat, protocol, stream):
    answer = chat.ask(protocol, stream, "[reason] Hi")
    message = answer["choices"][0]["message"]
    assert message["reasoning_content"] == REASONING
    assert message["content"] == "You said: Hi"


@over_each_protocol
@streamed_or_not
def test_a_chat_refusal_is_no_content(chat, protocol, stream):
    (choice,) = chat.ask(protocol, stream, "[refuse]")["choices"]
    if protocol == "anthropic":
        assert choice["finish_reason"] == "content_filter"
        return
    assert choice["message"]["refusal"] == REFUSAL
    assert not choice["message"]["content"]


@over_each_protocol
@streamed_or_not
def test_a_structured_completion_is_text_of_that_structure(chat, protocol, stream):
    form = {"type": "json_schema", "json_schema": {"name": "reply", "schema": SCHEMA}}
    (choice,) = chat.ask(protocol, stream, "Hi", response_format=form)["choices"]
    assert json.loads(choice["message"]["content"]) == {"answer": 0}
    assert choice["finish_reason"] == "stop"


@over_each_protocol
@streamed_or_not
def test_a_completion_cut_at_the_limit_says_length(chat, protocol, stream):
    answer = chat.ask(protocol, stream, LONG, max_completion_tokens=16)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 16


@over_each_protocol
@streamed_or_not
def test_a_limit_below_the_minimum_of_the_responses_api_is_raised_to_it(chat, protocol, stream):
    chat.ask(protocol, stream, LONG, max_completion_tokens=5)
    sent = chat.sent.body
    limits = {
        "chat": "max_completion_tokens",
        "responses": "max_output_tokens",
        "anthropic": "max_tokens",
    }
    assert sent[limits[protocol]] == (16 if protocol == "responses" else 5)


# What the sandbox chooses by itself


def offered(*names: str) -> list[Json]:
    return [{"type": "function", "name": name, "parameters": None} for name in names]


@over_each_protocol
def test_the_sandbox_calls_a_tool_whose_name_is_in_the_question(responses, protocol):
    for name, question, is_called in (
        ("get_weather", "What's the weather like in San Francisco?", True),
        ("getWeatherNow", "WEATHER!", True),
        ("HTTPWeather-v2", "The weather?", True),
        ("get_weather", "What now?", False),
        ("get_weather", "Is it cold? Get me a coat.", False),  # a word of three letters
        ("get_weather", "Weatherproof?", False),
        ("run_it", "run it", False),
    ):
        response = responses.ask(protocol, False, question, tools=offered(name))
        called = [call["name"] for call in calls_of(response)]
        assert called == [name] * is_called, (name, question)
    fields = {"tools": offered("get_weather"), "tool_choice": "none"}
    assert calls_of(responses.ask(protocol, False, "The weather?", **fields)) == []


@over_each_protocol
@streamed_or_not
def test_the_sandbox_calls_each_such_tool_once_for_a_question(responses, protocol, stream):
    tools = offered("get_time", "get_weather", "read_news")
    given: list[Json] = [{"role": "user", "content": "The weather and the news, please."}]
    called: list[str] = []
    for _ in range(3):
        response = responses.ask(protocol, stream, given, tools=tools)
        for call in calls_of(response):
            called.append(call["name"])
            output = {"type": "function_call_output", "call_id": call["call_id"], "output": "fine"}
            given += [call, output]
    assert called == ["get_weather", "read_news"]
    assert output_text(response) == "The tool answered: fine / fine"
    given.append({"role": "user", "content": "And the weather tomorrow?"})
    response = responses.ask(protocol, stream, given, tools=tools)
    assert [call["name"] for call in calls_of(response)] == ["get_weather"]


# The official SDK


@over_each_protocol
@cases(
    "given",
    ["Hi", "[reason] Hi", "[tools=2]", "[refuse]", "[reason][tools=2]"],
)
def test_the_sdks_strict_accumulator_follows_every_stream(sdk, protocol, given):
    with sdk.responses.stream(
        model=f"sandbox-{protocol}", input=given, tools=[WEATHER, PATCH]
    ) as stream:
        events = list(stream)
    last = events[-1]
    assert last.type == (
        "response.incomplete"
        if (given, protocol) == ("[refuse]", "anthropic")
        else "response.completed"
    )
    if last.type == "response.completed":
        assert stream.get_final_response().output_text == last.response.output_text


@over_each_protocol
def test_the_sdk_parses_a_structured_answer(sdk, protocol):
    form = {"type": "json_schema", "name": "reply", "schema": SCHEMA, "strict": True}
    with sdk.responses.stream(
        model=f"sandbox-{protocol}", input="Hi", text={"format": form}
    ) as stream:
        response = stream.get_final_response()
    assert json.loads(response.output_text) == {"answer": 0}


@over_each_protocol
@cases("given", ["Hi", "[reason] Hi", "[tools=2]", "[refuse]"])
def test_the_sdks_chat_stream_follows_every_stream(sdk, protocol, given):
    with sdk.chat.completions.stream(
        model=f"sandbox-{protocol}",
        messages=[{"role": "user", "content": given}],
        tools=[as_chat_tool(WEATHER)],
    ) as stream:
        for _ in stream:
            pass
        if (given, protocol) == ("[refuse]", "anthropic"):
            return
        choice = stream.get_final_completion().choices[0]
    calls = choice.message.tool_calls or []
    assert len(calls) == (2 if "tools" in given else 0)
    assert choice.finish_reason == ("tool_calls" if calls else "stop")


# What is asked of the provider, and what is told beside the answer


@cases("protocol", ["chat", "anthropic"])
@streamed_or_not
def test_hosted_tools_are_left_out_and_listed(responses, protocol, stream):
    tools = [{"type": "web_search"}, {"type": "x\r\nset-cookie: a"}, WEATHER]
    body = {"model": f"sandbox-{protocol}", "input": "Hi", "stream": stream, "tools": tools}
    assert responses.post("/responses", body).status_code == 200
    assert responses.headers["x-tollgate-dropped"] == "web_search, x_set-cookie:_a"
    assert "set-cookie" not in responses.headers
    assert "web_search" not in json.dumps(responses.sent.body)


@over_each_protocol
def test_nothing_dropped_is_not_mentioned(responses, chat, protocol):
    responses.ask(protocol, False, "Hi", tools=[WEATHER])
    chat.ask(protocol, True, "Hi")
    assert "x-tollgate-dropped" not in responses.headers
    assert "x-tollgate-dropped" not in chat.headers


@streamed_or_not
def test_an_alias_may_drop_what_its_provider_does_not_know(gateway, acme, chat, stream):
    provider = rows.provider("anthropic", gateway.sandbox.base_url, "other")
    rows.alias("sandbox-lenient", (provider, "sandbox-1"), drop_unsupported=True)
    chat.ask("lenient", stream, "Hi", seed=1, logit_bias={"1": 1})
    assert chat.headers["x-tollgate-dropped"] == "seed, logit_bias"


@streamed_or_not
def test_what_the_provider_does_not_know_is_refused_by_its_own_name(chat, stream):
    body = {
        "model": "sandbox-anthropic",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
    }
    answer = chat.post("/chat/completions", {**body, "seed": 1})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "seed"
    assert answer.json()["error"]["code"] == "unsupported_parameter"
    orphan = {"role": "tool", "tool_call_id": "call_x", "content": "a"}
    answer = chat.post("/chat/completions", {**body, "messages": [*body["messages"], orphan]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages[1].tool_call_id"


def test_a_target_that_cannot_be_asked_this_is_passed_over(gateway, acme, chat):
    strict = rows.provider("anthropic", gateway.sandbox.base_url, "strict")
    able = rows.provider("chat", gateway.sandbox.base_url, "able")
    rows.alias("sandbox-two", (strict, "sandbox-1"), (able, "sandbox-1"))
    chat.ask("two", False, "Hi", seed=1)
    assert chat.sent.protocol == "chat"
    chat.ask("two", False, "Hi")
    assert chat.sent.protocol == "anthropic"


def test_the_failure_of_a_target_that_was_asked_is_told_before_that_of_one_that_was_not(
    gateway, acme, chat
):
    able = rows.provider("chat", gateway.sandbox.base_url, "able")
    strict = rows.provider("anthropic", gateway.sandbox.base_url, "strict")
    rows.alias("sandbox-two", (able, "sandbox-fault-503"), (strict, "sandbox-1"))
    body = {"model": "sandbox-two", "messages": [{"role": "user", "content": "Hi"}], "seed": 1}
    answer = chat.post("/chat/completions", body)
    assert answer.status_code == 503
    assert len(gateway.sandbox.calls) == 1


@streamed_or_not
def test_an_answer_moves_to_a_target_of_another_protocol(gateway, acme, responses, stream):
    native = rows.provider("responses", gateway.sandbox.base_url, "native")
    other = rows.provider("anthropic", gateway.sandbox.base_url, "other")
    rows.alias("sandbox-two", (native, "sandbox-fault-500"), (other, "sandbox-1"))
    assert output_text(responses.ask("two", stream, "Hi")) == "You said: Hi"


def test_what_a_client_sends_for_openais_eyes_reaches_nobody_else(gateway, acme, responses):
    told = {"x-codex-turn-metadata": "secret-workspace", "session-id": "s"}
    responses.http.headers.update(told)
    for protocol in PROTOCOLS:
        responses.ask(protocol, True, "Hi")
        assert ("x-codex-turn-metadata" in responses.sent.headers) == (protocol == "responses")
        assert ("anthropic-version" in responses.sent.headers) == (protocol == "anthropic")


def test_native_only_still_means_native_only(gateway, acme, responses):
    native = rows.provider("responses", gateway.sandbox.base_url, "native")
    other = rows.provider("chat", gateway.sandbox.base_url, "other")
    rows.alias("both", (other, "sandbox-1"), (native, "sandbox-1"), responses_mode="native_only")
    rows.alias("none", (other, "sandbox-1"), responses_mode="native_only")
    assert responses.post("/responses", {"model": "both", "input": "Hi"}).status_code == 200
    assert responses.sent.protocol == "responses"
    refused = responses.post("/responses", {"model": "none", "input": "Hi"})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "model"


def test_what_only_goes_back_to_the_client_must_be_writable_too(gateway, responses):
    deep = "[" * 600 + "]" * 600
    body = f'{{"model":"sandbox-chat","input":"Hi","tools":[{{"type":"web_search","x":{deep}}}]}}'
    answer = responses.http.post(
        "/responses", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert len(gateway.sandbox.calls) == 0


# Failures


BREAKS = ["cut", "clean-eof", "reset", "error-mid"]
CHAT_CUT = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
TOOL_CALL = (
    CHAT_CUT
    + b'"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"call_1","type":"function",'
    b'"function":{"name":"get_time","arguments":"{}"}}]},"finish_reason":null}]}\n\n'
)


@cases("protocol", ["chat", "anthropic"])
@cases("fault", BREAKS)
def test_a_stream_that_breaks_off_fails_with_what_was_said(responses, protocol, fault):
    body = {"input": "one two three four", "stream": True}
    rows_alias_fault(responses, protocol, fault)
    answer = responses.post("/responses", {**body, "model": "broken"})
    response = grammar.check_stream(answer.content)
    assert response["status"] == "failed"
    (message,) = response["output"]
    assert message["status"] == "incomplete"
    assert "You said: one two three four".startswith(output_text(response))
    assert output_text(response)


@cases("protocol", ["responses", "anthropic"])
@cases("fault", BREAKS)
def test_a_chat_stream_that_breaks_off_has_no_end(chat, protocol, fault):
    rows_alias_fault(chat, protocol, fault)
    body: Json = {
        "model": "broken",
        "messages": [{"role": "user", "content": "one two three four"}],
    }
    with pytest.raises(httpx.RemoteProtocolError):
        chat.post("/chat/completions", {**body, "stream": True})
    with (
        openai.OpenAI(
            base_url=str(chat.http.base_url),
            api_key=chat.http.headers["authorization"].removeprefix("Bearer "),
            max_retries=0,
        ) as client,
        pytest.raises(openai.APIError),
    ):
        list(client.chat.completions.create(**body, stream=True))


def rows_alias_fault(door: Door, protocol: str, fault: str) -> None:
    provider = rows.provider(protocol, door.gateway.sandbox.base_url, "broken")
    rows.alias("broken", (provider, f"sandbox-fault-{fault}"))


@streamed_or_not
def test_a_call_that_was_not_allowed_never_reaches_the_client(gateway, responses, stream):
    rows_alias_scripted(responses, stream)
    choice = {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "get_weather"}],
    }
    body = {"model": "scripted", "input": "Hi", "tools": [WEATHER, TIME], "tool_choice": choice}
    answer = responses.post("/responses", {**body, "stream": stream})
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_malformed"
    assert "'get_time'" in answer.json()["error"]["message"]


def rows_alias_scripted(door: Door, stream: bool) -> None:
    gateway = door.gateway
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_time", "arguments": "{}"},
    }
    whole = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None, "tool_calls": [call]},
                "finish_reason": "tool_calls",
            }
        ],
    }
    scripted = (
        Scripted(chunks=[TOOL_CALL])
        if stream
        else Scripted(chunks=[json.dumps(whole).encode()], content_type="application/json")
    )
    gateway.call(lambda: gateway.sandbox.script("scripted-1", scripted))
    rows.alias(
        "scripted", (rows.provider("chat", gateway.sandbox.base_url, "script"), "scripted-1")
    )


@over_each_protocol
def test_a_slow_stream_is_announced_and_kept_alive(gateway, responses, protocol):
    gateway.limit(commit=0.05, keepalive=0.05)
    answer = responses.post(
        "/responses", {"model": f"sandbox-{protocol}", "input": "[wait=800] Hi", "stream": True}
    )
    events = grammar.read(answer.content)
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "keepalive"]
    assert output_text(grammar.check(events)) == "You said: Hi"
