"""An equal request is given the answer that was given before, as if it were its own."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai import OpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from gateway_project.lib import clock
from responses_api.models import CachedAnswer, StoredCompletion, StoredResponse
from tests.responses_api.cache.conftest import cached, keeps
from tests.support import chat_grammar, grammar
from tests.support.client import client_of, events_in

Json = dict[str, Any]

PROTOCOLS = ("chat", "responses", "anthropic")
each_door = pytest.mark.parametrize("door", ["chat", "responses"])
SAID = "[reason] [tools=2] A long story, please. [chunks=400]"
LOOK: Json = {"name": "look", "parameters": {"type": "object", "properties": {}}}
TOOLS = {
    "chat": [{"type": "function", "function": LOOK}],
    "responses": [{"type": "function", **LOOK}],
}


def text_of(door: str, answer: Json) -> str:
    if door == "chat":
        return str(answer["choices"][0]["message"]["content"])
    parts = [part for item in answer["output"] for part in item.get("content") or []]
    return "".join(part["text"] for part in parts)


def without_ids(value: Any) -> Any:
    """Return an answer without what differs between two that are equal."""
    names = {"id", "call_id", "created", "created_at", "completed_at"}
    if isinstance(value, dict):
        return {name: without_ids(each) for name, each in value.items() if name not in names}
    return [without_ids(each) for each in value] if isinstance(value, list) else value


def named(call: Json) -> tuple[str, str]:
    return call["function"]["name"], call["function"]["arguments"]


def ids_in(value: Any) -> set[str]:
    """Return all ids but those of sealed thoughts, which what is sealed may be bound to."""
    if isinstance(value, dict) and value.get("encrypted_content"):
        return set()
    if isinstance(value, dict):
        own = {value[name] for name in ("id", "call_id") if isinstance(value.get(name), str)}
        return own.union(*map(ids_in, value.values()))
    return set().union(*map(ids_in, value)) if isinstance(value, list) else set()


def completion_in(stream: bytes) -> Json:
    """Put a stream of chunks together as OpenAI's SDK does."""
    state = ChatCompletionStreamState()
    for chunk in chat_grammar.read(stream):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    whole: Json = state.get_final_completion().model_dump(exclude_unset=True)
    return whole


@each_door
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_equal_request_is_answered_without_a_model(ask, gateway, door, protocol):
    model = f"sandbox-{protocol}"
    first, again = ask(door, model=model), ask(door, model=model)

    assert (cached(first), cached(again)) == ("miss", "hit")
    assert int(again.headers["age"]) >= 0
    assert len(gateway.sandbox.calls) == 1
    one, other = first.json(), again.json()
    assert not ids_in(one) & ids_in(other)
    assert text_of(door, one) == text_of(door, other)
    assert one["usage"] == other["usage"]


@each_door
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("streamed", [False, True], ids=["json first", "stream first"])
def test_one_entry_serves_json_and_streams(ask, gateway, forget, door, protocol, streamed):
    given: Json = {"model": f"sandbox-{protocol}", "tools": TOOLS[door]}
    if door == "chat":
        given["stream_options"] = {"include_usage": True}
    first = ask(door, SAID, stream=streamed, **given)
    forget()  # so that it comes out of the database
    stream, whole = ask(door, SAID, stream=True, **given), ask(door, SAID, **given)

    assert [cached(each) for each in (first, stream, whole)] == ["miss", "hit", "hit"]
    assert len(gateway.sandbox.calls) == 1
    told = whole.json()
    if door == "responses":
        final = grammar.check(grammar.read(stream.content))
        assert without_ids(final) == without_ids(told)
    else:
        chat_grammar.check_ours(chat_grammar.read(stream.content), with_usage=True)
        final = completion_in(stream.content)
        message, said = final["choices"][0]["message"], told["choices"][0]["message"]
        assert (message["content"], final["usage"]) == (said["content"], told["usage"])
        called = [[named(call) for call in each["tool_calls"]] for each in (message, said)]
        assert called[0] == called[1] == [("look", "{}")] * 2
    assert not ids_in(final) & ids_in(told)


@each_door
def test_a_long_text_comes_in_pieces_of_256_characters_at_most(ask, door):
    ask(door, "[chunks=900]")
    stream = ask(door, "[chunks=900]", stream=True)

    assert cached(stream) == "hit"
    events = events_in(stream.content)
    if door == "responses":
        deltas = [each["delta"] for each in events if each["type"].endswith("text.delta")]
    else:
        deltas = [each["choices"][0]["delta"].get("content") or "" for each in events]
    assert max(map(len, deltas)) == 256


