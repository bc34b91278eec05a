"""A chat stream has ended, or was cut off: one rule for both doors, for the relay and for the translation
of a dialect. Every case is a full request whose provider's answer is scripted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_project.sandbox.reply import Scripted
from tests.faults.test_upstream_faults import assert_one_failure
from tests.plugins.cases import cases
from tests.support import grammar, rows, wire
from tests.support.live import LiveGateway
from tests.support.outcomes import Outcomes

Json = dict[str, Any]

DONE = b"data: [DONE]\n\n"
TOKENS = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
WAYS = ("chat-relayed", "chat-translated", "responses-translated")


def chunk(content: str | None = None, reason: Any = None, index: int = 0, **beside: Any) -> bytes:
    delta = {} if content is None else {"content": content}
    choice = {"index": index, "delta": delta, "finish_reason": reason}
    return sent([choice], **beside)


def sent(choices: list[Json], **beside: Any) -> bytes:
    whole = {
        "id": "c",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": choices,
        **beside,
    }
    return b"data: " + json.dumps(whole).encode() + b"\n\n"


USAGE = sent([], usage=TOKENS)
# In the words of the rule: each ends in a whole answer, "Hello".
WHOLE: dict[str, list[bytes]] = {
    "a reason and [DONE]": [chunk("Hel"), chunk("lo"), chunk(reason="stop"), DONE],
    "a reason and the connection's end": [chunk("Hel"), chunk("lo", "stop")],
    "a reason, usage, no [DONE]": [chunk("Hello"), chunk(reason="stop"), USAGE],
    "an empty reason and [DONE]": [chunk("Hel"), chunk("lo"), chunk(reason=""), DONE],
    "an empty reason with the last text": [chunk("Hel"), chunk("lo", ""), DONE],
    "an empty reason, usage and [DONE]": [chunk("Hello"), chunk(reason=""), USAGE, DONE],
    "no reason, usage and [DONE]": [chunk("Hel"), chunk("lo"), USAGE, DONE],
    "usage beside the last text": [chunk("Hel", usage=None), chunk("lo", usage=TOKENS), DONE],
    "empty reasons, then a true one": [
        chunk("Hel", ""),
        chunk("lo", ""),
        chunk(reason="stop"),
        DONE,
    ],
    "empty reasons, but usage only at the end": [chunk("Hel", ""), chunk("lo", ""), USAGE, DONE],
    "[DONE] with blanks": [chunk("Hello"), chunk(reason="stop"), b"data: [DONE]  \n\n"],
}
CUT: dict[str, list[bytes]] = {
    "no reason and [DONE]": [chunk("Hel"), chunk("lo"), DONE],
    "no reason and the connection's end": [chunk("Hel"), chunk("lo")],
    "an empty reason and the connection's end": [chunk("Hel"), chunk("lo"), chunk(reason="")],
    "usage and the connection's end": [chunk("Hel"), chunk("lo"), USAGE],
    "an empty reason in each chunk": [chunk("Hel", ""), chunk("lo", ""), DONE],
    "usage in each chunk": [chunk("Hel", usage=TOKENS), chunk("lo", usage=TOKENS), DONE],
    "an empty reason in the only chunk": [chunk("Hello", ""), DONE],
    "usage in the only chunk": [chunk("Hello", usage=TOKENS), DONE],
    "an empty reason, and then more": [chunk("Hel"), chunk("l", ""), chunk("o"), DONE],
    "usage, and then more": [chunk("Hel"), chunk("l", usage=TOKENS), chunk("o"), DONE],
    "a second choice without a reason": [
        chunk("Hello"), chunk("Hi", index=1), chunk(reason=""), DONE,
    ],
}  # fmt: skip


@pytest.fixture
def ask(gateway: LiveGateway):
    """Ask by one of the ways what is answered with these bytes."""
    url, customer = gateway.sandbox.base_url, rows.customer("acme")
    rows.alias("relayed", (rows.provider("chat", url, "plain"), "scripted"))
    dialect = rows.provider("chat", url, "dialect", quirks={"translate": True})
    rows.alias("translated", (dialect, "scripted"))

    def asked(way: str, chunks: list[bytes], *, stream: bool = True) -> wire.Answer:
        kind = "text/event-stream" if stream else "application/json"
        gateway.call(
            lambda: gateway.sandbox.script("scripted", Scripted(chunks=chunks, content_type=kind))
        )
        door, _, model = way.partition("-")
        return wire.ask(gateway.root_url, door, customer, model, stream=stream)

    return asked


@cases("way", WAYS)
def test_a_stream_that_ended_is_whole(ask, way: str, outcomes: Outcomes) -> None:
    for case, chunks in WHOLE.items():
        answer = ask(way, chunks)
        assert (answer.status, answer.is_whole) == (200, True), case
        assert "".join(wire.deltas(answer)) == "Hello", case
        assert answer.data[-1].strip() == b"[DONE]", case
        if way.startswith("responses"):
            assert grammar.check_stream(answer.body)["status"] == "completed", case
        reported = USAGE in chunks or b"13" in b"".join(chunks)
        assert outcomes()[-1]["usage_source"] == ("provider" if reported else "counted"), case


@cases("way", WAYS)
def test_a_stream_that_was_cut_off_has_failed(ask, way: str, outcomes: Outcomes) -> None:
    for case, chunks in CUT.items():
        answer = ask(way, chunks)
        if way == "responses-translated":
            assert grammar.check_stream(answer.body)["status"] == "failed", case
        else:
            assert_one_failure("chat", answer, "upstream_cut")
        assert (outcomes()[-1]["status"], outcomes()[-1]["error"]) == ("failed", "upstream_cut"), (
            case
        )


@cases("way", WAYS)
def test_nothing_but_done_is_an_error_that_another_answer_can_replace(ask, way: str) -> None:
    for chunks in ([DONE], [USAGE, DONE], [sent([]), USAGE, DONE]):
        answer = ask(way, chunks)
        assert (answer.status, answer.error["code"]) == (502, "upstream_cut"), chunks


@cases("way", WAYS)
def test_a_whole_json_body_is_a_whole_answer_whatever_its_reason(ask, way: str) -> None:
    message = {"role": "assistant", "content": "Hello"}
    for fields in ({}, {"finish_reason": None}, {"finish_reason": ""}, {"finish_reason": "stop"}):
        choices = [{"index": 0, "message": message, **fields}]
        whole = json.dumps(
            {"id": "c", "object": "chat.completion", "model": "m", "choices": choices}
        )
        answer = ask(way, [whole.encode()], stream=False)
        assert (answer.status, answer.is_whole) == (200, True), fields
        found = answer.json()
        if way.startswith("responses"):
            assert (found["status"], found["output_text"]) == ("completed", "Hello"), fields
        else:
            assert found["choices"][0]["message"]["content"] == "Hello", fields


@cases("way", WAYS)
def test_a_failure_told_in_the_place_of_a_reason_is_a_failure(ask, way: str) -> None:
    for reason, code in (
        ("error", "upstream_error"),
        ("insufficient_system_resource", "upstream_overloaded"),
    ):
        first = ask(way, [chunk(reason=reason), DONE])
        assert first.error["code"] == code, reason
        later = ask(way, [chunk("Hel"), chunk(reason=reason), DONE])
        if way == "responses-translated":
            assert grammar.check_stream(later.body)["status"] == "failed", reason
        else:
            assert_one_failure("chat", later, code)
        choices = [{"index": 0, "message": {"content": "Hel"}, "finish_reason": reason}]
        assert (
            ask(way, [json.dumps({"choices": choices}).encode()], stream=False).error["code"]
            == code
        )
