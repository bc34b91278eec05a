"""Compaction: asking a model for a summary, sealing it into an item, and opening the item again."""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_project.lib.errors import (
    BadRequest,
    InvalidEncryptedContent,
    UnsupportedParameter,
    UpstreamMalformed,
)
from gateway_project.lib.keyring import Keyring
from gateway_project.lib.sse import Frame
from responses_api.compaction import adapter, answer, request, sealed
from responses_api.doors.responses.context_management import compact_threshold
from responses_api.doors.responses.encoder import ResponsesEncoder
from responses_api.stream.assembler import Assembler
from responses_api.stream.response import usage_report
from responses_api.stream.translation import Translation
from responses_api.stream.upstream_reader import Identity
from routing.protocols.anthropic.deltas import AnthropicDeltas
from routing.protocols.chat.deltas import ChatDeltas
from routing.protocols.responses.deltas import ResponsesDeltas
from routing.protocols.shared.deltas import Opaque, Stop, Text
from routing.protocols.shared.tools import Toolbox
from tenants.token_classes import Usage
from tests.plugins.cases import cases
from tests.plugins.tiers import examples
from tests.routing.protocols.test_requests_properties import ITEM, completed
from tests.support import grammar, reference, requests

Json = dict[str, Any]

ADAPTERS: dict[str, Any] = {
    "anthropic": AnthropicDeltas,
    "chat": ChatDeltas,
    "responses": ResponsesDeltas,
}
each_protocol = cases("protocol", ADAPTERS)


def ring(*numbers: int) -> Keyring:
    keys = (f"k{n}:{base64.b64encode(bytes([n]) * 32).decode()}" for n in numbers)
    return Keyring(partial(",".join, list(keys)), "RING")


RING = ring(1)
SEAL = partial(sealed.seal, tenant_id=7, keyring=RING)


def compacted(summary="All is well.", tenant=7, **options) -> Json:
    return sealed.item(sealed.seal(summary, tenant, RING, **options))


def user(text) -> Json:
    part = {"type": "input_text", "text": text}
    return {"type": "message", "role": "user", "content": [part]}


# Sealing and opening


def test_a_summary_comes_back_as_a_message_in_the_place_of_its_item() -> None:
    item = compacted("Umlaute: ä, and {braces}.")
    assert set(item) == {"id", "type", "encrypted_content"}
    assert item["id"].startswith("cmp_")
    assert item["encrypted_content"].startswith("tollgate.compaction.v1.k1.")
    assert "Umlaute" not in item["encrypted_content"]
    before, message, after = sealed.unsealed([user("a"), item, user("b")], 7, RING)
    assert (before, after) == (user("a"), user("b"))
    assert message["role"] == "user"
    assert "<summary>\nUmlaute: ä, and {braces}.\n</summary>" in message["content"][0]["text"]


def test_what_a_summary_supersedes_is_left_out_but_for_instructions_and_tools() -> None:
    stays: list[Json] = [
        {"role": "system", "content": "Be kind."},
        {"type": "additional_tools", "tools": []},
    ]
    items = [*stays, user("a"), compacted(supersedes=True), user("b"), compacted("More.")]
    opened = sealed.unsealed(items, 7, RING)
    assert opened[:2] == stays
    assert len(opened) == 5
    assert opened[3] == user("b")


@cases(
    "item",
    [
        {"type": "compaction", "encrypted_content": "gAAAAABpM0Yj"},
        {"type": "compaction"},
        {"type": "reasoning", "encrypted_content": "tollgate.compaction.v1"},
        {"role": "user", "content": "tollgate.compaction.v1"},
    ],
)
def test_what_is_not_ours_stays_as_it_is(item) -> None:
    items = [item]
    assert sealed.unsealed(items, 7, RING) is items


def assert_refused(item: Json, tenant: int, keyring: Keyring) -> None:
    with pytest.raises(InvalidEncryptedContent) as refused:
        sealed.unsealed([user("a"), item], tenant, keyring)
    error = refused.value.body()["error"]
    assert (refused.value.http_status, error["code"]) == (400, "invalid_encrypted_content")
    assert error["param"] == "input[1].encrypted_content"
    assert item["encrypted_content"] not in error["message"]


def test_another_tenants_item_does_not_open() -> None:
    item = compacted(tenant=7)
    for other in (8, 77, 0):
        assert_refused(item, other, RING)


