"""Every recorded exchange through both doors, whole and in pieces of three bytes: what the client is told is
what the recording says, as a reader finds that knows nothing of the gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import orjson
import pytest

from gateway_project.lib.errors import UpstreamError, UpstreamMalformed
from gateway_project.lib.sse import Frame, Parser
from gateway_project.sandbox.reply import Scripted
from responses_api.stream.upstream_reader import UpstreamReader
from tests.plugins.cases import cases, sample
from tests.plugins.tiers import SEED, by_tier, sampled
from tests.support import chat_grammar, grammar, meaning, rows
from tests.support.client import PATHS, client_of, events_in
from tests.support.live import LiveGateway
from tests.support.meaning import Meaning
from tests.support.recorded import (
    ALIAS,
    PROTOCOLS,
    Recorded,
    answers,
    failures,
    relay,
    relayed,
    request,
    spliced,
    streams,
)
from tests.support.reference import (
    event_validators,
    explain,
    open_responses_validator,
    response_validator,
)
from tests.support.rows import Customer

Json = dict[str, Any]

DOORS = ("chat", "responses")
PIECE = 3
DAMAGED_PLACES = by_tier(default=5, ci=10, proof=1_000_000)
BETWEEN_THOUGHTS = "\n\n"
OPEN_RESPONSES_ITEMS = {"message", "function_call", "reasoning"}
OUR_IDS = ("msg_", "fc_", "ctc_", "rs_", "item_")

END = {
    "chat": re.compile(rb'"finish_reason": ?"'),
    "responses": re.compile(rb'"type": ?"response\.(completed|incomplete)"'),
    "anthropic": re.compile(rb'"stop_reason": ?"'),
}

each_door = cases("door", DOORS)
each_stream = cases("recorded", streams)
each_answer = cases("recorded", answers)


def told(door: str, recorded: Recorded, meant: Meaning) -> Meaning:
    """A meaning as a door can tell it: chat has one field for all thoughts. Where the vendor gives
    arguments as a value, they count by value."""
    thoughts = meant.thoughts
    if door == "chat" and thoughts:
        thoughts = (BETWEEN_THOUGHTS.join(thoughts),)
    calls = meant.calls
    if recorded.protocol == "anthropic":
        calls = tuple(call._replace(arguments=meaning.parsed(call.arguments)) for call in calls)
    return replace(meant, thoughts=thoughts, calls=calls)


def final(door: str, recorded: Recorded, stream: bytes) -> Json:
    """The whole answer that a stream of the gateway adds up to, once its form was checked.

    A relayed vendor speaks for itself: such a stream is as well-formed as the recording.
    """
    if door == "chat":
        chunks = chat_grammar.read(stream)
        chat_grammar.check(chunks)
        if recorded.protocol != "chat":
            chat_grammar.check_ours(chunks, with_usage=True)
        return meaning.chat_whole(stream)
    events = grammar.read(stream)
    assert misspelled(events) == vendors_own(recorded)
    last: Json = events[-1]["response"]
    return last


def vendors_own(recorded: Recorded) -> str | None:
    """Return the errors that a stream may have: in a relayed one, the vendor's, but for its ids of the
    whole, which are replaced."""
    if recorded.protocol != "responses":
        return None
    own = {"id": "own-id", "model": ALIAS}
    events = events_in(recorded.raw)
    return misspelled(
        [e | {"response": e["response"] | own} if "response" in e else e for e in events]
    )


def misspelled(events: list[Json]) -> str | None:
    """Return what in a stream breaks the grammar, if anything does."""
    try:
        grammar.check(events)
    except (AssertionError, KeyError) as error:
        return str(error).partition("\n")[0]
    return None


@each_door
@each_stream
def test_a_streamed_answer_means_what_was_recorded(door: str, recorded: Recorded):
    assert_means_the_same(door, recorded, step=None)


@sample(default=16, ci=40)
@each_door
@each_stream
def test_a_stream_torn_to_pieces_means_what_was_recorded(door: str, recorded: Recorded):
    assert_means_the_same(door, recorded, PIECE)


def assert_means_the_same(door: str, recorded: Recorded, step: int | None) -> None:
    answer = final(door, recorded, relayed(relay(door, recorded), recorded.raw, step))
    said = meaning.MEANING[door](answer)
    assert told(door, recorded, said) == told(door, recorded, recorded.meaning)


@each_door
@each_stream
def test_a_client_that_did_not_ask_for_usage_is_told_the_rest(door: str, recorded: Recorded):
    answer = meaning.WHOLE[door](relayed(relay(door, recorded, usage=False), recorded.raw))
    said, meant = meaning.MEANING[door](answer), recorded.meaning
    if door == "chat" and recorded.protocol != "chat":
        assert said.usage is None
    wanted = replace(meant, usage=said.usage)
    assert told(door, recorded, said) == told(door, recorded, wanted)


@each_door
@each_answer
def test_a_whole_answer_means_what_was_recorded(door: str, recorded: Recorded):
    answer = orjson.loads(relay(door, recorded).body(recorded.raw))
    said = meaning.MEANING[door](answer)
    assert told(door, recorded, said) == told(door, recorded, recorded.meaning)


@cases(
    "recorded",
    lambda: [each for each in answers() if each.values[0].protocol != "responses"],
)
def test_a_translated_answer_is_a_whole_response(recorded: Recorded):
    response = orjson.loads(relay("responses", recorded).body(recorded.raw))
    assert explain(response_validator(), response) == []
    assert response["output_text"] == meaning.of_response(response).text
    core = [item for item in response["output"] if item["type"] in OPEN_RESPONSES_ITEMS]
    specified = open_responses_validator("ResponseResource")
    assert explain(specified, {**response, "output": core}) == []


@each_door
@cases("recorded", failures)
def test_a_recorded_error_is_an_error(door: str, recorded: Recorded):
    with pytest.raises(UpstreamError):
        relay(door, recorded).body(recorded.raw)


@each_door
def test_a_recorded_answer_that_was_spliced_to_another_has_failed(door: str):
    through, parser = relay(door, spliced()), Parser()
    out = through.forward(parser.feed(spliced().raw))
    assert isinstance(through.failure, UpstreamMalformed)
    out += through.failed(through.failure)
    if door == "chat":
        assert b'"code":"upstream_malformed"' in out
        assert b"[DONE]" not in out
        assert b'"finish_reason":"' not in out
    else:
        assert grammar.check_stream(out)["status"] == "failed"


# Recordings that were damaged on their way


def damaged(through: UpstreamReader, frames: list[Frame]) -> tuple[bytes, bool]:
    """Return what the client gets of these frames, and whether it was told of a failure."""
    out = through.forward(frames)
    if through.failure is None:
        try:
            out += through.finish()
        except UpstreamError as error:
            return out + through.failed(error), True
    if through.failure is not None:
        return out + through.failed(through.failure), True
    return out, False


def assert_told(door: str, out: bytes, *, failed: bool) -> None:
    """A failure looks like one to whoever reads bytes, and everything else is well-formed."""
    if door == "responses":
        assert (grammar.check_stream(out)["status"] == "failed") == failed
    elif failed:
        assert b"[DONE]" not in out
        assert b'"finish_reason":"' not in out
        assert out.count(b'{"error":') == 1
    else:
        chat_grammar.check_ours(chat_grammar.read(out), with_usage=True)


@sample(default=12, ci=24)
@each_door
@each_stream
def test_a_damaged_stream_is_a_failure_or_well_formed(door: str, recorded: Recorded):
    """Cut before, without, and twice with a sample of the frames; in the proof, with each of them."""
    frames = Parser().feed(recorded.raw)
    step = max(1, len(frames) // DAMAGED_PLACES)
    for place in range(SEED % step, len(frames), step):
        before, frame, after = frames[:place], frames[place], frames[place + 1 :]
        for told in (before, before + after, [*before, frame, frame, *after]):
            out, failed = damaged(relay(door, recorded, translate=True), told)
            assert_told(door, out, failed=failed)


@sample(default=20, ci=40)
@each_door
@each_stream
def test_a_stream_cut_before_its_end_has_failed(door: str, recorded: Recorded):
    """Its end is where the vendor says why it ended; what comes after it may be lost."""
    frames = Parser().feed(recorded.raw)
    ends = next(n for n, frame in enumerate(frames) if END[recorded.protocol].search(frame.data))
    for place in range(0, ends + 1, max(1, ends // 10)):
        out, failed = damaged(relay(door, recorded, translate=True), frames[:place])
        assert failed
        assert_told(door, out, failed=True)


# The same Response, whichever way it comes


def known(response: Json) -> Json:
    """A Response without what differs from call to call: the ids we coin, by their order, and times."""
    coined = [item["id"] for item in response["output"] if item["id"].startswith(OUR_IDS)]
    text = orjson.dumps({**response, "completed_at": None}).decode()
    for number, item_id in enumerate(coined):
        text = text.replace(item_id, f"item-{number}")
    found: Json = orjson.loads(text)
    for item in found["output"]:
        if "arguments" in item:
            item["arguments"] = meaning.parsed(item["arguments"])
    return found


@sample(default=10, ci=25)
@each_stream
def test_the_final_event_is_what_the_same_answer_is_as_json(recorded: Recorded):
    stream = relayed(relay("responses", recorded, translate=True), recorded.raw, PIECE)
    events = grammar.read(stream)
    for event in events:
        assert explain(event_validators()[event["type"]], event) == []
    whole = relay("responses", recorded, translate=True).body(orjson.dumps(recorded.whole))
    response = grammar.check(events)
    assert known(response) == known(orjson.loads(whole))
    for item in response["output"]:
        if item["type"] == "function_call":  # also of a call without any: clients parse them
            assert isinstance(orjson.loads(item["arguments"]), dict)


@sample(default=10, ci=25)
@each_stream
def test_the_chunks_add_up_to_the_completion_that_the_same_answer_is_as_json(recorded: Recorded):
    stream = relayed(relay("chat", recorded, translate=True), recorded.raw, PIECE)
    chunks = chat_grammar.read(stream)
    chat_grammar.check_ours(chunks, with_usage=True)
    whole = relay("chat", recorded, translate=True).body(orjson.dumps(recorded.whole))
    added_up, at_once = meaning.chat_whole(stream), orjson.loads(whole)
    assert told("chat", recorded, meaning.of_chat(added_up)) == told(
        "chat", recorded, meaning.of_chat(at_once)
    )
    for name in ("id", "model", "created"):
        assert added_up[name] == at_once[name]
    assert added_up.get("usage") == at_once.get("usage")
    messages = [answer["choices"][0]["message"] for answer in (added_up, at_once)]
    assert messages[0].get("annotations") == messages[1].get("annotations")


# Over the socket: a client of the gateway, and the recording as the provider's answer


@pytest.fixture
def client(gateway: LiveGateway) -> Iterator[httpx.Client]:
    customer: Customer = rows.customer("acme")
    for protocol in PROTOCOLS:
        provider = rows.provider(protocol, gateway.sandbox.base_url)
        rows.alias(protocol, (provider, f"recorded-{protocol}"))
    with client_of(gateway, customer) as http:
        yield http


def play(gateway: LiveGateway, recorded: Recorded, step: int) -> None:
    """Let the recording be the provider's answer, in chunks of so many bytes."""
    raw = recorded.raw
    chunks = [raw[start : start + step] for start in range(0, len(raw), step)]
    kind = "text/event-stream" if recorded.streamed else "application/json"
    script = Scripted(chunks=chunks, content_type=kind)
    gateway.call(lambda: gateway.sandbox.script(f"recorded-{recorded.protocol}", script))


