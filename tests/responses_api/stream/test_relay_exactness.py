"""Every recorded stream of a real provider goes through the relay unharmed, wherever it is cut.

What reaches the client is the provider's JSON but for the fields the gateway owns; what the Meter reads is
what the recording says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway_project.lib.errors import UpstreamError
from gateway_project.lib.sse import Frame, Parser
from responses_api.doors.chat.relay import ChatRelay
from responses_api.doors.responses.relay import ResponsesRelay
from responses_api.doors.shapes import ModelCall
from responses_api.stream.upstream_reader import Identity
from tenants.token_classes import Usage
from tests.plugins.cases import cases, sample
from tests.support.reference import recordings
from tests.support.targets import target

Json = dict[str, Any]

RELAYS: dict[str, type[ChatRelay] | type[ResponsesRelay]] = {
    "chat": ChatRelay,
    "responses": ResponsesRelay,
}
OWN = {"chat": "chatcmpl-own0000000000000000", "responses": "resp_own0000000000000000"}
ALIAS = "own-alias"
LIFECYCLE = {
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.completed",
    "response.failed",
    "response.incomplete",
}
TERMINAL = {"response.completed", "response.failed", "response.incomplete"}
BEGINNING = rb'data(?=: \{"type":\s*"response\.created")'
WINDOW = 250
SAMPLES = 60
SMALL = 4000


@cache
def recorded_streams(protocol: str) -> list[Any]:
    """Test parameters: each stream of a protocol. A recording may hold several, one after the other."""
    found: dict[bytes, Any] = {}
    for recording in (*recordings("chat", ".sse"), *recordings("responses", ".sse")):
        (path,) = recording.values
        whole = path.read_bytes()
        # One stream of chunks is filed among the Responses.
        if (b'"chat.completion.chunk"' in whole) == (protocol == "chat"):
            streams = [b"data" + part for part in re.split(BEGINNING, whole)[1:]] or [whole]
            for number, stream in enumerate(streams):
                found.setdefault(stream, pytest.param(stream, id=f"{recording.id}-{number}"))
    return list(found.values())  # several recordings are the same


def recorded_answers(protocol: str, *fields: str) -> list[Any]:
    """Test parameters: the JSON answers that have one of these fields, and a value in it."""
    found = recordings(protocol, ".json")
    return [recording for recording in found if holds(recording, fields)]


def holds(recording: Any, fields: tuple[str, ...]) -> bool:
    (path,) = recording.values
    answer = orjson.loads(path.read_bytes())
    return any(answer.get(field) is not None for field in fields)


def for_each(of_protocol: Callable[[str], list[Any]]) -> list[Any]:
    """Test parameters with the protocol before them."""
    return [
        pytest.param(protocol, *found.values, id=f"{protocol}-{found.id}")
        for protocol in RELAYS
        for found in of_protocol(protocol)
    ]


def chat_streams() -> list[Any]:
    return recorded_streams("chat")


def responses_streams() -> list[Any]:
    return recorded_streams("responses")


def streams() -> list[Any]:
    return for_each(recorded_streams)


def answers() -> list[Any]:
    return for_each(lambda protocol: recorded_answers(protocol, "choices", "output"))


def errors() -> list[Any]:
    return for_each(lambda protocol: recorded_answers(protocol, "error"))


def relay_of(protocol: Any, *, include_usage: bool = True) -> ChatRelay | ResponsesRelay:
    call = ModelCall(protocol, ALIAS, True, include_usage, {"model": ALIAS}, 100)
    echo = {"store": False, "background": False, "previous_response_id": None}
    return RELAYS[protocol](
        call, target(protocol), Identity(OWN[protocol], ALIAS, 1_800_000_000, echo)
    )


def relayed(relay: ChatRelay | ResponsesRelay, *chunks: bytes) -> bytes:
    """Return what the client gets when the upstream's stream arrives in these chunks."""
    parser = Parser()
    out = [relay.forward(parser.feed(chunk)) for chunk in chunks]
    out += [relay.forward(parser.finish()), relay.finish()]
    assert relay.failure is None
    return b"".join(out)