def test_an_item_opens_with_an_older_key_as_long_as_it_is_there() -> None:
    item = compacted()
    assert len(sealed.unsealed([item], 7, ring(2, 1))) == 1
    assert_refused(item, 7, ring(2))


def test_an_item_that_was_changed_anywhere_does_not_open() -> None:
    content = compacted()["encrypted_content"]
    for place in range(len(sealed.PREFIX), len(content)):
        for other in {"A", "Q", "!", ""} - {content[place]}:
            changed = content[:place] + other + content[place + 1 :]
            assert_refused({"type": "compaction", "encrypted_content": changed}, 7, RING)
    for other in ("", "x", "v1.k1.é.é", content[-20:]):
        changed = sealed.PREFIX + other
        assert_refused({"type": "compaction", "encrypted_content": changed}, 7, RING)


# When


def test_a_trigger_at_the_end_asks_for_compaction() -> None:
    trigger = {"type": "compaction_trigger"}
    assert request.is_triggered([user("a"), trigger])
    assert not request.is_triggered([user("a")])
    assert not request.is_triggered([])
    with pytest.raises(BadRequest, match="must be the last item") as refused:
        request.is_triggered([user("a"), trigger, user("b")])
    assert refused.value.param == "input[1].type"


@cases(
    ("wishes", "window", "threshold"),
    [
        (None, 1000, None),
        ([], 1000, None),
        ([{"type": "compaction"}], None, None),
        ([{"type": "compaction", "compact_threshold": None}], 200_000, 180_000),
        ([{"type": "compaction", "compact_threshold": 1000}], None, 1000),
        ([{"type": "compaction", "compact_threshold": n} for n in (5000, 4000)], 9, 4000),
    ],
)
def test_the_threshold_is_what_the_client_says(wishes, window, threshold) -> None:
    assert compact_threshold({"context_management": wishes}, window) == threshold


@cases(
    ("wishes", "param"),
    [
        ({"type": "compaction"}, "context_management"),
        (["compaction"], "context_management[0]"),
        ([{"compact_threshold": 5000}], "context_management[0].type"),
        ([{"type": "clear_tool_uses"}], "context_management[0].type"),
        ([{"type": "compaction", "compact_threshold": 999}],
         "context_management[0].compact_threshold"),
        ([{"type": "compaction"}, {"type": "compaction", "compact_threshold": "5k"}],
         "context_management[1].compact_threshold"),
    ],
)  # fmt: skip
def test_a_wish_that_cannot_be_read_is_refused_by_name(wishes, param) -> None:
    with pytest.raises(BadRequest) as refused:
        compact_threshold({"context_management": wishes}, None)
    assert refused.value.param == param


# Asking for the summary

