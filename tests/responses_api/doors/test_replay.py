"""Finished answers given again: which can be, what is renewed, and the streams they are cut into."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responses_api.doors import replay
from responses_api.doors.registry import DOORS
from responses_api.doors.shapes import ModelCall
from responses_api.stream.upstream_reader import Identity
from tests.plugins.cases import cases
from tests.support import chat_grammar, grammar

Json = dict[str, Any]

RESPONSES, CHAT = DOORS["responses"].replay, DOORS["chat"].replay
assert RESPONSES is not None
assert CHAT is not None
TEXT: Json = {"type": "output_text", "text": "Hi", "annotations": []}
MESSAGE: Json = {"id": "msg_1", "type": "message", "role": "assistant", "content": [TEXT]}
CALL: Json = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_1",
    "name": "f",
    "arguments": "{}",
    "status": "completed",
}
SEALED: Json = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "x"}


def response(*output: Any, **fields: Any) -> Json:
    ended = {"error": None, "incomplete_details": None}
    return {"id": "resp_1", "status": "completed", **ended, "output": list(output), **fields}


def completion(reason: Any = "stop", **message: Any) -> Json:
    said = {"role": "assistant", "content": "Hi", **message}
    return {"id": "c", "choices": [{"index": 0, "message": said, "finish_reason": reason}]}


def call_of(door: str, **body: Any) -> ModelCall:
    return ModelCall(door, "m", True, True, body, 0)


def identity() -> Identity:
    return Identity("new", "m", 7)


@cases(
    "answer",
    [
        response(),
        response(MESSAGE, status="incomplete"),
        response(MESSAGE, status="failed"),
        response(MESSAGE, error={"code": "server_error"}),
        response(MESSAGE, incomplete_details={"reason": "content_filter"}),
        response({**MESSAGE, "status": "incomplete"}),
        response({**MESSAGE, "content": []}),
        response({**MESSAGE, "content": [{**TEXT, "text": ""}]}),
        response({**MESSAGE, "content": "Hi"}),
        response({**MESSAGE, "content": [{**TEXT, "text": 1}]}),
        response({**CALL, "arguments": None}),
        response({**CALL, "call_id": 5}),
        response(SEALED),
        response(MESSAGE, {"type": "web_search_call", "id": "ws_1", "status": "completed"}),
        response(MESSAGE, {"type": "shell_call_of_next_year"}),
        response(MESSAGE, "not an item"),
        response(MESSAGE, MESSAGE),
        response({**MESSAGE, "content": [TEXT, {"type": "refusal"}]}),
        {"status": "completed"},
    ],
)
def test_a_response_that_is_not_whole_is_not_given_again(answer: Json) -> None:
    assert not RESPONSES.is_whole(answer)


@cases(
    "answer",
    [
        completion("length"),
        completion("content_filter"),
        completion(None),
        completion("insufficient_system_resource"),
        completion(content=None),
        completion(content=""),
        completion(content=[{"type": "text", "text": "Hi"}]),
        completion(audio={"id": "audio_1"}),
        completion(tool_calls=[{"id": "c1", "type": "function"}]),
        completion(tool_calls=[{"id": "c1", "function": {"name": "f"}}]),
        {"choices": completion()["choices"] * 2},
        {"choices": []},
        {},
    ],
)
def test_a_completion_that_is_not_whole_is_not_given_again(answer: Json) -> None:
    assert not CHAT.is_whole(answer)


def test_whole_answers_are_given_again() -> None:
    assert RESPONSES.is_whole(response(SEALED, MESSAGE, CALL))
    assert CHAT.is_whole(completion())
    assert CHAT.is_whole(completion("tool_calls", content=None, function_call={"name": "f"}))


def test_ids_are_new_the_same_for_what_names_them_and_kept_where_something_is_sealed() -> None:
    output: Json = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "input": "x"}
    kept = RESPONSES.kept(response(SEALED, MESSAGE, CALL, {**output, "parent_id": "fc_1"}))
    sealed, said, called, other = RESPONSES.renewed(kept, call_of("responses"), identity())[
        "output"
    ]

    assert sealed == SEALED
    assert said["id"].startswith("msg_")
    assert said["id"] != "msg_1"
    assert called["id"].startswith("fc_")
    assert called["call_id"] == other["call_id"] != "call_1"
    assert other["parent_id"] == called["id"]
    assert called["name"] == "f"


def test_nothing_of_the_first_call_is_kept() -> None:
    mine = dict.fromkeys(replay.OF_ONE_CALL, "mine")
    assert "mine" not in str(RESPONSES.kept(response(MESSAGE, **mine)))
    assert "mine" not in str(CHAT.kept({**completion(), **mine}))


_logprob = st.builds(lambda token: {"token": token, "logprob": -0.1}, st.text(max_size=300))


@given(st.lists(_logprob, max_size=8), st.booleans(), st.text(max_size=600))
def test_pieces_make_up_the_text_and_keep_every_probability(
    entries: list[Json], agrees: bool, other: str
) -> None:
    text = "".join(entry["token"] for entry in entries) if agrees else other
    pieces = list(replay.logged_pieces(text, entries))
    assert "".join(piece for piece, _ in pieces) == text
    if text:
        assert [entry for _, logged in pieces for entry in logged] == entries


_text = st.text(max_size=700)
_message = st.builds(
    lambda text, refusal, cites: {
        **MESSAGE,
        "content": [
            {**TEXT, "text": text, "annotations": [{"type": "url_citation"}] * cites},
            {"type": "refusal", "refusal": refusal},
        ],
    },
    _text,
    _text.filter(bool),
    st.integers(0, 2),
)
_reasoning = st.builds(
    lambda text: {**SEALED, "summary": [{"type": "summary_text", "text": text}]}, _text
)
_call = st.builds(lambda text: {**CALL, "arguments": text}, _text)


@given(st.lists(_message | _reasoning | _call, min_size=1, max_size=4))
def test_the_stream_of_any_response_keeps_the_grammar_and_ends_with_that_response(
    output: list[Json],
) -> None:
    named = [{**item, "id": f"{item['id']}{n}"} for n, item in enumerate(output)]
    kept = RESPONSES.kept(response(*named))
    answer = RESPONSES.renewed(kept, call_of("responses"), identity())
    stream = b"".join(RESPONSES.events(answer, call_of("responses"), identity()))
    assert grammar.check(grammar.read(stream)) == answer


@given(_text.filter(bool), _text, st.lists(_text, max_size=3))
@pytest.mark.filterwarnings("error")
def test_the_stream_of_any_completion_keeps_the_grammar_and_says_the_same(
    content: str, thought: str, arguments: list[str]
) -> None:
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": each}}
        for n, each in enumerate(arguments)
    ]
    kept = CHAT.kept(
        completion(reasoning_content=thought, **({"tool_calls": calls} if calls else {}))
    )
    kept["choices"][0]["message"]["content"] = content
    answer = CHAT.renewed(kept, call_of("chat"), identity())
    chunks = chat_grammar.read(b"".join(CHAT.events(answer, call_of("chat"), identity())))
    chat_grammar.check_ours(chunks, with_usage=True)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == content
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == thought
    told = [call for delta in deltas for call in delta.get("tool_calls", [])]
    for number, text in enumerate(arguments):
        pieces = [each["function"]["arguments"] for each in told if each["index"] == number]
        assert "".join(pieces) == text
