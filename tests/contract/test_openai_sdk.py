"""The official OpenAI SDK, unmodified, through both relay cells and on both prefixes."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from gateway_project.sandbox import Scripted
from routing.models import Provider
from tenants.models import ApiKey
from tests.plugins.cases import cases
from tests.plugins.tiers import sampled
from tests.support import rows
from tests.support.patience import GIVE_UP_SECONDS

pytestmark = [pytest.mark.clients, pytest.mark.django_db(transaction=True)]

PREFIXES = ("/v1", "/openai/v1")
QUESTION = "How are you?"
ANSWER = "You said: How are you?"
CITY_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CHAT_TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": CITY_SCHEMA},
}
RESPONSES_TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": CITY_SCHEMA,
    "strict": True,
}


class City(BaseModel):
    name: str
    population: int


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture(params=sampled(PREFIXES, default=1, ci=2))
def client(request, gateway, acme):
    base_url = gateway.root_url + request.param
    with OpenAI(
        base_url=base_url, api_key=acme.secret, max_retries=0, timeout=GIVE_UP_SECONDS
    ) as client:
        yield client


@pytest.fixture(params=sampled(PREFIXES, default=1, ci=2))
async def async_client(request, gateway, acme):
    base_url = gateway.root_url + request.param
    async with AsyncOpenAI(
        base_url=base_url, api_key=acme.secret, max_retries=0, timeout=GIVE_UP_SECONDS
    ) as client:
        yield client


@pytest.fixture
def log(gateway, monkeypatch):
    """The lines the gateway logs, one for each call that was settled."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(gateway.worker.services.call_log, "write", lines.append)
    return lines


def fault(name: str, protocol: str = "chat") -> str:
    """An alias whose upstream goes wrong in this way."""
    provider = Provider.objects.get(name=f"sandbox-{protocol}")
    rows.alias(f"{protocol}-{name}", (provider, f"sandbox-fault-{name}"))
    return f"{protocol}-{name}"


def scripted(gateway, name: str, *answers: Scripted) -> str:
    """An alias of a chat model that answers with these raw answers in turn."""
    rows.alias(name, (Provider.objects.get(name="sandbox-chat"), f"{name}-upstream"))
    gateway.sandbox.script(f"{name}-upstream", *answers)
    return name


COMPLETION = Scripted(
    content_type="application/json",
    chunks=(
        b'{"id":"up","object":"chat.completion","created":1,"model":"up",',
        b'"choices":[{"index":0,"finish_reason":"stop",',
        b'"message":{"role":"assistant","content":"at last"}}]}',
    ),
)


def refusal(status: int, **headers: str) -> Scripted:
    return Scripted(status, headers, [b'{"error":{"message":"no"}}'], "application/json")


# Chat Completions


def test_a_chat_completion_answers(client, log):
    answer = client.chat.completions.create(model="sandbox-chat", messages=user(QUESTION))
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "sandbox-chat"
    assert answer.id.startswith("chatcmpl-")
    assert answer._request_id == log[0]["request_id"]
    assert (log[0]["input_fresh"], log[0]["output_visible"]) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )


async def test_a_chat_completion_answers_the_asynchronous_client(async_client):
    answer = await async_client.chat.completions.create(
        model="sandbox-chat", messages=user(QUESTION)
    )
    assert answer.choices[0].message.content == ANSWER


def test_a_chat_stream_shows_usage_only_to_those_who_ask(client, gateway, log):
    with client.chat.completions.create(
        model="sandbox-chat", messages=user(QUESTION), stream=True
    ) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert [chunk.usage for chunk in chunks if chunk.usage] == []
    assert {(chunk.id, chunk.model) for chunk in chunks} == {(chunks[0].id, "sandbox-chat")}
    assert gateway.sandbox.calls[-1].body["stream_options"] == {"include_usage": True}
    assert log[-1]["usage_source"] == "provider"
    assert log[-1]["output_visible"] == gateway.sandbox.calls[-1].usage["completion_tokens"]


