"""The OpenAI Python SDK: the same answers, whatever the upstream speaks."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from routing.models import Provider
from tests.contract.conftest import block_birch
from tests.plugins.cases import cases
from tests.support import rows
from tests.support.patience import GIVE_UP_SECONDS

pytestmark = [pytest.mark.clients, pytest.mark.django_db(transaction=True)]

QUESTION = "How are you?"
ANSWER = "You said: How are you?"
CITY_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
RESPONSES_TOOL: Any = {"type": "function", "name": "get_weather", "parameters": CITY_SCHEMA}
CHAT_TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": CITY_SCHEMA},
}


class City(BaseModel):
    city: str


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def model(protocol):
    return f"sandbox-{protocol}"


@pytest.fixture
def failing_model(gateway, acme, protocol):
    """An alias whose upstream reports an error after some output."""
    provider = Provider.objects.get(name=f"sandbox-{protocol}")
    rows.alias("failing", (provider, "sandbox-fault-error-mid"))
    return "failing"


@pytest.fixture
def client(gateway, acme):
    with OpenAI(base_url=gateway.base_url, api_key=acme.secret, timeout=GIVE_UP_SECONDS) as client:
        yield client


@pytest.fixture
async def async_client(gateway, acme):
    async with AsyncOpenAI(
        base_url=gateway.base_url, api_key=acme.secret, timeout=GIVE_UP_SECONDS
    ) as client:
        yield client


def assert_steps(gateway, count: int) -> None:
    """The client sent nothing twice."""
    assert len(gateway.sandbox.calls) == count


# Responses


def test_a_response_answers(client, gateway, model):
    response = client.responses.create(model=model, input=QUESTION)
    assert (response.output_text, response.status) == (ANSWER, "completed")
    assert response.model == model
    assert response.usage.total_tokens > 0
    assert_steps(gateway, 1)


async def test_a_response_answers_the_asynchronous_client(async_client, model):
    response = await async_client.responses.create(model=model, input=QUESTION)
    assert response.output_text == ANSWER


def test_a_created_stream_numbers_its_events(client, gateway, model):
    with client.responses.create(model=model, input=QUESTION, stream=True) as stream:
        events = list(stream)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == events[-1].response.output_text == ANSWER
    assert_steps(gateway, 1)


@cases("question", [QUESTION, "[reason] Hi", "[tools=3]", "[chunks=50]"])
def test_the_strict_stream_helper_accepts_every_event(client, gateway, model, question):
    with client.responses.stream(model=model, input=question, tools=[RESPONSES_TOOL]) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert response.usage.total_tokens > 0
    assert_steps(gateway, 1)


async def test_the_strict_asynchronous_stream_helper_accepts_every_event(async_client, model):
    async with async_client.responses.stream(model=model, input=QUESTION) as stream:
        response = await stream.get_final_response()
    assert response.output_text == ANSWER


def test_a_tool_call_makes_its_round_trip(client, gateway, model):
    asked = user("[tools=2] Weather?")
    first = client.responses.create(model=model, input=asked, tools=[RESPONSES_TOOL])
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == [{"city": "sandbox"}] * 2
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": str(number)}
        for number, call in enumerate(calls)
    ]
    history: Any = [*asked, *first.output, *results]
    with client.responses.stream(model=model, input=history, tools=[RESPONSES_TOOL]) as stream:
        second = stream.get_final_response()
    assert second.output_text == "The tool answered: 0 / 1"
    assert_steps(gateway, 2)


def test_a_structured_response_is_parsed(client, model):
    response = client.responses.parse(model=model, input="A city", text_format=City)
    assert response.output_parsed == City(city="sandbox")
    with client.responses.stream(model=model, input="A city", text_format=City) as stream:
        assert stream.get_final_response().output_parsed == City(city="sandbox")


def test_an_incomplete_response_says_why(client, model):
    response = client.responses.create(model=model, input="[size=4000]", max_output_tokens=16)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


# Chat Completions


def test_a_completion_answers(client, gateway, model):
    answer = client.chat.completions.create(model=model, messages=user(QUESTION))
    assert answer.choices[0].message.content == ANSWER
    assert (answer.choices[0].finish_reason, answer.model) == ("stop", model)
    assert answer.usage.total_tokens > 0
    assert_steps(gateway, 1)


async def test_a_chat_stream_reaches_the_asynchronous_client(async_client, model):
    stream = await async_client.chat.completions.create(
        model=model, messages=user(QUESTION), stream=True
    )
    async with stream:
        text = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(text) == ANSWER


@cases(
    ("question", "finish"),
    [(QUESTION, "stop"), ("[reason] Hi", "stop"), ("[tools=3]", "tool_calls")],
)
def test_the_chat_stream_helper_accumulates_a_completion(client, gateway, model, question, finish):
    with client.chat.completions.stream(
        model=model,
        messages=user(question),
        tools=[CHAT_TOOL],
        stream_options={"include_usage": True},
    ) as stream:
        completion = stream.get_final_completion()
    assert completion.choices[0].finish_reason == finish
    assert completion.usage.total_tokens > 0
    assert_steps(gateway, 1)


def test_a_chat_tool_call_makes_its_round_trip(client, gateway, model):
    asked = user("[tools=2] Weather?")
    first = client.chat.completions.create(model=model, messages=asked, tools=[CHAT_TOOL])
    message = first.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": str(number)}
        for number, call in enumerate(message.tool_calls)
    ]
    second = client.chat.completions.create(
        model=model, messages=[*asked, message, *results], tools=[CHAT_TOOL]
    )
    assert second.choices[0].message.content == "The tool answered: 0 / 1"
    assert_steps(gateway, 2)


def test_a_structured_completion_is_parsed(client, model):
    answer = client.chat.completions.parse(
        model=model, messages=user("A city"), response_format=City
    )
    assert answer.choices[0].message.parsed == City(city="sandbox")


# Failures


def test_a_responses_stream_that_fails_midway_ends_in_a_failed_response(
    client, gateway, failing_model
):
    with client.responses.create(model=failing_model, input="[chunks=9]", stream=True) as stream:
        *_, last = stream
    assert (last.type, last.response.error.code) == ("response.failed", "server_error")
    assert_steps(gateway, 1)


def test_the_strict_stream_helper_has_no_final_response_of_a_failed_stream(client, failing_model):
    with (
        client.responses.stream(model=failing_model, input="[chunks=9]") as stream,
        pytest.raises(RuntimeError, match=r"response\.completed"),
    ):
        stream.get_final_response()


def test_a_chat_stream_that_fails_midway_raises(client, gateway, failing_model):
    chunks: list[Any] = []
    with (
        client.chat.completions.create(
            model=failing_model, messages=user("[chunks=9]"), stream=True
        ) as stream,
        pytest.raises(openai.APIError, match=r"sandbox-"),
    ):
        chunks.extend(stream)
    assert chunks != []
    assert_steps(gateway, 1)


def test_an_answer_blocked_in_its_midst_ends_as_the_sdk_knows_it_and_nothing_is_sent_twice(
    client: OpenAI, gateway, protocol
):
    block_birch("blocked", Provider.objects.get(name=f"sandbox-{protocol}"))
    asked: Any = {"model": "blocked", "input": "[chunks=9]"}
    with client.responses.stream(**asked) as stream:
        kinds = [event.type for event in stream]
    assert (kinds[-1], kinds.count("response.incomplete")) == ("response.incomplete", 1)
    *_, last = client.responses.create(**asked, stream=True)
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details.reason == "content_filter"
    assert "birch" not in last.response.output_text
    whole = client.responses.create(**asked)
    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "content_filter")

    said: Any = {"model": "blocked", "messages": user("[chunks=9]")}
    chunks = list(client.chat.completions.create(**said, stream=True))
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == [
        "content_filter"
    ]
    assert "birch" not in str(chunks)
    with pytest.raises(openai.ContentFilterFinishReasonError):
        client.chat.completions.parse(**said, response_format=City)
    gateway.idle()
    assert len(gateway.sandbox.calls) == 5
