"""The provider behind an alias changes in the middle of a chain, and back: what each upstream is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from gateway_project.lib.secret import Secret
from responses_api.models import Conversation, StoredItem
from routing import credentials
from routing.models import Alias, Credential, Provider, ProviderModel, Target
from routing.protocols.shared.envelope import PREFIX
from tests.responses_api.storage.calls import answered, ask, create, heard, sent
from tests.support import grammar, rows
from tests.support.client import error_of
from tests.support.live import LiveGateway
from tests.support.rows import PROTOCOLS

Json = dict[str, Any]
Switch = Callable[[str], None]

streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
THOUGHT = "The user wants an answer from the sandbox, so I will give one."
SUMMARY = {"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]}
WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}


@pytest.fixture
def switch(gateway: LiveGateway, acme: rows.Customer) -> Switch:
    """Point the alias `model` to the provider of this name; `other` is a second one of OpenAI's kind."""
    rows.provider("responses", gateway.sandbox.base_url, "other")
    alias = Alias.objects.create(name="model")

    def to(name: str) -> None:
        provider = Provider.objects.get(name=name if name == "other" else f"sandbox-{name}")
        model, _ = ProviderModel.objects.get_or_create(provider=provider, upstream_id="sandbox-1")
        Target.objects.filter(alias=alias).delete()
        Target.objects.create(alias=alias, provider_model=model, position=0)
        gateway.call(gateway.worker.forget)

    return to


def turns_over(http: Any, switch: Switch, providers: list[str], **fields: Any) -> list[Json]:
    """One turn with each provider, each continuing the one before, each with a thought."""
    responses: list[Json] = []
    for turn, name in enumerate(providers):
        switch(name)
        parent = responses[-1]["id"] if responses else None
        question = f"[reason] {turn}"
        responses.append(
            create(http, "model", input=question, previous_response_id=parent, **fields)
        )
    return responses


def thoughts(items: list[Json]) -> list[Json]:
    return [item for item in items if item.get("type") == "reasoning"]


@pytest.mark.parametrize("second", [*PROTOCOLS, "other"])
@pytest.mark.parametrize("first", PROTOCOLS)
def test_a_chain_goes_on_with_another_provider_and_comes_back(http, gateway, switch, first, second):
    turns_over(http, switch, [first, second, first], stream=True)

    assert heard(sent(gateway)) == [
        ("user", "[reason] 0"),
        answered("0"),
        ("user", "[reason] 1"),
        answered("1"),
        ("user", "[reason] 2"),
    ]
    assert PREFIX not in orjson.dumps(sent(gateway)).decode()


@streamed_or_not
@pytest.mark.parametrize("first", ["anthropic", "other"])
def test_another_providers_thought_is_a_summary_at_a_responses_provider(
    http, gateway, switch, first, stream
):
    turns_over(http, switch, [first, "responses"], stream=stream)

    assert thoughts(sent(gateway)["input"]) == [SUMMARY]


def test_a_raw_thought_of_a_chat_provider_goes_to_no_responses_provider(http, gateway, switch):
    (first, _) = turns_over(http, switch, ["chat", "responses"])

    assert thoughts(first["output"])[0]["content"][0]["text"] == THOUGHT
    assert thoughts(sent(gateway)["input"]) == []


@streamed_or_not
def test_each_thought_goes_back_to_its_own_provider_as_it_came(http, gateway, switch, stream):
    first, other, _ = turns_over(http, switch, ["responses", "other", "responses"], stream=stream)

    (own,) = thoughts(first["output"])
    assert own["encrypted_content"].startswith("gAAAA")
    assert thoughts(sent(gateway)["input"]) == [own, SUMMARY]
    assert thoughts(other["output"])[0]["encrypted_content"] not in str(sent(gateway))


@streamed_or_not
def test_a_signed_thought_comes_back_unchanged_after_another_provider_spoke(
    http, gateway, switch, stream
):
    switch("anthropic")
    first = create(http, "model", input="[reason] [tool]", tools=[WEATHER], stream=stream)
    (call,) = (item for item in first["output"] if item["type"] == "function_call")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    switch("responses")
    second = create(http, "model", input=[result], previous_response_id=first["id"], stream=stream)
    switch("anthropic")
    create(http, "model", input="And now?", previous_response_id=second["id"], stream=stream)

    _, said, *_ = sent(gateway)["messages"]
    thought, use = said["content"]
    assert (thought["type"], thought["thinking"], use["type"]) == ("thinking", THOUGHT, "tool_use")
    assert thought["signature"].startswith("gAAAA")


