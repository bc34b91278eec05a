"""The official OpenAI SDK, unmodified and strict, over what is stored: responses, conversations, completions.

Strict means that an answer which is not what the SDK's types say raises.
"""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.plugins.tiers import sampled
from tests.support import stored
from tests.support.patience import GIVE_UP_SECONDS
from tests.support.stored import assistant, user

pytestmark = [pytest.mark.clients, pytest.mark.django_db(transaction=True)]

PREFIXES = ("/v1", "/openai/v1")
CALL: Any = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
RESULT: Any = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}


@pytest.fixture(params=sampled(PREFIXES, default=1, ci=2))
def client(request, gateway, acme):
    with OpenAI(
        base_url=gateway.root_url + request.param,
        api_key=acme.secret,
        max_retries=0,
        timeout=GIVE_UP_SECONDS,
        _strict_response_validation=True,
    ) as client:
        yield client


@pytest.fixture
async def async_client(gateway, acme):
    async with AsyncOpenAI(
        base_url=gateway.base_url, api_key=acme.secret, max_retries=0, timeout=GIVE_UP_SECONDS
    ) as client:
        yield client


# Responses


def test_a_response_is_retrieved_and_deleted(client, acme):
    whole = stored.response(acme, user("Hi"), output=[assistant("Hello")])
    found = client.responses.retrieve(whole["id"], include=["reasoning.encrypted_content"])
    assert (found.id, found.status, found.output_text) == (whole["id"], "completed", "Hello")
    assert client.responses.delete(whole["id"]) is None
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.retrieve(whole["id"])
    assert caught.value.code == "not_found"
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(whole["id"])


def test_the_input_items_are_walked_through_all_pages(client, acme):
    given = [user(str(n)) for n in range(5)]
    whole = stored.response(acme, *given, CALL, RESULT)
    pages = client.responses.input_items.list(whole["id"], limit=2, order="asc")
    items: list[Any] = list(pages)
    assert [item.content[0].text for item in items[:5]] == list("01234")
    assert [item.type for item in items[5:]] == ["function_call", "function_call_output"]
    assert all(item.id for item in items)
    assert {item.status for item in items} == {"completed"}
    newest = client.responses.input_items.list(
        whole["id"], include=["message.output_text.logprobs"]
    )
    assert [item.id for item in newest] == [item.id for item in items][::-1]


def test_a_finished_background_response_is_cancelled_again_and_again(client, acme):
    whole = stored.response(acme, user("Hi"), output=[assistant("x")], background=True)
    stored.run(acme, whole["id"], "cancelled")
    assert [client.responses.cancel(whole["id"]).status for _ in range(2)] == ["cancelled"] * 2
    other = stored.response(acme)
    with pytest.raises(openai.BadRequestError, match="Only background responses"):
        client.responses.cancel(other["id"])


# Conversations


def test_a_conversation_lives_its_life(client):
    made = client.conversations.create(
        items=[{"type": "message", "role": "user", "content": "Hi"}], metadata={"topic": "demo"}
    )
    assert (made.object, made.metadata) == ("conversation", {"topic": "demo"})
    assert client.conversations.retrieve(made.id) == made
    changed = client.conversations.update(made.id, metadata={"topic": "other"})
    assert (changed.id, changed.metadata) == (made.id, {"topic": "other"})
    gone = client.conversations.delete(made.id)
    assert (gone.id, gone.object, gone.deleted) == (made.id, "conversation.deleted", True)
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(made.id)


def test_an_empty_conversation_can_be_made(client):
    made = client.conversations.create()
    assert list(client.conversations.items.list(made.id)) == []


def test_items_are_created_listed_retrieved_and_deleted(client):
    made = client.conversations.create()
    items = client.conversations.items
    created = items.create(
        made.id,
        items=[
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "I look."},
            CALL,
            RESULT,
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
            {
                "type": "custom_tool_call",
                "call_id": "call_2",
                "name": "shell",
                "input": "ls",
            },
        ],
        include=["reasoning.encrypted_content"],
    )
    assert created.has_more is False
    listed = list(items.list(made.id, limit=2, order="asc"))
    assert [item.id for item in listed] == [item.id for item in created.data]
    assert [item.id for item in items.list(made.id)] == [item.id for item in listed][::-1]
    message = items.retrieve(str(listed[0].id), conversation_id=made.id)
    assert message == listed[0]
    assert message.content[0].text == "Weather?"
    assert items.delete(str(message.id), conversation_id=made.id) == made
    with pytest.raises(openai.NotFoundError):
        items.retrieve(str(message.id), conversation_id=made.id)
    assert len(list(items.list(made.id))) == 5


def test_what_is_wrong_is_a_bad_request_that_names_it(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.conversations.create(metadata={"k": "v" * 513})
    assert caught.value.param == "metadata[...]"
    with pytest.raises(openai.BadRequestError) as caught:
        client.conversations.create(items=[{"role": "user", "content": "x"}] * 21)
    assert caught.value.param == "items"


async def test_the_asynchronous_client_walks_a_conversation(async_client):
    given: list[Any] = [user(str(n)) for n in range(5)]
    made = await async_client.conversations.create(items=given)
    pages = async_client.conversations.items.list(made.id, limit=2, order="asc")
    assert [item.content[0].text async for item in pages] == list("01234")


# Chat completions


def test_stored_completions_are_listed_through_all_pages(client, acme):
    made = [stored.completion(acme, seconds=n, metadata={"team": "a"})["id"] for n in range(5)]
    stored.completion(acme, model="other", metadata={"team": "a"})
    stored.completion(acme, metadata={"team": "b"})
    listing = client.chat.completions.list
    pages = listing(limit=2, model="sandbox-chat", metadata={"team": "a"})
    assert [completion.id for completion in pages] == made
    assert len(list(listing(order="desc", limit=3))) == 7


def test_a_completion_is_retrieved_updated_and_deleted(client, acme):
    whole = stored.completion(acme, answer="Hello")
    completions = client.chat.completions
    found = completions.retrieve(whole["id"])
    assert found.choices[0].message.content == "Hello"
    updated: Any = completions.update(whole["id"], metadata={"a": "1"})
    assert updated.metadata == {"a": "1"}
    gone = completions.delete(whole["id"])
    assert (gone.id, gone.object, gone.deleted) == (whole["id"], "chat.completion.deleted", True)
    with pytest.raises(openai.NotFoundError):
        completions.retrieve(whole["id"])


def test_the_messages_of_a_completion_are_walked_through_all_pages(client, acme):
    # The SDK types them all as the assistant's, whoever said them.
    lenient = client.copy(_extra_kwargs={"_strict_response_validation": False})
    parts = [{"type": "text", "text": "Hi"}]
    asked = [{"role": "user", "content": text} for text in "abc"]
    whole = stored.completion(acme, *asked, {"role": "user", "content": parts})
    messages = list(lenient.chat.completions.messages.list(whole["id"], limit=2))
    assert [message.content for message in messages] == ["a", "b", "c", None]
    assert messages[3].content_parts[0].text == "Hi"
    assert len({message.id for message in messages}) == 4