CALLED = [
    user("What is the weather?"),
    {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"},
    {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Rom"}'},
    {"type": "custom_tool_call", "call_id": "c2", "name": "shell", "input": "ls"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    {"type": "acme:search", "query": "x"},
    {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    {"type": "custom_tool_call_output", "call_id": "c2", "output": [
        {"type": "input_text", "text": "a.txt"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
    ]},
    {"role": "assistant", "content": "Sunny."},
    {"type": "compaction_trigger"},
]  # fmt: skip


def texts(item: Json) -> list[str]:
    content = item["content"]
    return [content] if isinstance(content, str) else [part.get("text", "") for part in content]


def test_the_request_tells_the_conversation_in_messages() -> None:
    body = {
        "model": "m", "stream": True, "input": CALLED, "instructions": "Be kind.", "user": "u",
        "tools": [{"type": "function", "name": "weather"}], "tool_choice": "required",
        "text": {"format": {"type": "json_object"}}, "max_output_tokens": 20, "temperature": 2,
        "reasoning": {"effort": "high"}, "truncation": "auto", "include": ["x"], "metadata": {},
    }  # fmt: skip
    asked = request.summary_request(body)
    assert set(asked) == {"model", "stream", "instructions", "input", "user", "truncation"}
    assert asked["instructions"].startswith("You keep the memory")
    assert "<instructions>\nBe kind.\n</instructions>" in asked["instructions"]
    assert [(item["role"], texts(item)) for item in asked["input"]] == [
        ("user", ["What is the weather?"]),
        ("assistant", ['[I called the tool weather with:]\n{"city":"Rom"}']),
        ("assistant", ["[I called the tool shell with:]\nls"]),
        ("assistant", ['[I used acme:search:]\n{"type":"acme:search","query":"x"}']),
        ("user", ["[The tool weather answered:]\nsunny"]),
        ("user", ["[The tool shell answered:]", "a.txt", ""]),
        ("assistant", ["Sunny."]),
        ("user", ["Write the summary of the conversation above now."]),
    ]


@each_protocol
def test_a_conversation_in_the_middle_of_a_call_can_be_compacted_everywhere(protocol) -> None:
    asked = request.summary_request({"model": "m", "input": CALLED[:4]})
    requests.check(protocol, requests.sent("responses", asked, requests.target(protocol)))


@each_protocol
@settings(max_examples=examples(100))
@given(items=st.lists(ITEM, max_size=12))
def test_any_conversation_is_asked_about_in_every_protocol(protocol, items) -> None:
    body = {"model": "m", "input": [user("Hi"), *completed(items)]}
    asked = request.summary_request(body)
    requests.check(protocol, requests.sent("responses", asked, requests.target(protocol)))


def test_nothing_cannot_be_compacted() -> None:
    with pytest.raises(BadRequest) as refused:
        request.summary_request({"model": "m", "input": [{"type": "compaction_trigger"}]})
    assert refused.value.param == "input"


def test_another_vendors_compaction_cannot_be_summarised() -> None:
    foreign = {"type": "compaction", "encrypted_content": "gAAAA"}
    with pytest.raises(UnsupportedParameter) as refused:
        request.summary_request({"model": "m", "input": [user("a"), foreign]})
    assert refused.value.param == "input[1].encrypted_content"


def test_a_second_compaction_summarises_the_first() -> None:
    items = sealed.unsealed([user("a"), compacted("The first."), user("b")], 7, RING)
    asked = request.summary_request({"model": "m", "input": items})
    assert "The first." in texts(asked["input"][1])[0]


# The answer


def frames(text: str, finish: str = "stop") -> list[Frame]:
    """An answer in chat's protocol: a thought, a text in two pieces, and a call."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    said: list[Json] = [
        {"reasoning_content": "Hm."},
        {"content": text[:3]},
        {"content": text[3:]},
        {"tool_calls": [call]},
    ]
    choices = [{"index": 0, "delta": delta} for delta in said]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    usage = {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}
    chunks: list[Json] = [{"choices": [choice]} for choice in choices]
    chunks.append({"choices": [], "usage": usage})
    return [*(Frame(b"", orjson.dumps(chunk)) for chunk in chunks), Frame(b"", b"[DONE]")]


def compacting(protocol="chat") -> adapter.Rewritten:
    return adapter.compact_answer(ADAPTERS[protocol](requests.target(protocol)), SEAL)


@cases("finish", ["stop", "tool_calls", "length"])
def test_of_an_answer_only_its_text_is_left_as_one_sealed_item(finish) -> None:
    reader = compacting()
    found = [delta for frame in frames("In short.", finish) for delta in reader.deltas(frame)]
    item, stop = found
    assert isinstance(item, Opaque)
    assert stop == Stop("stop")
    [message] = sealed.unsealed([item.item], 7, RING)
    assert "<summary>\nIn short.\n</summary>" in texts(message)[0]
    assert reader.done
    assert reader.meter.usage == Usage(input_fresh=30, output_visible=20)


@cases(("text", "finish"), [("", "stop"), (" \n", "length"), ("x", "content_filter")])
def test_an_answer_without_a_summary_is_a_failure(text, finish) -> None:
    relay = translation(partial(adapter.compact_answer, seal=SEAL))
    relay.forward(frames(text, finish))
    assert isinstance(relay.failure, UpstreamMalformed)
    assert not relay.has_output


WHOLE: dict[str, Json] = {
    "chat": {
        "choices": [
            {"index": 0, "message": {"content": "In short."}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50},
    },
    "anthropic": {
        "type": "message", "role": "assistant", "stop_reason": "end_turn",
        "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"},
                    {"type": "text", "text": "In short."}],
        "usage": {"input_tokens": 30, "output_tokens": 20},
    },
    "responses": {
        "object": "response", "status": "completed",
        "output": [{"type": "message", "id": "m", "role": "assistant", "status": "completed",
                    "content": [{"type": "output_text", "text": "In short."}]}],
        "usage": {"input_tokens": 30, "output_tokens": 20, "total_tokens": 50},
    },
}  # fmt: skip


@each_protocol
def test_a_whole_answer_becomes_the_item_too(protocol) -> None:
    reader = compacting(protocol)
    item, stop = reader.body(orjson.dumps(WHOLE[protocol]))
    assert isinstance(item, Opaque)
    assert stop == Stop("stop")
    assert (item.item["type"], reader.done) == ("compaction", True)


def translation(around) -> Translation:
    identity = Identity("resp_own", "alias", 1_767_225_600)
    assembler = Assembler(identity, {"input": []}, Toolbox())
    target = requests.target("chat")
    return Translation(around(ChatDeltas(target)), assembler, ResponsesEncoder(identity), target)


def test_a_client_sees_exactly_one_item_and_nothing_before_it() -> None:
    relay = translation(partial(adapter.compact_answer, seal=SEAL))
    *early, finish, usage, done = frames("In short.")
    assert relay.forward(early) == b""
    assert not relay.has_output
    out = relay.forward([finish, usage, done])
    events = grammar.read(out)
    grammar.check(events)
    assert [event["type"] for event in events] == [
        "response.created", "response.in_progress", "response.output_item.added",
        "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["compaction"]
    assert events[-1]["response"]["usage"]["total_tokens"] == 50


def test_a_stream_that_breaks_off_gives_no_item() -> None:
    relay = translation(partial(adapter.compact_answer, seal=SEAL))
    assert relay.forward(frames("In short.")[:3]) == b""
    assert relay.finish() == b""
    assert relay.failure is not None
    assert relay.failure.code == "upstream_cut"


def test_an_answer_comes_after_the_compaction_of_what_it_answers() -> None:
    item = compacted()
    relay = translation(partial(adapter.prepend_item, item=item))
    role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    assert relay.forward([Frame(b"", orjson.dumps(role))]) == b""
    events = grammar.read(relay.forward(frames("Hello.")))
    grammar.check(events)
    output = events[-1]["response"]["output"]
    assert [made["type"] for made in output] == [
        "compaction", "reasoning", "message", "function_call"
    ]  # fmt: skip
    assert output[0] == item


def test_preceded_puts_the_item_before_the_first_delta_only() -> None:
    reader = adapter.prepend_item(ChatDeltas(requests.target("chat")), {"type": "compaction"})
    found = [delta for frame in frames("Hello.") for delta in reader.deltas(frame)]
    assert isinstance(found[0], Opaque)
    assert [type(delta) for delta in found].count(Opaque) == 1
    assert [delta.text for delta in found if isinstance(delta, Text)] == ["Hel", "lo."]


# What stands for the conversation


def test_the_compacted_conversation_is_its_user_messages_and_the_item() -> None:
    item = compacted()
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    items = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {**user("b"), "id": "msg_b", "content": [image, {"type": "input_text", "text": "b"}]},
        {"type": "compaction", "encrypted_content": "gAAAA"},
        {"role": "developer", "content": "Be kind."},
    ]
    made = answer.compaction_object(
        "resp_1",
        1_800_000_000,
        items,
        item,
        usage_report(Usage(input_fresh=30, cache_read=5, output_visible=20, output_reasoning=1)),
    )
    first, second, last = made["output"]
    assert first["id"].startswith("msg_")
    assert first == {
        "id": first["id"], "type": "message", "status": "completed", "role": "user",
        "content": [{"type": "input_text", "text": "Hi"}],
    }  # fmt: skip
    assert second["id"] == "msg_b"
    assert second["content"] == [{"detail": "auto", **image}, {"type": "input_text", "text": "b"}]
    assert last == item
    assert (made["object"], made["created_at"]) == ("response.compaction", 1_800_000_000)
    assert made["usage"]["total_tokens"] == 56


@cases("usage", [None, Usage(input_fresh=3, output_visible=2)])
def test_the_answer_is_what_open_responses_describes(usage) -> None:
    items = [{"role": "user", "content": "Hi"}, user("b")]
    made = answer.compaction_object(
        "resp_1", 1_800_000_000, items, compacted(), usage_report(usage)
    )
    assert reference.explain(reference.open_responses_validator("CompactResource"), made) == []


def test_after_a_compaction_in_passing_the_newest_words_go_before_the_summary() -> None:
    stays = {"role": "system", "content": "Be kind."}
    items = [stays, user("old"), {"role": "assistant", "content": "Yes."}, user("a"), user("b"),
             CALLED[2], CALLED[6]]  # fmt: skip
    body = {"model": "m", "input": items, "tools": []}
    resumed = answer.resume_from(body, "So far.")
    assert resumed == {**body, "input": [stays, user("a"), user("b"), sealed.message("So far.")]}
