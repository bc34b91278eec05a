"""The encoders: steps as the bytes of each door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from jsonschema import Draft202012Validator

from gateway_project.lib.errors import UpstreamCut
from responses_api.doors.chat.encoder import ChatEncoder
from responses_api.doors.responses.encoder import ResponsesEncoder
from responses_api.stream.assembler import Assembler
from responses_api.stream.steps import Ended
from responses_api.stream.upstream_reader import Identity
from routing.protocols.shared.deltas import Delta, Opaque, Reasoning, Refusal, Stop, Text, ToolCall
from routing.protocols.shared.tools import Toolbox
from tenants.token_classes import Usage
from tests.plugins.cases import cases
from tests.support import grammar
from tests.support.reference import event_validators, explain, json_of, response_validator

Json = dict[str, Any]

PATCH = {"type": "custom", "name": "apply_patch"}
USAGE = Usage(input_fresh=7, cache_read=3, output_visible=4, output_reasoning=1)
CITED = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 2}
SEARCHED = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "x"},
}
EVERYTHING: list[Delta] = [
    Reasoning("r", "First"),
    Reasoning("r", "Second", part=1),
    Reasoning("r2", "raw", "raw"),
    Reasoning("r2", "", "raw", sealed="gAAA"),
    Text(0, "Hello "),
    Text(1, "you", (CITED,), ({"token": "you", "logprob": -0.5, "bytes": [], "top_logprobs": []},)),
    Refusal(2, "but no"),
    ToolCall("a", '{"x":', "call_a", "f"),
    ToolCall("b", '{"input":"pl', "call_b", "apply_patch"),
    ToolCall("a", "1}"),
    ToolCall("b", 'ain"}'),
    Opaque("o", SEARCHED),
    Stop("tool_calls"),
]


def identity(response_id: str = "chatcmpl-own") -> Identity:
    return Identity(response_id, "alias", 1_767_225_600)


def assembler(of: Identity) -> Assembler:
    body: Json = {"model": "alias", "input": [], "tools": [PATCH]}
    return Assembler(of, body, Toolbox.of(body))


def chat_stream(
    deltas: Sequence[Delta], *, include_usage: bool = False, usage: Any = USAGE
) -> bytes:
    of = identity()
    made, encoder = assembler(of), ChatEncoder(of, include_usage=include_usage)
    written = encoder.encode(made.start())
    for delta in deltas:
        written += b"".join(map(encoder.encode, made.take(delta)))
    return written + b"".join(map(encoder.encode, made.end(usage, {})))


def chunks(stream: bytes) -> list[Json]:
    blocks = stream.decode().removesuffix("\n\n").split("\n\n")
    assert blocks[-1] == "data: [DONE]"
    return [orjson.loads(block.removeprefix("data: ")) for block in blocks[:-1]]


def spoken(found: list[Json]) -> list[Json]:
    return [chunk["choices"][0]["delta"] for chunk in found if chunk["choices"]]


def completion(deltas: Sequence[Delta], usage: Any = USAGE) -> Json:
    of = identity()
    made = assembler(of)
    for delta in deltas:
        made.take(delta)
    *_, last = made.end(usage, {})
    assert isinstance(last, Ended)
    return orjson.loads(ChatEncoder(of, include_usage=True).final(last.response))


# Chat Completions


def test_a_stream_of_chunks_says_the_role_first_and_the_reason_last():
    found = chunks(chat_stream([Text("c", "Hel"), Text("c", "lo"), Stop("stop")]))
    assert spoken(found) == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in found] == [None, None, None, "stop"]
    assert {(chunk["id"], chunk["model"], chunk["object"]) for chunk in found} == {
        ("chatcmpl-own", "alias", "chat.completion.chunk")
    }


def test_usage_comes_only_if_asked_for_and_the_other_chunks_then_say_null():
    plain = chunks(chat_stream([Text("c", "a"), Stop("stop")]))
    assert not any("usage" in chunk for chunk in plain)
    *others, last = chunks(chat_stream([Text("c", "a"), Stop("stop")], include_usage=True))
    assert [chunk["usage"] for chunk in others] == [None] * 3
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 10
    assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == 3
    assert last["usage"]["completion_tokens"] == 5
    assert last["usage"]["completion_tokens_details"]["reasoning_tokens"] == 1
    assert last["usage"]["total_tokens"] == 15


def test_every_call_has_an_index_and_says_its_name_once():
    found = spoken(chunks(chat_stream(EVERYTHING)))
    calls = [delta["tool_calls"][0] for delta in found if "tool_calls" in delta]
    assert calls == [
        {
            "index": 0,
            "id": "call_a",
            "type": "function",
            "function": {"name": "f", "arguments": ""},
        },
        {"index": 0, "function": {"arguments": '{"x":'}},
        {
            "index": 1,
            "id": "call_b",
            "type": "custom",
            "custom": {"name": "apply_patch", "input": ""},
        },
        {"index": 1, "custom": {"input": "pl"}},
        {"index": 0, "function": {"arguments": "1}"}},
        {"index": 1, "custom": {"input": "ain"}},
    ]


def test_content_is_null_when_a_call_comes_first():
    deltas: list[Delta] = [ToolCall("a", "{}", "call_a", "f"), Stop("tool_calls")]
    assert spoken(chunks(chat_stream(deltas)))[0]["content"] is None
    assert completion(deltas)["choices"][0]["message"]["content"] is None


def test_reasoning_is_reasoning_content_and_never_content():
    found = spoken(chunks(chat_stream(EVERYTHING)))
    thought = "".join(delta.get("reasoning_content", "") for delta in found)
    content = "".join(delta.get("content") or "" for delta in found)
    assert (thought, content) == ("First\n\nSecond\n\nraw", "Hello you")


def test_the_chunks_add_up_to_the_whole_completion():
    message: Json = {"tool_calls": {}}
    for delta in spoken(chunks(chat_stream(EVERYTHING))):
        for name, value in delta.items():
            if name == "tool_calls":
                _fold_call(message["tool_calls"], value[0])
            elif name == "annotations":
                message[name] = message.get(name, []) + value
            elif value is not None:
                message[name] = message.get(name, "") + value
    message["tool_calls"] = list(message["tool_calls"].values())
    whole = completion(EVERYTHING)
    assert whole["choices"][0]["message"] == message
    assert whole["choices"][0]["finish_reason"] == "tool_calls"
    assert whole["choices"][0]["logprobs"]["content"][0]["token"] == "you"


def _fold_call(calls: dict[int, Json], piece: Json) -> None:
    index = piece.pop("index")
    if index not in calls:
        calls[index] = piece
        return
    ((kind, more),) = piece.items()
    ((field, text),) = more.items()
    calls[index][kind][field] += text


def test_a_citation_counts_from_the_start_of_the_whole_text():
    (cited,) = completion(EVERYTHING)["choices"][0]["message"]["annotations"]
    assert cited["type"] == "url_citation"
    assert (cited["url_citation"]["start_index"], cited["url_citation"]["end_index"]) == (6, 8)


@cases(
    ("reason", "finish"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter")],
)
def test_the_reason_for_the_end_is_told(reason, finish):
    deltas: list[Delta] = [Text("c", "a"), Stop(reason)]
    assert chunks(chat_stream(deltas))[-1]["choices"][0]["finish_reason"] == finish
    assert completion(deltas)["choices"][0]["finish_reason"] == finish


def test_a_call_that_was_cut_is_a_matter_of_length():
    deltas: list[Delta] = [ToolCall("a", '{"x', "call_a", "f"), Stop("length")]
    assert completion(deltas)["choices"][0]["finish_reason"] == "length"


def test_an_empty_answer_still_has_a_role_and_an_end():
    found = chunks(chat_stream([Stop("stop")]))
    assert [delta.get("role") for delta in spoken(found)] == ["assistant", None]
    assert completion([Stop("stop")])["choices"][0]["message"]["content"] is None


def test_without_any_report_there_is_no_usage():
    found = chunks(chat_stream([Text("c", "a"), Stop("stop")], include_usage=True, usage=None))
    assert not any(chunk["usage"] for chunk in found)
    assert "usage" not in completion([Text("c", "a"), Stop("stop")], usage=None)


def test_a_failed_chat_stream_ends_with_an_error_and_no_done():
    of = identity()
    made, encoder = assembler(of), ChatEncoder(of, include_usage=False)
    made.take(Text("c", "a"))
    error = UpstreamCut("The provider 'p' ended the stream too early.")
    sent = encoder.failed(error, made.fail(error))
    assert orjson.loads(sent.removeprefix(b"data: ")) == error.body()


def test_chunks_fit_the_official_schema():
    schema = json_of("schemas/openai-sdk-3.52.0-chat_completion_chunk.schema.json")
    validator = Draft202012Validator(schema)
    plain = [delta for delta in EVERYTHING if getattr(delta, "key", "") != "b"]
    for chunk in chunks(chat_stream(plain, include_usage=True)):
        assert explain(validator, chunk) == []


def test_the_completion_fits_the_official_schema():
    schema = json_of("schemas/openai-sdk-3.52.0-chat_completion.schema.json")
    assert explain(Draft202012Validator(schema), completion(EVERYTHING)) == []


# Responses


def responses_stream(of: Identity, deltas: list[Delta], *, announce: bool = False) -> bytes:
    made, encoder = assembler(of), ResponsesEncoder(of)
    written = encoder.announce(made.start().response) if announce else b""
    written += encoder.keepalive() if announce else b""
    written += encoder.encode(made.start())
    for delta in deltas:
        written += b"".join(map(encoder.encode, made.take(delta))) + encoder.keepalive()
    return written + b"".join(map(encoder.encode, made.end(USAGE, {})))


def test_everything_at_once_keeps_to_the_grammar_and_to_the_official_schema():
    events = grammar.read(responses_stream(identity("resp_own"), EVERYTHING))
    response = grammar.check(events)
    assert explain(response_validator(), response) == []
    for event in events:
        if event["type"] != "keepalive":
            assert explain(event_validators()[event["type"]], event) == []


def test_an_announced_stream_is_not_announced_again():
    of = identity("resp_own")
    events = grammar.read(responses_stream(of, EVERYTHING, announce=True))
    grammar.check(events)
    assert [event["type"] for event in events].count("response.created") == 1


def test_a_later_attempt_goes_on_where_the_earlier_one_stopped():
    of = identity("resp_own")
    first = ResponsesEncoder(of).announce(assembler(of).start().response)
    second = ResponsesEncoder(of)
    waiting = second.keepalive()
    events = grammar.read(first + waiting + responses_stream(of, EVERYTHING))
    grammar.check(events)


def test_each_event_is_one_block_of_two_lines():
    stream = responses_stream(identity("resp_own"), [Text("c", "a\r\nb\n\n\u2028"), Stop("stop")])
    assert grammar.check_stream(stream)["output_text"] == "a\r\nb\n\n\u2028"