def test_the_official_sdk_reads_a_hit_whole_and_as_a_stream(gateway, kept):
    client = OpenAI(api_key=kept.secret, base_url=gateway.base_url, max_retries=0)
    asked: Any = {"model": "sandbox-responses", "input": "Hi", "temperature": 0}
    chat: Any = {
        "model": "sandbox-chat",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0,
    }
    first = client.responses.create(**asked)
    whole = client.responses.with_raw_response.create(**asked)
    with client.responses.stream(**asked) as stream:
        final = stream.get_final_response()
    one = client.chat.completions.create(**chat)
    with client.chat.completions.stream(**chat) as chunks:
        other = chunks.get_final_completion()

    assert whole.headers["x-tollgate-cache"] == "hit"
    assert first.output_text == whole.parse().output_text == final.output_text
    assert len({first.id, whole.parse().id, final.id}) == 3
    assert one.choices[0].message.content == other.choices[0].message.content
    assert len(gateway.sandbox.calls) == 2


@each_door
def test_what_belongs_to_one_call_alone_is_that_of_the_call_it_is_given_to(ask, door):
    mine = {"metadata": {"case": "mine"}, "user": "me", "store": False}
    theirs = {"metadata": {"case": "theirs"}, "store": True}
    if door == "responses":
        mine |= {"safety_identifier": "me", "prompt_cache_key": "mine"}
        theirs |= {"prompt_cache_key": "theirs"}
    first, again = ask(door, **mine), ask(door, **theirs)

    assert cached(again) == "hit"
    told = again.json()
    assert b"mine" not in again.content
    if door == "responses":
        assert first.json()["metadata"] == {"case": "mine"}
        assert told["metadata"] == {"case": "theirs"}
        assert (told["prompt_cache_key"], told["store"]) == ("theirs", True)
        assert (told.get("user"), told["safety_identifier"]) == (None, None)
        assert StoredResponse.objects.get().id == told["id"]
    else:
        assert StoredCompletion.objects.get().id == told["id"]


def test_a_stored_hit_can_be_read_and_continued(ask, gateway, kept):
    ask("responses", store=False)
    hit = ask("responses", store=True).json()
    with client_of(gateway, kept) as http:
        read = http.get(f"/responses/{hit['id']}").json()
    ask("responses", "And then?", previous_response_id=hit["id"])

    assert read == hit
    assert len(gateway.sandbox.calls) == 2
    assert len(gateway.sandbox.calls[-1].body["input"]) == 3


def test_what_was_said_before_counts_by_its_content(ask, gateway):
    def talk() -> list[str]:
        first = ask("responses", SAID, tools=TOOLS["responses"]).json()
        calls = [item for item in first["output"] if item["type"] == "function_call"]
        given = [
            {"type": "function_call_output", "call_id": call["call_id"], "output": "nothing"}
            for call in calls
        ]
        more = {"previous_response_id": first["id"], "tools": TOOLS["responses"], "input": given}
        second = ask("responses", **more)
        third = ask("responses", "Bye", previous_response_id=second.json()["id"])
        return [cached(second), cached(third)]

    assert talk() == ["miss", "miss"]
    assert talk() == ["hit", "hit"]
    assert len(gateway.sandbox.calls) == 3


def test_calls_of_tools_count_by_their_place_in_a_chat(ask):
    def talk() -> str:
        first = ask("chat", SAID, tools=TOOLS["chat"]).json()["choices"][0]["message"]
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": str(number)}
            for number, call in enumerate(first["tool_calls"])
        ]
        said = [{"role": "user", "content": SAID}, first, *results]
        return cached(ask("chat", messages=said, tools=TOOLS["chat"]))

    assert [talk(), talk()] == ["miss", "hit"]


def test_an_answer_is_not_given_again_once_it_has_expired(ask, gateway, forget, monkeypatch):
    ask("chat")
    now = clock.now()
    with monkeypatch.context() as later:
        later.setattr(clock, "timestamp", lambda: now.timestamp() + 599)
        assert cached(ask("chat")) == "hit"
        later.setattr(clock, "timestamp", lambda: now.timestamp() + 601)
        assert cached(ask("chat")) == "miss"
    forget()
    CachedAnswer.objects.update(expires_at=now)
    assert cached(ask("chat")) == "miss"


def test_a_shorter_time_counts_for_what_was_kept_before_as_well(ask, gateway, monkeypatch):
    ask("chat")
    keeps("sandbox-chat", cache_seconds=5)
    gateway.catch_up()
    at = clock.timestamp()
    monkeypatch.setattr(clock, "timestamp", lambda: at + 6)
    assert cached(ask("chat")) == "miss"


def test_refresh_asks_anew_and_replaces_what_was_kept(ask, gateway):
    first = ask("chat").json()
    anew = ask("chat", headers={"x-tollgate-cache": "refresh"})
    again = ask("chat")

    assert (cached(anew), cached(again)) == ("refresh", "hit")
    assert len(gateway.sandbox.calls) == 2
    assert (
        int(again.headers["age"]) <= int(orjson.loads(again.content)["created"]) - first["created"]
    )
