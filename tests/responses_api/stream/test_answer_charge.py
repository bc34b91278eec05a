"""Relayed answers report their exact charge, without the upstream's own figures."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.lib.errors import UpstreamCut
from gateway_project.lib.sse import Frame
from responses_api.doors.chat.relay import ChatRelay
from responses_api.doors.responses.relay import ResponsesRelay
from responses_api.doors.shapes import ModelCall
from responses_api.stream.answer_charge import AnswerCharge, dollars
from responses_api.stream.upstream_reader import Identity
from tenants.token_classes import Usage
from tests.support.requests import target

Json = dict[str, Any]

IDENTITY = Identity("own-id", "own-model", 1)
EARLIER = Usage(input_fresh=100, cache_read=7, output_visible=10, output_reasoning=3)
CHAT = {
    "prompt_tokens": 5,
    "completion_tokens": 2,
    "total_tokens": 7,
    "prompt_tokens_details": {"x": 1},
}
OPENROUTERS = {"cost": 0.95, "cost_details": {"upstream_inference_cost": 19}, "is_byok": True}
OF_BOTH = Usage(input_fresh=105, cache_read=7, output_visible=12, output_reasoning=3)


@given(st.integers(min_value=0, max_value=10**18))
def test_dollars_are_the_nano_dollars_to_the_last_digit(nano: int) -> None:
    written = dollars(nano).decode()
    assert json.loads(written, parse_float=Decimal) == Decimal(nano) / 10**9
    assert orjson.loads(written) == json.loads(written)


def relay_of(kind: type[ChatRelay | ResponsesRelay], *, tells: bool) -> Any:
    body = {"model": "m", "store": True}
    call = ModelCall("chat", "m", True, True, body, 10, tells_cost=tells or None)
    return kind(call, target("chat"), IDENTITY)


def chunk(delta: str, usage: Json | None = None, reason: str | None = None) -> Json:
    choice = {"index": 0, "delta": {"content": delta}, "finish_reason": reason}
    return {"id": "up", "model": "up", "choices": [choice], "usage": usage}


def sent(out: bytes) -> list[Json]:
    lines = [line[6:] for line in out.splitlines() if line.startswith(b"data: {")]
    return [json.loads(line, parse_float=Decimal) for line in lines]


def fed(relay: Any, *events: Json) -> bytes:
    out: bytes = relay.forward([Frame(b"", orjson.dumps(event)) for event in events])
    return out


def test_usage_in_every_chunk_is_passed_on_and_told_anew_at_the_end() -> None:
    relay = relay_of(ChatRelay, tells=True)
    first = fed(relay, chunk("a", {**CHAT, "completion_tokens": 1}))
    assert first == b""  # held back until it is known not to be the last
    out = fed(relay, chunk("b", {**CHAT, **OPENROUTERS}, "stop"))
    out += relay.forward([Frame(b"", b"[DONE]")])
    charge = AnswerCharge(Usage(), False, True, 1_200_000_001)
    out = out.removesuffix(relay.closing) + relay.tell_usage(charge)
    chunks = sent(out)
    assert [c["choices"][0]["delta"]["content"] for c in chunks] == ["a", "b"]
    assert "cost" not in chunks[0]["usage"]
    assert chunks[1]["usage"] == {**CHAT, "cost": Decimal("1.200000001")}
    assert relay.answer()["usage"].keys() == {*CHAT, "cost"}
    assert out.endswith(b"data: [DONE]\n\n")


def test_a_chunk_that_was_held_back_goes_out_before_an_error() -> None:
    relay = relay_of(ChatRelay, tells=True)
    fed(relay, chunk("a"))
    assert fed(relay, chunk("b", CHAT)) == b""
    first, error = sent(relay.failed(UpstreamCut("It broke off.")))
    assert (first["choices"][0]["delta"]["content"], first["usage"]) == ("b", CHAT)
    assert error["error"]["code"] == "upstream_cut"


def test_a_relayed_answer_sums_what_an_earlier_call_used() -> None:
    charge = AnswerCharge(OF_BOTH, True, False, 5)
    relay = relay_of(ChatRelay, tells=False)
    relay.meter.add(EARLIER)
    out = fed(relay, chunk("a"), chunk("", CHAT, "stop")) + relay.forward([Frame(b"", b"[DONE]")])
    last = sent(out.removesuffix(relay.closing) + relay.tell_usage(charge))[-1]
    usage = last["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (112, 15)
    assert usage["prompt_tokens_details"] == {
        "x": 1, "cached_tokens": 7, "cache_write_tokens": 0, "audio_tokens": 0,
    }  # fmt: skip
    assert "cost" not in usage

    whole: Json = {"status": "completed", "output": [], "usage": {"input_tokens": 5, "odd": 1}}
    relay = relay_of(ResponsesRelay, tells=False)
    relay.body(orjson.dumps(whole))
    told = json.loads(relay.tell_usage(charge))["usage"]
    assert (told["input_tokens"], told["total_tokens"], told["odd"]) == (112, 127, 1)


def test_what_an_upstream_charges_the_operator_is_no_charge() -> None:
    """An upstream may be a gateway itself, whose `cost` stands where ours would."""
    report = AnswerCharge(Usage(), False, True, None).report({"input_tokens": 1, **OPENROUTERS})
    assert report == {"input_tokens": 1}
