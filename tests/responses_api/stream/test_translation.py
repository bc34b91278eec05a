"""A translation as an exchange sees it: bytes in, bytes out, and what it has decided so far."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway_project.lib.errors import UpstreamMalformed, UpstreamOverloaded, UpstreamTimeout
from gateway_project.lib.sse import Frame, Parser
from responses_api.doors.registry import BRIDGES
from responses_api.doors.shapes import ModelCall
from responses_api.stream.upstream_reader import Identity, UpstreamReader
from routing.route import Quirks
from tests.plugins.cases import cases
from tests.support import grammar
from tests.support.reference import event_validators, explain, recordings, response_validator
from tests.support.targets import target

Json = dict[str, Any]

PIECE = 333
PROTOCOLS = ("chat", "responses", "anthropic")


def streams() -> list[Any]:
    return [
        pytest.param(protocol, *param.values, id=f"{protocol}-{param.id}")
        for protocol in PROTOCOLS
        for param in recordings(protocol, ".sse")
    ]


def answers() -> list[Any]:
    """Return the recorded JSON that is an answer, and no error."""
    return [
        pytest.param(protocol, path, id=f"{protocol}-{path.stem}")
        for protocol in ("chat", "anthropic")
        for path in (param.values[0] for param in recordings(protocol, ".json"))
        if {"choices", "content"} & orjson.loads(path.read_bytes()).keys()
    ]


def identity() -> Identity:
    return Identity("resp_own", "alias", 1_767_225_600)


def translation(
    protocol: str, door: Any = "responses", of: Identity | None = None, **body: Any
) -> UpstreamReader:
    asked = {"messages": [{"role": "user", "content": "Hi"}]} if door == "chat" else {"input": "Hi"}
    call = ModelCall(
        door, "alias", True, True, {"model": "alias", "stream": True, **asked, **body}, 9
    )
    to = replace(target(protocol), quirks=Quirks(translate=True))
    return BRIDGES[door, protocol].plan(call, to, of or identity(), drop_unsupported=False).reader


def chunk(delta: Json, finish: str | None = None, **fields: Any) -> Frame:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return Frame(b"", orjson.dumps({"id": "c", "model": "m", "choices": [choice], **fields}))


DONE = Frame(b"", b"[DONE]")


# What is decided when


def test_nothing_is_sent_before_the_first_output():
    relay = translation("chat")
    assert relay.forward([chunk({"role": "assistant", "content": ""})]) == b""
    assert not relay.has_output
    first = relay.forward([chunk({"content": "Hi"})])
    assert relay.has_output
    assert first.startswith(b"event: response.created\n")


def test_the_end_waits_for_the_usage():
    relay = translation("chat")
    relay.forward([chunk({"content": "Hi"}), chunk({}, "stop")])
    assert not relay.ended
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    out = relay.forward([Frame(b"", orjson.dumps({"choices": [], "usage": usage})), DONE])
    assert relay.ended
    assert relay.status == "completed"
    assert b'"total_tokens":5' in out
    assert out.endswith(b"data: [DONE]\n\n")


def test_a_stream_that_said_why_it_ends_is_whole_without_done():
    relay = translation("chat")
    relay.forward([chunk({"content": "Hi"}), chunk({}, "length")])
    assert relay.finish()
    assert (relay.ended, relay.status, relay.failure) == (True, "incomplete", None)


def test_a_stream_that_ends_without_a_reason_has_failed():
    relay = translation("chat")
    relay.forward([chunk({"content": "Hi"})])
    relay.finish()
    assert relay.failure is not None
    assert relay.failure.code == "upstream_cut"
    assert not relay.ended


def test_done_without_a_reason_is_a_failure_too():
    relay = translation("chat")
    relay.forward([chunk({"content": "Hi"}), DONE])
    assert relay.failure is not None


def test_a_failure_before_any_output_leaves_nothing_behind():
    of = identity()
    first = translation("chat", of=of)
    assert (
        first.forward([Frame(b"", b'{"error":{"message":"x","type":"overloaded_error"}}')]) == b""
    )
    assert isinstance(first.failure, UpstreamOverloaded)
    assert not first.has_output
    second = translation("anthropic", of=of)
    assert b"response.created" in second.failed(first.failure)


def test_what_came_before_a_failure_goes_out_and_is_closed_by_it():
    relay = translation("chat")
    out = relay.forward([chunk({"content": "Hi"}), Frame(b"", b'{"error":{"message":"x"}}')])
    assert relay.failure is not None
    response = grammar.check_stream(out + relay.failed(relay.failure))
    assert response["output_text"] == "Hi"
    assert relay.status == "failed"


def test_an_announced_stream_fails_under_the_same_id():
    of = identity()
    first, second = translation("chat", of=of), translation("anthropic", of=of)
    stream = first.announce() + first.keepalive() + second.keepalive()
    stream += second.failed(UpstreamTimeout("Too slow."))
    assert grammar.check_stream(stream)["error"]["message"] == "Too slow."


def test_what_an_earlier_attempt_held_back_is_not_taken_for_sent():
    of = identity()
    native, other = BRIDGES["responses", "responses"], translation("chat", of=of)
    call = ModelCall("responses", "alias", True, True, {"model": "alias", "input": "Hi"}, 9)
    relay = native.plan(call, target("responses"), of, drop_unsupported=False).reader
    created = {
        "type": "response.created",
        "sequence_number": 0,
        "response": {"status": "in_progress"},
    }
    assert relay.forward([Frame(b"", orjson.dumps(created))]) == b""
    out = other.forward([chunk({"content": "Hi"}), chunk({}, "stop"), DONE])
    assert grammar.check_stream(out)["output_text"] == "Hi"


def test_a_frame_nobody_can_read_is_counted_and_skipped():
    relay = translation("chat")
    relay.forward([Frame(b"", b"{"), chunk({"content": "Hi"})])
    assert relay.frames_dropped == 1
    assert relay.frames_forwarded == 1


def test_what_follows_the_end_is_ignored():
    relay = translation("chat")
    relay.forward([chunk({"content": "Hi"}), chunk({}, "stop"), DONE])
    assert relay.forward([chunk({"content": "more"})]) == b""
    assert relay.finish() == b""


def test_a_whole_answer_that_does_not_say_how_it_ended_is_malformed():
    relay = translation("responses")
    with pytest.raises(UpstreamMalformed):
        relay.body(orjson.dumps({"status": "in_progress", "output": []}))


# Every recorded stream, through both doors


def relayed(relay: UpstreamReader, stream: bytes) -> bytes:
    parser, out = Parser(), b""
    for start in range(0, len(stream), PIECE):
        if relay.failure is None:
            out += relay.forward(parser.feed(stream[start : start + PIECE]))
    if relay.failure is None:
        out += relay.forward(parser.finish()) + relay.finish()
    return out + relay.failed(relay.failure) if relay.failure is not None else out


@cases(("protocol", "recording"), streams)
def test_a_recorded_stream_becomes_a_well_formed_response(protocol: str, recording: Path):
    relay = translation(protocol)
    events = grammar.read(relayed(relay, recording.read_bytes()))
    grammar.check(events)
    for event in events:
        assert explain(event_validators()[event["type"]], event) == []


@cases(("protocol", "recording"), streams)
def test_both_doors_say_the_same(protocol: str, recording: Path):
    stream = recording.read_bytes()
    response = grammar.check_stream(relayed(translation(protocol), stream))
    out = relayed(translation(protocol, "chat"), stream)
    chunks = [orjson.loads(line[6:]) for line in out.splitlines() if line.startswith(b"data: {")]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]
    assert "".join(delta.get("content") or "" for delta in deltas) == response["output_text"]
    calls = [
        item for item in response["output"] if item["type"] in {"function_call", "custom_tool_call"}
    ]
    opened = [
        call["id"] for delta in deltas for call in delta.get("tool_calls", ()) if "id" in call
    ]
    assert opened == [call["call_id"] for call in calls]
    assert out.endswith(b"data: [DONE]\n\n") == (response["status"] != "failed")


@cases(("protocol", "recording"), answers)
def test_a_recorded_answer_becomes_a_complete_response(protocol: str, recording: Path):
    raw = recording.read_bytes()
    response = orjson.loads(translation(protocol).body(raw))
    assert explain(response_validator(), response) == []
    assert response["status"] in {"completed", "incomplete"}