def test_a_chat_stream_ends_with_the_usage_that_was_asked_for(client, gateway, log):
    with client.chat.completions.create(
        model="sandbox-chat",
        messages=user(QUESTION),
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        *chunks, last = stream
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER
    assert [chunk.usage for chunk in chunks if chunk.usage] == []
    assert last.choices == []
    assert last.usage.completion_tokens == log[-1]["output_visible"]
    assert last.usage.prompt_tokens == log[-1]["input_fresh"]


async def test_a_chat_stream_reaches_the_asynchronous_client(async_client):
    stream = await async_client.chat.completions.create(
        model="sandbox-chat", messages=user(QUESTION), stream=True
    )
    async with stream:
        text = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(text) == ANSWER


def test_the_chat_stream_helper_accumulates_a_completion(client):
    with client.chat.completions.stream(
        model="sandbox-chat", messages=user(QUESTION), stream_options={"include_usage": True}
    ) as stream:
        completion = stream.get_final_completion()
    assert completion.choices[0].message.content == ANSWER
    assert completion.usage.total_tokens > 0


def test_a_chat_tool_call_makes_its_round_trip(client):
    asked = user("[tool] What is the weather?")
    first = client.chat.completions.create(model="sandbox-chat", messages=asked, tools=[CHAT_TOOL])
    (call,) = first.choices[0].message.tool_calls
    assert first.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    second = client.chat.completions.create(
        model="sandbox-chat", messages=[*asked, first.choices[0].message, result], tools=[CHAT_TOOL]
    )
    assert second.choices[0].message.content == "The tool answered: sunny"


def test_a_streamed_chat_tool_call_accumulates(client):
    with client.chat.completions.stream(
        model="sandbox-chat", messages=user("[tools=2] Weather?"), tools=[CHAT_TOOL]
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["get_weather"] * 2
    assert len({call.id for call in message.tool_calls}) == 2
    assert [set(json.loads(call.function.arguments)) for call in message.tool_calls] == [
        {"city"},
        {"city"},
    ]


def test_a_structured_chat_answer_is_parsed(client):
    answer = client.chat.completions.parse(
        model="sandbox-chat", messages=user("A city"), response_format=City
    )
    assert isinstance(answer.choices[0].message.parsed, City)


# Responses


def test_a_response_answers(client, log):
    response = client.responses.create(model="sandbox-responses", input=QUESTION)
    assert response.output_text == ANSWER
    assert (response.status, response.model) == ("completed", "sandbox-responses")
    assert response.id.startswith("resp_")
    assert response.previous_response_id is None
    assert response._request_id == log[0]["request_id"]
    assert (log[0]["input_fresh"], log[0]["output_visible"]) == (
        response.usage.input_tokens,
        response.usage.output_tokens,
    )


async def test_a_response_answers_the_asynchronous_client(async_client):
    response = await async_client.responses.create(model="sandbox-responses", input=QUESTION)
    assert response.output_text == ANSWER


def test_a_created_stream_tells_the_events_in_order(client, log):
    with client.responses.create(model="sandbox-responses", input=QUESTION, stream=True) as stream:
        events = list(stream)
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == ANSWER
    assert log[-1]["output_visible"] == events[-1].response.usage.output_tokens


def test_the_strict_stream_helper_accepts_every_event(client):
    with client.responses.stream(model="sandbox-responses", input=QUESTION) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert kinds[-1] == "response.completed"
    assert response.output_text == ANSWER
    assert response.usage.total_tokens > 0


async def test_the_strict_asynchronous_stream_helper_accepts_every_event(async_client):
    async with async_client.responses.stream(model="sandbox-responses", input=QUESTION) as stream:
        response = await stream.get_final_response()
    assert response.output_text == ANSWER


def test_a_structured_response_is_parsed(client):
    response = client.responses.parse(model="sandbox-responses", input="A city", text_format=City)
    assert isinstance(response.output_parsed, City)


def test_a_structured_stream_is_parsed(client):
    with client.responses.stream(
        model="sandbox-responses", input="A city", text_format=City
    ) as stream:
        response = stream.get_final_response()
    assert isinstance(response.output_parsed, City)


async def test_a_structured_response_is_parsed_by_the_asynchronous_client(async_client):
    response = await async_client.responses.parse(
        model="sandbox-responses", input="A city", text_format=City
    )
    assert isinstance(response.output_parsed, City)


def test_a_tool_call_makes_its_round_trip(client):
    asked = user("[tool] What is the weather?")
    first = client.responses.create(
        model="sandbox-responses", input=asked, tools=[RESPONSES_TOOL], store=False
    )
    (call,) = first.output
    assert (call.type, call.name, call.status) == ("function_call", "get_weather", "completed")
    assert set(json.loads(call.arguments)) == {"city"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = client.responses.create(
        model="sandbox-responses", input=[*asked, call, result], tools=[RESPONSES_TOOL], store=False
    )
    assert second.output_text == "The tool answered: sunny"


def test_streamed_tool_calls_accumulate(client):
    with client.responses.stream(
        model="sandbox-responses", input="[tools=2] Weather?", tools=[RESPONSES_TOOL]
    ) as stream:
        response = stream.get_final_response()
    assert [item.name for item in response.output] == ["get_weather"] * 2
    assert len({item.id for item in response.output}) == 2
    assert len({item.call_id for item in response.output}) == 2


def test_reasoning_comes_back_and_is_replayed_unchanged(client, gateway):
    first = client.responses.create(
        model="sandbox-responses", input=QUESTION, reasoning={"effort": "low", "summary": "auto"}
    )
    reasoning, message = first.output
    assert (reasoning.type, message.type) == ("reasoning", "message")
    assert first.usage.output_tokens_details.reasoning_tokens > 0
    assert gateway.sandbox.calls[-1].body["include"] == ["reasoning.encrypted_content"]
    client.responses.create(model="sandbox-responses", input=[*first.output, *user("And now?")])
    replayed = gateway.sandbox.calls[-1].body["input"][0]
    assert replayed["encrypted_content"] == reasoning.encrypted_content
    assert replayed["summary"] == [part.to_dict() for part in reasoning.summary]


def test_streamed_reasoning_accumulates(client, log):
    with client.responses.stream(
        model="sandbox-responses", input=QUESTION, reasoning={"effort": "low"}
    ) as stream:
        response = stream.get_final_response()
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert log[-1]["output_reasoning"] == response.usage.output_tokens_details.reasoning_tokens


def test_an_incomplete_response_says_why(client):
    response = client.responses.create(
        model="sandbox-responses", input="[size=4000]", max_output_tokens=16
    )
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


# Models


def test_models_are_listed_and_retrieved(client):
    listed = [model.id for model in client.models.list()]
    assert listed == ["sandbox-anthropic", "sandbox-chat", "sandbox-responses"]
    model = client.models.retrieve("sandbox-chat")
    assert (model.id, model.object, model.owned_by) == ("sandbox-chat", "model", "tollgate")


async def test_models_are_listed_to_the_asynchronous_client(async_client):
    listed = [model.id async for model in async_client.models.list()]
    assert listed == ["sandbox-anthropic", "sandbox-chat", "sandbox-responses"]


# Errors


def test_a_wrong_key_is_an_authentication_error(client):
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="tg_live_wrong").models.list()
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="tg_live_wrong").responses.create(model="any", input="hi")


def test_a_key_without_the_scope_is_a_permission_error(client, acme):
    ApiKey.objects.filter(pk=acme.key.pk).update(scopes=["models"])
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.responses.create(model="sandbox-responses", input="hi")
    assert caught.value.code == "insufficient_scope"


def test_an_unknown_model_is_a_not_found_error(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nothing", messages=user("hi"))
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert str(caught.value.request_id).startswith("req_")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_a_wrong_parameter_is_a_bad_request_error_that_names_it(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="sandbox-responses", input="hi", temperature="hot")
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(
            model="sandbox-responses", input="hi", previous_response_id="resp_1"
        )
    assert caught.value.param == "previous_response_id"


@cases("protocol", ["chat", "responses"])
@cases(
    ("name", "error", "status", "code"),
    [
        ("400", openai.BadRequestError, 400, "upstream_rejected"),
        ("422", openai.UnprocessableEntityError, 422, "upstream_rejected"),
        ("429", openai.RateLimitError, 429, "rate_limit_exceeded"),
        ("429-insufficient-quota", openai.RateLimitError, 429, "upstream_quota_exhausted"),
        ("401", openai.InternalServerError, 502, "upstream_auth_failed"),
        ("404", openai.NotFoundError, 404, "model_not_found"),
        ("500", openai.InternalServerError, 502, "upstream_error"),
        ("503", openai.InternalServerError, 503, "upstream_overloaded"),
    ],
)
def test_an_upstreams_refusal_is_the_sdks_exception(client, protocol, name, error, status, code):
    model = fault(name, protocol)
    ask = {
        "chat": lambda: client.chat.completions.create(model=model, messages=user("hi")),
        "responses": lambda: client.responses.create(model=model, input="hi"),
    }[protocol]
    with pytest.raises(error) as caught:
        ask()
    assert (caught.value.status_code, caught.value.code) == (status, code)


def test_a_chat_stream_that_fails_midway_raises(client):
    chunks = []
    with (
        client.chat.completions.create(
            model=fault("error-mid"), messages=user("[chunks=9]"), stream=True
        ) as stream,
        pytest.raises(openai.APIError, match="failed"),
    ):
        chunks.extend(stream)
    assert chunks != []


def test_a_responses_stream_that_fails_midway_ends_in_a_failed_response(client):
    with client.responses.create(
        model=fault("error-mid", "responses"), input="[chunks=9]", stream=True
    ) as stream:
        *_, last = stream
    assert last.type == "response.failed"
    assert (last.response.status, last.response.error.code) == ("failed", "server_error")


# Retries


def test_a_failure_that_may_pass_is_tried_again(client, gateway):
    model = scripted(gateway, "flaky", refusal(500), COMPLETION)
    answer = client.with_options(max_retries=1).chat.completions.create(
        model=model, messages=user("hi")
    )
    assert answer.choices[0].message.content == "at last"
    assert len(gateway.sandbox.calls) == 2


def test_a_rate_limit_is_waited_out_for_as_long_as_the_upstream_says(client, gateway):
    model = scripted(gateway, "limited", refusal(429, **{"retry-after": "1"}), COMPLETION)
    answer = client.with_options(max_retries=1).chat.completions.create(
        model=model, messages=user("hi")
    )
    assert answer.choices[0].message.content == "at last"
    first, second = gateway.sandbox.calls
    assert second.started_at - first.started_at >= 1


@cases("name", ["429-insufficient-quota", "401", "cut-before-output"])
def test_a_failure_that_will_not_pass_is_not_tried_again(client, gateway, name):
    with pytest.raises(openai.APIStatusError) as caught:
        client.with_options(max_retries=2).chat.completions.create(
            model=fault(name), messages=user("hi")
        )
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(gateway.sandbox.calls) == 1