def recorded_data(stream: bytes) -> list[bytes]:
    """The data of each event of a recording, without the last `[DONE]`."""
    data = [line[5:].strip() for line in stream.splitlines() if line.startswith(b"data:")]
    return [line for line in data if line != b"[DONE]"]


def sent_data(out: bytes) -> list[bytes]:
    """The data of each event we sent, without the last `[DONE]`; checks the framing."""
    assert b"\r" not in out
    *blocks, done, nothing = out.split(b"\n\n")
    assert (done, nothing) == (b"data: [DONE]", b"")
    data = []
    for block in blocks:
        *name, line = block.split(b"\n")
        assert line.startswith(b"data: ")
        data.append(line[6:])
        named = [b"event: " + orjson.loads(data[-1])["type"].encode()] if name else []
        assert name == named
    return data


def without_own(protocol: str, event: Json) -> Json:
    """An event without the fields the gateway owns."""
    if protocol == "chat":
        return {name: value for name, value in event.items() if name not in {"id", "model"}}
    if event["type"] not in LIFECYCLE:
        return event
    owned = {"id", "model", "store", "previous_response_id", "conversation", "background"}
    response = {name: value for name, value in event["response"].items() if name not in owned}
    return {**event, "response": response}


def own_fields(protocol: str, event: Json) -> Json:
    """The fields of an event that the gateway owns."""
    if protocol == "chat":
        return {"id": event["id"], "model": event["model"]}
    response = event.get("response", {}) if event["type"] in LIFECYCLE else {}
    names = ("id", "model", "store", "previous_response_id", "conversation", "background")
    return {name: response[name] for name in names if name in response}