def asked(gateway: LiveGateway, client: httpx.Client, door: str, recorded: Recorded, step: int):
    """The body of what a client gets when the recording is the provider's answer."""
    play(gateway, recorded, step)
    wanted = request(door, recorded.protocol, recorded, stream=recorded.streamed)
    if door == "chat" and recorded.streamed:
        wanted["stream_options"] = {"include_usage": True}
    answer = client.post(PATHS[door], json=wanted)
    assert answer.status_code == 200, answer.text
    return answer.content


def survives(
    gateway: LiveGateway, client: httpx.Client, door: str, recorded: Recorded, step: int
) -> None:
    body = asked(gateway, client, door, recorded, step)
    answer = final(door, recorded, body) if recorded.streamed else orjson.loads(body)
    said = meaning.MEANING[door](answer)
    assert told(door, recorded, said) == told(door, recorded, recorded.meaning)


def all_of(protocol: str, ci: int = 30) -> list[Recorded]:
    """Return the recordings of a protocol; a sample of them where this run takes one."""
    found = [each.values[0] for each in (*streams(), *answers())]
    return sampled([each for each in found if each.protocol == protocol], default=12, ci=ci)


@each_door
@cases("protocol", PROTOCOLS)
def test_every_recording_of_a_protocol_survives_the_way_over_the_wire(
    gateway: LiveGateway, client: httpx.Client, door: str, protocol: str
):
    for recorded in all_of(protocol):
        survives(gateway, client, door, recorded, len(recorded.raw))