@pytest.mark.parametrize("first", ["responses", "anthropic"])
def test_another_providers_summary_stands_in_a_chat_vendors_own_field(http, gateway, switch, first):
    chat = Provider.objects.get(name="sandbox-chat")
    chat.quirks = {"reasoning_field": "reasoning_content"}
    chat.save()
    switch(first)
    response = create(http, "model", input="[reason] [tool]", tools=[WEATHER])
    (call,) = (item for item in response["output"] if item["type"] == "function_call")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    switch("chat")
    create(http, "model", input=[result], previous_response_id=response["id"])

    _, said, _ = sent(gateway)["messages"]
    assert said["reasoning_content"] == THOUGHT


@pytest.mark.parametrize("second", ["chat", "anthropic"])
def test_thoughts_of_others_never_become_something_that_was_said(http, gateway, switch, second):
    turns_over(http, switch, ["responses", second])

    assert THOUGHT not in str(sent(gateway))


# Compactions


COMPACTION = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA-of-the-maker"}


def compacted(http: Any, acme: rows.Customer, switch: Switch) -> str:
    """A response in whose making the provider `sandbox-responses` compacted the conversation."""
    switch("responses")
    response_id: str = create(http, "model")["id"]
    StoredItem.objects.create(
        tenant=acme.tenant,
        response_id=response_id,
        side=StoredItem.Side.OUTPUT,
        position=1,
        item_id="cmp_1",
        body=orjson.dumps(COMPACTION),
    )
    return response_id


def test_a_compaction_goes_back_to_the_provider_that_made_it(http, acme, gateway, switch):
    parent = compacted(http, acme, switch)

    create(http, "model", previous_response_id=parent)

    assert COMPACTION in sent(gateway)["input"]


@streamed_or_not
@pytest.mark.parametrize("second", ["chat", "anthropic", "other"])
def test_another_providers_compaction_is_refused_and_never_left_out(
    http, acme, gateway, switch, second, stream
):
    parent = compacted(http, acme, switch)
    before = len(gateway.sandbox.calls)
    switch(second)

    answer = ask(http, "model", previous_response_id=parent, stream=stream)

    assert error_of(answer) == (400, "unsupported_parameter", "previous_response_id")
    assert "compacted by another provider" in answer.json()["error"]["message"]
    assert len(gateway.sandbox.calls) == before


def test_a_conversation_with_another_providers_compaction_is_refused_by_its_name(
    http, acme, switch
):
    conversation = Conversation.objects.create(id="conv_1", tenant=acme.tenant, next_position=1)
    conversation.items.create(
        tenant=acme.tenant,
        position=0,
        item_id="cmp_1",
        provider="sandbox-responses",
        body=orjson.dumps(COMPACTION),
    )
    switch("other")

    answer = ask(http, "model", conversation="conv_1")

    assert error_of(answer) == (400, "unsupported_parameter", "conversation")


@pytest.fixture
def use(gateway: LiveGateway) -> Switch:
    """Have the first provider asked with the credential of this name."""
    provider = Provider.objects.get(name="sandbox-responses")
    Provider.objects.filter(pk=provider.pk).update(auth_kind="bearer")
    for name in ("first", "second"):
        credentials.create(provider, Secret(f"sk-{name}-0123456789"), tenant=None, name=name)

    def with_credential(name: str) -> None:
        Credential.objects.filter(provider=provider).update(enabled=False)
        Credential.objects.filter(provider=provider, name=name).update(enabled=True)
        gateway.call(gateway.worker.forget)

    return with_credential


@pytest.mark.parametrize("in_conversation", [False, True], ids=["chain", "conversation"])
@streamed_or_not
def test_a_sealed_thought_goes_back_to_the_account_that_sealed_it_and_to_no_other_of_the_pool(
    http, gateway, switch, use, stream, in_conversation
):
    switch("responses")
    place = {}
    if in_conversation:
        place = {"conversation": http.post("/conversations", json={}).json()["id"]}
    seen, parent, made = [], None, []
    for turn, name in enumerate(["first", "second", "first"]):
        use(name)
        body = {"model": "model", "input": f"[reason] {turn}", "stream": stream, **place}
        if parent and not place:
            body["previous_response_id"] = parent
        answer = http.post("/responses", json=body)
        assert answer.status_code == 200
        given = sent(gateway)["input"]
        told = answer.headers.get("x-tollgate-dropped")
        seen.append((thoughts(given) if isinstance(given, list) else [], told))
        response = grammar.check_stream(answer.content) if stream else answer.json()
        parent = response["id"]
        made += thoughts(response["output"])
    assert seen == [
        ([], None),
        ([SUMMARY], "reasoning.encrypted_content"),
        ([made[0], SUMMARY], "reasoning.encrypted_content"),
    ]