def cuts(size: int) -> Iterator[int]:
    """Every byte of a small stream; of a large one its beginning, its end and samples between."""
    if size <= SMALL:
        yield from range(1, size)
        return
    yield from range(1, WINDOW)
    yield from range(WINDOW, size - WINDOW, (size - 2 * WINDOW) // SAMPLES)
    yield from range(size - WINDOW, size)


# Streams


@cases(("protocol", "stream"), streams)
def test_each_event_is_the_recorded_one_but_for_what_we_own(protocol: str, stream: bytes):
    sent = [orjson.loads(data) for data in sent_data(relayed(relay_of(protocol), stream))]
    recorded = [orjson.loads(data) for data in recorded_data(stream)]
    assert [without_own(protocol, event) for event in sent] == [
        without_own(protocol, event) for event in recorded
    ]


@cases(("protocol", "stream"), streams)
def test_what_we_own_is_the_same_in_every_event(protocol: str, stream: bytes):
    sent = [orjson.loads(data) for data in sent_data(relayed(relay_of(protocol), stream))]
    own = [fields for event in sent if (fields := own_fields(protocol, event))]
    assert {(fields["id"], fields["model"]) for fields in own} == {(OWN[protocol], ALIAS)}
    assert {fields.get("store", False) for fields in own} == {False}
    assert {fields.get("background", False) for fields in own} == {False}
    assert {fields.get("previous_response_id") for fields in own} == {None}
    assert [fields for fields in own if "conversation" in fields] == []


@cases("stream", chat_streams)
def test_a_chunk_is_the_recorded_bytes_but_for_id_and_model(stream: bytes):
    for sent, recorded in zip(
        sent_data(relayed(relay_of("chat"), stream)), recorded_data(stream), strict=True
    ):
        theirs = orjson.loads(recorded)
        restored = sent.replace(orjson.dumps(OWN["chat"]), orjson.dumps(theirs["id"]))
        assert restored.replace(orjson.dumps(ALIAS), orjson.dumps(theirs["model"])) == recorded


@cases("stream", responses_streams)
def test_an_event_that_is_no_lifecycle_event_is_the_recorded_bytes(stream: bytes):
    pairs = zip(
        sent_data(relayed(relay_of("responses"), stream)), recorded_data(stream), strict=True
    )
    inner = [pair for pair in pairs if orjson.loads(pair[1])["type"] not in LIFECYCLE]
    assert [sent for sent, _ in inner] == [recorded for _, recorded in inner]


@cases("stream", responses_streams)
def test_there_is_one_terminal_event_and_it_is_the_last(stream: bytes):
    data = sent_data(relayed(relay_of("responses"), stream))
    kinds = [orjson.loads(line)["type"] for line in data]
    assert [kind for kind in kinds if kind in TERMINAL] == kinds[-1:]


@cases("stream", chat_streams)
def test_a_client_that_did_not_ask_gets_all_but_the_usage_chunk(stream: bytes):
    relay = relay_of("chat", include_usage=False)
    sent = [orjson.loads(data) for data in sent_data(relayed(relay, stream))]
    recorded = [orjson.loads(data) for data in recorded_data(stream)]
    wanted = [chunk for chunk in recorded if chunk["choices"] or not chunk.get("usage")]
    assert [without_own("chat", chunk) for chunk in sent] == [
        without_own("chat", chunk) for chunk in wanted
    ]
    assert relay.meter.usage == recorded_usage("chat", recorded)


@sample(default=2, ci=4)
@cases(("protocol", "stream"), streams)
def test_nothing_changes_wherever_the_stream_is_cut(protocol: str, stream: bytes):
    whole = relay_of(protocol)
    expected = relayed(whole, stream)
    for cut in cuts(len(stream)):
        relay = relay_of(protocol)
        assert relayed(relay, stream[:cut], stream[cut:]) == expected, f"cut at {cut}"
        assert relay.meter.usage == whole.meter.usage, f"cut at {cut}"


@sample(default=3, ci=6)
@cases(("protocol", "stream"), streams)
def test_an_event_and_its_neighbour_are_the_same_when_cut_at_every_single_byte(protocol, stream):
    """Between two events the parser remembers nothing, so this covers every cut of the whole stream;
    how a cut groups the events is the next test's subject."""
    blocks = [block + b"\n\n" for block in stream.split(b"\n\n") if block]
    for block, neighbour in pairwise([*blocks, b""]):
        expected = Parser().feed(block + neighbour)
        for cut in range(len(block) + 1):
            parser = Parser()
            found = parser.feed(block[:cut]) + parser.feed(block[cut:] + neighbour)
            assert found == expected, (block, cut)


@sample(default=5, ci=12)
@cases(("protocol", "stream"), streams)
def test_nothing_changes_however_a_cut_groups_the_events(protocol: str, stream: bytes):
    expected = relayed(relay_of(protocol), stream)
    frames = Parser().feed(stream)
    for cut in range(len(frames) + 1):
        relay = relay_of(protocol)
        sent = relay.forward(frames[:cut]) + relay.forward(frames[cut:])
        assert sent + relay.finish() == expected, f"cut after event {cut}"


@sample(default=4, ci=10)
@cases("line_end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
@cases(("protocol", "stream"), streams)
def test_nothing_changes_byte_by_byte_however_lines_end(protocol, stream, line_end):
    whole = relay_of(protocol)
    expected = relayed(whole, stream)
    spelled = b"\xef\xbb\xbf" + stream.replace(b"\n", line_end)
    relay = relay_of(protocol)
    assert relayed(relay, *(spelled[n : n + 1] for n in range(len(spelled)))) == expected
    assert relay.meter.usage == whole.meter.usage


# Usage


def recorded_usage(protocol: str, reports: list[Json]) -> Usage | None:
    """The last usage of a recording in disjoint classes, worked out the long way."""
    found = [report["usage"] for report in reports if report.get("usage")]
    if not found:
        return None
    usage = found[-1]
    entered, left = {
        "chat": ("prompt_tokens", "completion_tokens"),
        "responses": ("input_tokens", "output_tokens"),
    }[protocol]
    inputs, outputs = usage[entered], usage[left]
    inside = usage.get(f"{entered}_details") or {}
    outside = usage.get(f"{left}_details") or {}
    beside = usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens")
    cached = inside.get("cached_tokens") or beside or 0
    written = inside.get("cache_write_tokens") or 0
    reasoned = outside.get("reasoning_tokens") or 0
    if protocol == "chat" and reasoned and usage["total_tokens"] == inputs + outputs + reasoned:
        outputs += reasoned
    return Usage(
        input_fresh=max(0, inputs - cached - written),
        cache_read=cached,
        cache_write=written,
        output_visible=max(0, outputs - reasoned),
        output_reasoning=reasoned,
        anomaly=(
            inputs < cached + written
            or outputs < reasoned
            or usage.get("total_tokens", inputs + outputs) != inputs + outputs
        ),
    )


def reports_in(protocol: str, data: list[bytes]) -> list[Json]:
    """Return what may carry usage in a stream: each chunk, or the Response of each lifecycle event."""
    events = [orjson.loads(line) for line in data]
    if protocol == "chat":
        return events
    return [event["response"] for event in events if event["type"] in LIFECYCLE]


@cases(("protocol", "stream"), streams)
def test_the_meter_reads_what_the_stream_reports(protocol: str, stream: bytes):
    relay = relay_of(protocol)
    relayed(relay, stream)
    reports = reports_in(protocol, recorded_data(stream))
    assert relay.meter.usage == recorded_usage(protocol, reports)


@cases(("protocol", "stream"), streams)
def test_the_classes_of_a_stream_add_up_to_its_total(protocol: str, stream: bytes):
    relay = relay_of(protocol)
    relayed(relay, stream)
    reported = [
        report["usage"]["total_tokens"]
        for report in reports_in(protocol, recorded_data(stream))
        if report.get("usage")
    ]
    metered = relay.meter.usage or Usage()
    total = metered.input_total + metered.output_total
    assert [total] == (reported[-1:] or [0]) or metered.anomaly


# Whole answers


@cases(("protocol", "recording"), answers)
def test_a_whole_answer_is_the_recorded_one_but_for_what_we_own(protocol: str, recording: Path):
    recorded = orjson.loads(recording.read_bytes())
    relay = relay_of(protocol)
    sent = orjson.loads(relay.body(recording.read_bytes()))
    owned = {"id", "model", "store", "previous_response_id", "conversation", "background"}
    names = owned if protocol == "responses" else {"id", "model"}
    assert {name: sent[name] for name in sent if name not in names} == {
        name: recorded[name] for name in recorded if name not in names
    }
    assert (sent["id"], sent["model"]) == (OWN[protocol], ALIAS)
    assert relay.meter.usage == recorded_usage(protocol, [recorded])


@cases(("protocol", "recording"), errors)
def test_a_recorded_error_in_a_200_is_an_error(protocol: str, recording: Path):
    with pytest.raises(UpstreamError) as caught:
        relay_of(protocol).body(recording.read_bytes())
    assert caught.value.code in {"upstream_rejected", "upstream_quota_exhausted"}


# What no recording holds


def test_a_json_event_spread_over_several_data_lines_stays_one_event():
    relay = relay_of("responses")
    created = (
        b'data: {"type":"response.created",\ndata: "sequence_number":0,\ndata: "response":{}}\n\n'
    )
    delta = b'data: {"type":"x.delta",\ndata:  "delta":"a"}\n\n'
    ended = b'data: {"type":"response.completed","sequence_number":2,"response":{"output":[]}}\n\n'
    kinds = [
        orjson.loads(data)["type"] for data in sent_data(relayed(relay, created + delta + ended))
    ]
    assert kinds == ["response.created", "x.delta", "response.completed"]


def test_a_chunk_spread_over_several_data_lines_stays_one_event():
    chunk = b'data: {"id":"c1","model":"m",\ndata: "choices":[{"index":0,"delta":{"content":"a"},\n'
    chunk += b'data: "finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    (sent,) = sent_data(relayed(relay_of("chat"), chunk))
    assert orjson.loads(sent)["choices"][0]["delta"] == {"content": "a"}


def test_the_id_and_model_are_replaced_where_json_has_spaces():
    chunk = b'data: {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"content": "a"},'
    chunk += b' "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    (sent,) = sent_data(relayed(relay_of("chat"), chunk))
    assert sent == (
        b'{"id": "chatcmpl-own0000000000000000", "model": "own-alias", "choices": '
        b'[{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}'
    )


def test_text_that_quotes_the_id_and_the_model_is_left_alone():
    text = orjson.dumps('"id":"c1","model":"m"').decode()
    chunk = (
        f'data: {{"choices":[{{"index":0,"delta":{{"content":{text}}},"finish_reason":"stop"}}],'
    )
    chunk += '"id":"c1","model":"m"}\n\ndata: [DONE]\n\n'
    (sent,) = sent_data(relayed(relay_of("chat"), chunk.encode()))
    assert orjson.loads(sent) == {
        "choices": [
            {"index": 0, "delta": {"content": '"id":"c1","model":"m"'}, "finish_reason": "stop"}
        ],
        "id": OWN["chat"],
        "model": ALIAS,
    }


def test_a_nested_id_that_equals_the_chunks_own_is_left_alone():
    first = '{"id":"c1","model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}'
    second = (
        '{"choices":[{"index":0,"delta":{"x":{"id":"c1","model":"m"}},"finish_reason":"stop"}],'
    )
    second += '"id":"c1","model":"m"}'
    stream = f"data: {first}\n\ndata: {second}\n\ndata: [DONE]\n\n".encode()
    _, sent = sent_data(relayed(relay_of("chat"), stream))
    chunk = orjson.loads(sent)
    assert chunk["choices"][0]["delta"] == {"x": {"id": "c1", "model": "m"}}
    assert (chunk["id"], chunk["model"]) == (OWN["chat"], ALIAS)


@cases(
    "chunk",
    [
        {"choices": ["x"]},
        {"choices": [{"index": [], "delta": {}}]},
        {"choices": [{"index": 0, "delta": "x"}]},
        {"choices": [{"index": 0, "delta": []}]},
        {"choices": "x"},
        {"choices": None, "usage": {"prompt_tokens": "x"}},
        {"usage": {"prompt_tokens": True, "prompt_tokens_details": [1]}},
        {"error": {"code": ["x"], "type": {}}},
        {"error": {"code": 429, "message": 5}},
        {"error": "x"},
    ],
)
def test_a_chunk_of_the_wrong_shape_is_the_upstreams_failure_if_it_is_one(chunk: Json):
    relay = relay_of("chat")
    relay.forward([Frame(b"", orjson.dumps({"id": "c1", "model": "m", **chunk}))])
    assert relay.failure is None or relay.failure.http_status != 500


@cases(
    "event",
    [
        {"type": "response.failed", "response": {"error": {"code": ["x"]}}},
        {"type": "response.failed", "response": {"error": "x"}},
        {"type": "response.failed", "response": {}},
        {"type": "error", "error": {"code": {}, "type": []}},
        {"type": "error", "code": None},
        {"type": "response.completed"},
        {"type": "response.completed", "response": []},
        {"type": ["x"]},
        {"type": ""},
    ],
)
def test_an_event_of_the_wrong_shape_is_the_upstreams_failure_if_it_is_one(event: Json):
    relay = relay_of("responses")
    relay.forward([Frame(b"", orjson.dumps(event))])
    assert relay.failure is None or relay.failure.http_status != 500


@cases("output_index", [None, "x", [], 1.5])
def test_a_failure_is_told_even_after_items_with_odd_indexes(output_index: Any):
    relay = relay_of("responses")
    item = {"type": "response.output_item.done", "output_index": output_index, "item": {"id": "a"}}
    relay.forward(
        [Frame(b"", orjson.dumps({**item, "output_index": 0})), Frame(b"", orjson.dumps(item))]
    )
    told = relay.failed(UpstreamError("The provider failed."))
    assert b"response.failed" in told
    assert told.endswith(b"data: [DONE]\n\n")


@cases("protocol", RELAYS)
def test_an_answer_that_is_nested_too_deep_is_the_upstreams_failure(protocol: str):
    deep = b"[" * 300 + b"]" * 300
    raw = b'{"id":"a","status":"completed","output":[],"choices":[],"x":' + deep + b"}"
    with pytest.raises(UpstreamError):
        relay_of(protocol).body(raw)


OPENING = {
    "id": "resp_theirs",
    "model": "theirs",
    "conversation": {"id": "c"},
    "x": "ü",
    "output": [],
}
DELTA = b'{"type":"response.output_text.delta","sequence_number":2,"delta":"hi"}'


def opened_by(relay: ChatRelay | ResponsesRelay, data: bytes) -> list[Json]:
    """The events the client gets of a stream that opens with this one."""
    out = relay.forward([Frame(b"", data), Frame(b"", DELTA)])
    return [orjson.loads(frame.data) for frame in Parser().feed(out)]


@cases("beside", [{}, {"obfuscation": "x"}], ids=["the usual fields", "another field"])
@cases("indent", [False, True], ids=["dense", "indented"])
def test_an_opening_event_has_what_we_own_and_the_rest_as_it_came(
    beside: Json, indent: bool
) -> None:
    event = {"type": "response.created", "sequence_number": 0, "response": OPENING, **beside}
    data = orjson.dumps(event, option=orjson.OPT_INDENT_2 if indent else 0)
    first, second = opened_by(relay_of("responses"), data)
    assert second == orjson.loads(DELTA)
    owned = {"id": OWN["responses"], "model": ALIAS, "store": False}
    kept = {name: value for name, value in OPENING.items() if name != "conversation"}
    echo = {"background": False, "previous_response_id": None}
    assert first == {**event, "response": {**kept, **owned, **echo}}


@cases("changes", [{}, {"status": "in_progress"}], ids=["as before", "changed"])
@cases("end", [b"}", b',"type":"response.queued"}'], ids=["plain", "its type twice"])
def test_a_response_that_is_told_twice_goes_out_as_it_came(changes: Json, end: bytes) -> None:
    written = b'{"type":"response.%b","sequence_number":%d,"response":%b'
    first = written % (b"created", 0, orjson.dumps(OPENING)) + end
    second = written % (b"in_progress", 1, orjson.dumps(OPENING | changes)) + end
    relay = relay_of("responses")
    out = relay.forward([Frame(b"", data) for data in (first, second, DELTA)])
    told = [orjson.loads(frame.data) for frame in Parser().feed(out)]
    assert [event["sequence_number"] for event in told] == [0, 1, 2]
    before, after = told[0]["response"], told[1]["response"]
    assert (before["id"], before["x"]) == (OWN["responses"], "ü")
    assert after == before | changes


@cases(
    "data",
    [
        b'{"type":"response.created","sequence_number":0,"response":{"x":"\xff"}}',
        b'{"type":"response.created","sequence_number":0,"response":{"x":}}',
        b'{"type":"response.created","sequence_number":0,"response":[]}',
    ],
    ids=["not UTF-8", "not JSON", "no response"],
)
def test_an_opening_event_that_is_none_is_dropped(data: bytes) -> None:
    relay = relay_of("responses")
    assert opened_by(relay, data) == [orjson.loads(DELTA)]
    assert relay.frames_dropped == 1


@cases("depth", [2, 300, 2_000])
def test_a_stream_that_fails_has_an_end_however_deep_its_opening_was_nested(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    head = b'{"type":"response.created","sequence_number":0,"response":{"metadata":%b}}' % deep
    relay = relay_of("responses")
    opened_by(relay, head)
    (frame, _) = Parser().feed(relay.failed(UpstreamError("gone")))
    response = orjson.loads(frame.data)["response"]
    assert (response["status"], response["id"]) == ("failed", OWN["responses"])


def test_usage_that_arrives_before_its_details_is_not_counted_twice():
    """Reports are cumulative and a later one may say more precisely what the same tokens were."""
    stream = (
        b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"a"}}],"usage":'
        b'{"prompt_tokens":100,"completion_tokens":1,"total_tokens":101}}\n\n'
        b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":100,"completion_tokens":9,"total_tokens":109,'
        b'"prompt_tokens_details":{"cached_tokens":80}}}\n\ndata: [DONE]\n\n'
    )
    relay = relay_of("chat")
    relayed(relay, stream)
    assert relay.meter.usage == Usage(input_fresh=20, cache_read=80, output_visible=9)