# What the official SDK cannot follow. Two are relayed as their vendor wrote them: a tool call without an
# index, and an item with another id in every event. And its helper falls over any custom tool in chat.
SDK_REFUSES = {
    ("chat", "responses-openai-src-responses-openai-custom-tool-1-0"): AttributeError,
    ("chat", "chat-mistral-src-mistral-tool-call-0"): TypeError,
    ("responses", "responses-openai-src-responses-github-copilot-id-rotation-1-0"): RuntimeError,
}


def followed(sdk: openai.OpenAI, door: str, recorded: Recorded) -> Json:
    """The whole answer as the official SDK puts it together from a stream."""
    wanted: Any = request(door, recorded.protocol, recorded)
    if door == "chat":
        with sdk.chat.completions.stream(**wanted) as chat:
            return chat.get_final_completion().model_dump(warnings=False)
    with sdk.responses.stream(**wanted) as stream:
        return stream.get_final_response().model_dump(warnings=False)


@pytest.mark.clients
@each_door
def test_the_official_sdk_follows_every_recorded_stream(
    gateway: LiveGateway, client: httpx.Client, door: str
):
    secret = client.headers["authorization"].removeprefix("Bearer ")
    with openai.OpenAI(base_url=gateway.base_url, api_key=secret, max_retries=0) as sdk:
        for each in sampled(streams(), default=10, ci=25):
            (recorded,) = each.values
            play(gateway, recorded, len(recorded.raw))
            if refusal := SDK_REFUSES.get((door, each.id)):
                with pytest.raises(refusal):
                    followed(sdk, door, recorded)
                continue
            said = meaning.MEANING[door](followed(sdk, door, recorded))
            wanted = replace(recorded.meaning, usage=said.usage)
            assert told(door, recorded, said) == told(door, recorded, wanted)


@pytest.mark.long
@each_door
@cases("protocol", PROTOCOLS)
def test_every_recording_of_a_protocol_survives_the_way_over_the_wire_torn_to_pieces(
    gateway: LiveGateway, client: httpx.Client, door: str, protocol: str
):
    for recorded in all_of(protocol, ci=3):
        survives(gateway, client, door, recorded, PIECE)