# What stands in the place of the text of a chunk whose like has been seen before.
TRICKY = (
    b'"plain "', b'""', b'"two\\nlines"', b'"a \\"quote\\""', b'"\\\\"',
    b'"\\u00e9 \xc3\xa9 \xf0\x9f\x8c\x8d"',
    b'"ends in \\"', b'"\x01"', b'"\xff"', b'"\\ud800"', b'"', b"", b"null", b"1", b'{"a": 1}', b' "spaced" ',
    b'"x","role":"assistant"', b'"x"},"finish_reason":"stop","other":{"a":"b"',
)  # fmt: skip
PLAIN = (
    b'{"id":"c1","model":"m","choices":[{"index":0,"delta":{"content":%b},"finish_reason":null}]}'
)
OTHERS = (
    b'{"id":"c2","model":"m","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}',
    b'{"id":"c1","model":"m","choices":[{"index":1,"delta":{"content":"x"},"finish_reason":null}]}',
    b'{"id":"c1","model":"m","choices":[{"index":0,"delta":{},"finish_reason":""}]}',
    b'{"id":"c1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"x"}}]}',
    b'{"id":"c1","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}',
    b'{"id":"c1","model":"m","service_tier":"flex","choices":[{"index":0,"delta":{"content":"x"}}]}',
)


@pytest.mark.parametrize("other", [b"", *OTHERS])
def test_a_chunk_of_a_known_shape_is_relayed_and_counted_like_one_that_is_parsed(
    other: bytes,
) -> None:
    texts = [text for tricky in TRICKY for text in (b'"before "', tricky, b'"after "')]
    chunks = [PLAIN % text for text in texts]
    chunks = [chunk for text in chunks for chunk in ((text, other) if other else (text,))]
    results = []
    for patterns in (1000, 0):
        relay = relay_of("chat")
        assert isinstance(relay, ChatRelay)
        relay._patterns_left = patterns
        out = [relay.forward([Frame(b"", chunk)]) for chunk in chunks]
        seen = relay.tally.deltas, relay.tally.size, relay.frames_forwarded, relay.frames_dropped
        results.append((out, seen, relay.service_tier, relay.meter.usage, vars_of_ending(relay)))
    assert results[0] == results[1]


def vars_of_ending(relay: ChatRelay) -> tuple[bool, bool, list[int]]:
    ending = relay._ending
    return ending.is_whole(done=True), ending.is_whole(done=False), ending.unfinished


def test_most_chunks_of_a_stream_are_relayed_by_their_shape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    relay = relay_of("chat")
    assert isinstance(relay, ChatRelay)
    parsed: list[bytes] = []

    def parse(_: ChatRelay, data: bytes) -> Any:
        parsed.append(data)
        return orjson.loads(data)

    monkeypatch.setattr(ChatRelay, "_parse", parse)
    for number in range(20):
        out = relay.forward([Frame(b"", PLAIN % b'"word %d \\n"' % number)])
        assert orjson.loads(out[6:])["choices"][0]["delta"] == {"content": f"word {number} \n"}
    assert len(parsed) == 1
