"""Chat Completions as deltas: every recorded answer, and what vendors do to the protocol."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from gateway_project.lib.errors import (
    UpstreamError,
    UpstreamMalformed,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRejected,
)
from gateway_project.lib.sse import Frame
from routing.protocols.chat.deltas import ChatDeltas
from routing.protocols.chat.pattern import TextPattern
from routing.protocols.shared import envelope
from routing.protocols.shared.deltas import Reasoning, Refusal, Stop, Text, ToolCall
from tenants.token_classes import Usage
from tests.plugins.cases import cases
from tests.support.client import events_in
from tests.support.reference import path_to, recordings
from tests.support.targets import target
from tests.support.told import Told, fed, frames, read, told

Json = dict[str, Any]

NOT_A_COMPLETION = {
    "mistral-src-mistral-transcription": UpstreamMalformed,
    "openai-src-chat-reasoning-model-legacy-parameter-error": UpstreamRejected,
}


def adapter() -> ChatDeltas:
    return ChatDeltas(target("chat"))


# Recordings, read independently


def recorded(messages: list[Json], reasons: list[Any], usages: list[Json]) -> tuple[Told, Any]:
    """Return what the messages or deltas of a recording say, and its usage."""
    calls: dict[int, list[str]] = {}
    for message in messages:
        for number, call in enumerate(message.get("tool_calls") or []):
            known = calls.setdefault(call.get("index", number), ["", "", ""])
            known[0] = known[0] or call.get("id") or ""
            known[1] = known[1] or call["function"].get("name") or ""
            known[2] += call["function"].get("arguments") or ""
    thought = "".join(m.get("reasoning_content") or m.get("reasoning") or "" for m in messages)
    reason = [reason for reason in reasons if reason][-1]
    expected = Told(
        text="".join(message.get("content") or "" for message in messages),
        refusal="".join(message.get("refusal") or "" for message in messages),
        thoughts=[thought] if thought else [],
        calls=[(call[0], call[1], call[2]) for call in calls.values()],
        stop="tool_calls" if calls and reason == "stop" else reason,
    )
    return expected, recorded_usage(usages[-1]) if usages else None


def recorded_usage(usage: Json) -> Usage:
    """A usage object in disjoint classes, worked out the long way."""
    inside = usage.get("prompt_tokens_details") or {}
    outside = usage.get("completion_tokens_details") or {}
    cached = inside.get("cached_tokens") or usage.get("cached_tokens") or 0
    cached = cached or usage.get("prompt_cache_hit_tokens") or 0
    written, reasoned = inside.get("cache_write_tokens") or 0, outside.get("reasoning_tokens") or 0
    output = usage["completion_tokens"]
    if reasoned and usage["total_tokens"] == usage["prompt_tokens"] + output + reasoned:
        output += reasoned
    return Usage(
        input_fresh=usage["prompt_tokens"] - cached - written,
        cache_read=cached,
        cache_write=written,
        output_visible=max(0, output - reasoned),
        output_reasoning=reasoned,
        anomaly=output < reasoned or usage["total_tokens"] != usage["prompt_tokens"] + output,
    )


def recorded_stream(stream: bytes) -> tuple[Told, Any]:
    chunks = events_in(stream)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return recorded(
        [choice["delta"] for choice in choices],
        [choice.get("finish_reason") for choice in choices],
        [chunk["usage"] for chunk in chunks if chunk.get("usage")],
    )


def streams() -> list[Any]:
    """One stream of chunks is filed among the Responses."""
    strays = [
        parameter
        for parameter in recordings("responses", ".sse")
        if parameter.values[0] and b"chat.completion.chunk" in parameter.values[0].read_bytes()
    ]
    return recordings("chat", ".sse") + strays


def answers() -> list[Any]:
    return [each for each in recordings("chat", ".json") if each.id not in NOT_A_COMPLETION]


def without_annotations(found: Told) -> Told:
    found.annotations = []
    return found


@cases("step", [None, 3])
@cases("path", streams)
def test_a_recorded_stream_says_what_it_says(path, step):
    stream = path.read_bytes()
    expected, usage = recorded_stream(stream)
    chat = adapter()
    assert told(fed(chat, stream, step)) == expected
    assert chat.meter.usage == usage
    assert chat.dropped == 0


@cases("path", answers)
def test_a_recorded_answer_says_what_it_says(path):
    raw = path.read_bytes()
    answer = orjson.loads(raw)
    (choice,) = answer["choices"]
    usages = [answer["usage"]] if answer.get("usage") else []
    expected, usage = recorded([choice["message"]], [choice["finish_reason"]], usages)
    chat = adapter()
    assert without_annotations(told(chat.body(raw))) == expected
    assert chat.meter.usage == usage
    assert chat.done


@cases("path", streams)
def test_a_recorded_stream_cut_before_its_end_has_no_stop(path):
    stream = path.read_bytes()
    cut = stream[: stream.index(b'"finish_reason":"')]
    assert told(fed(adapter(), cut)).stop == ""


@cases(
    "path", lambda: [each for each in recordings("chat", ".json") if each.id in NOT_A_COMPLETION]
)
def test_a_recorded_answer_that_is_no_completion_is_a_failure(path):
    with pytest.raises(NOT_A_COMPLETION[path.stem]):
        adapter().body(path.read_bytes())


def test_the_sources_of_a_recorded_answer_are_its_annotations():
    raw = path_to("recordings/chat/perplexity-src-perplexity-citations.json").read_bytes()
    found = told(adapter().body(raw))
    places = {(each["start_index"], each["end_index"]) for each in found.annotations}
    assert [each["url"] for each in found.annotations] == orjson.loads(raw)["citations"]
    assert places == {(0, len(found.text))}


# Hand-written streams


def chunk(delta: Json | None = None, reason: str | None = None, **beside: Any) -> Json:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return {"id": "c", "object": "chat.completion.chunk", "choices": choices, **beside}


def calls(*entries: Json) -> Json:
    return chunk({"tool_calls": list(entries)})


def called(name: str | None, arguments: Any = "", **fields: Any) -> Json:
    return {**fields, "function": {"name": name, "arguments": arguments}}


END = chunk({}, "stop")
TOKENS = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
DONE = b"[DONE]"


def read_all(*events: Any) -> Told:
    return read(adapter(), *events)


def ends(*events: Any) -> list[Any]:
    """Tell for each event, and for the end of the stream, whether Stop came with it."""
    chat = adapter()
    found = [chat.deltas(frame) for frame in frames(*events)] + [chat.finish()]
    return [any(isinstance(delta, Stop) for delta in deltas) for deltas in found]


def test_stop_waits_for_the_usage_that_follows_the_reason():
    assert ends(END, chunk(usage=TOKENS), DONE) == [False, True, False, False]


def test_stop_waits_for_usage_beside_an_empty_delta_too():
    assert ends(END, chunk({}, usage=TOKENS), DONE) == [False, True, False, False]


def test_stop_comes_with_done_if_there_is_no_usage():
    assert ends(END, DONE) == [False, True, False]


def test_stop_comes_at_the_end_if_done_is_missing():
    assert ends(END) == [False, True]


def test_usage_beside_the_reason_does_not_end_the_wait():
    assert ends(chunk({}, "stop", usage=TOKENS), chunk(usage=TOKENS), DONE) == [
        False,
        True,
        False,
        False,
    ]


def test_a_stream_without_a_reason_has_no_stop_even_with_done():
    chat = adapter()
    assert read(chat, chunk({"content": "a"}), DONE).stop == ""
    assert chat.done


def test_usage_is_read_wherever_vendors_put_it():
    expected = Usage(input_fresh=9, output_visible=4)
    in_choice = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": TOKENS}]}
    for event in (
        chunk(usage=TOKENS),
        chunk({"content": "a"}, usage=TOKENS),
        chunk({}, x_groq={"usage": TOKENS}),
        in_choice,
    ):
        chat = adapter()
        read(chat, event)
        assert chat.meter.usage == expected


def test_usage_after_stop_still_counts():
    chat = adapter()
    more = TOKENS | {"completion_tokens": 5, "total_tokens": 14}
    read(chat, END, chunk(usage=TOKENS), chunk(usage=more), DONE)
    assert chat.meter.usage == Usage(input_fresh=9, output_visible=5)


def test_what_follows_stop_is_ignored():
    late = chunk({"content": "more"}, "length")
    assert read_all(END, chunk(usage=TOKENS), late, DONE) == Told(stop="stop")


def test_what_follows_done_is_ignored():
    assert read_all(END, DONE, chunk({"content": "more"}), END, DONE) == Told(stop="stop")


def test_a_frame_that_is_no_json_is_counted_and_skipped():
    chat = adapter()
    found = read(chat, b'{"choices": [', chunk({"content": "a"}), b"[1]", b"null", END, DONE)
    assert (found.text, found.stop, chat.dropped) == ("a", "stop", 3)


@cases(
    "event",
    [
        {"choices": None},
        {"choices": [None, 3]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"content": 3, "tool_calls": {}, "refusal": [], "reasoning": {}}}]},
        {"choices": [{"delta": {"tool_calls": [None, {"function": None}]}}]},
        {"choices": [{"delta": {"reasoning_details": ["a"], "annotations": [7]}, "logprobs": 1}]},
        {"usage": [], "x_groq": "a", "citations": "a"},
    ],
)
def test_fields_of_a_wrong_type_are_nothing(event):
    assert read_all(event, END, DONE) == Told(stop="stop")


def test_only_the_first_choice_is_read():
    other = {"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": "length"}]}
    assert read_all(chunk({"content": "a"}), other, END, DONE) == Told(text="a", stop="stop")


@cases(
    ("reason", "expected"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("tool_calls", "stop"),
        ("something_new", "stop"),
    ],
)
def test_reasons_without_calls(reason, expected):
    assert read_all(chunk({}, reason), DONE).stop == expected


@cases(
    ("reason", "expected"),
    [
        ("stop", "tool_calls"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("length", "length"),
    ],
)
def test_reasons_after_a_call(reason, expected):
    call = calls(called("f", "{}", index=0, id="a"))
    assert read_all(call, chunk({}, reason), DONE).stop == expected


# Tool calls


def test_parallel_calls_keep_apart_however_their_pieces_mix():
    found = read_all(
        calls(called("f", "", index=0, id="a"), called("g", "", index=1, id="b")),
        calls(called(None, '{"y":', index=1), called(None, '{"x":', index=0)),
        calls(called(None, "1}", index=0)),
        calls(called(None, "2}", index=1)),
        END,
    )
    assert found.calls == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


def test_empty_ids_and_names_of_later_pieces_are_ignored():
    found = read_all(
        calls(called("f", "{", index=0, id="a")),
        calls(called("", "", index=0, id="")),
        calls({"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": "}"}}),
        END,
    )
    assert found.calls == [("a", "f", "{}")]


def test_a_repeated_id_and_name_begin_nothing():
    found = read_all(
        calls(called("f", '{"a"', index=0, id="a")), calls(called("f", ":1}", index=0, id="a")), END
    )
    assert found.calls == [("a", "f", '{"a":1}')]


def test_a_name_repeated_without_an_id_begins_nothing():
    found = read_all(
        calls(called("f", "", index=0, id="a")),
        calls(called("f", '{"a"', index=0)),
        calls(called("f", ":1}", index=0)),
        calls(called("f", "", index=0)),
        END,
    )
    assert found.calls == [("a", "f", '{"a":1}')]


def test_a_new_id_with_every_piece_is_still_one_call():
    found = read_all(
        calls(called("f", "", index=0, id="a")),
        calls(called(None, "{", index=0, id="b")),
        calls(called(None, "}", index=0, id="c")),
        END,
    )
    assert found.calls == [("a", "f", "{}")]


def test_whole_calls_without_index_are_told_apart_by_id():
    found = read_all(
        calls(called("f", '{"a":1}', id="a")),
        calls(called("f", '{"a":2}', id="b"), called("g", "{}", id="c")),
        END,
    )
    assert found.calls == [("a", "f", '{"a":1}'), ("b", "f", '{"a":2}'), ("c", "g", "{}")]


def test_pieces_without_index_continue_the_last_call_or_that_of_their_id():
    found = read_all(
        calls(called("f", "", id="a")),
        calls(called("", '{"a"', id="")),
        calls(called("g", "{", id="b")),
        calls(called(None, ":1}", id="a")),
        calls(called(None, "}", id="b")),
        END,
    )
    assert found.calls == [("a", "f", '{"a":1}'), ("b", "g", "{}")]


def test_whole_calls_that_share_an_index_are_told_apart_by_id():
    found = read_all(
        calls(called("f", '{"a":1}', index=0, id="a")),
        calls(called("f", '{"a":2}', index=0, id="b")),
        END,
    )
    assert found.calls == [("a", "f", '{"a":1}'), ("b", "f", '{"a":2}')]


def test_pieces_that_share_an_index_go_to_the_call_of_their_id():
    found = read_all(
        calls(called("f", "", index=0, id="a")),
        calls(called("g", "", index=0, id="b")),
        calls(called(None, '{"x":1}', index=0, id="a")),
        calls(called(None, '{"y":2}', index=0, id="b")),
        END,
    )
    assert found.calls == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


@cases("place", [{}, {"index": 0}])
def test_whole_calls_without_ids_are_told_apart_by_being_whole(place):
    found = read_all(
        calls(called("f", '{"a":1}', **place)), calls(called("f", '{"a":2}', **place)), END
    )
    assert found.calls == [("", "f", '{"a":1}'), ("", "f", '{"a":2}')]


def test_the_id_may_come_after_the_name():
    found = read_all(
        calls(called("f", "", index=0)), calls(called(None, "{}", index=0, id="a")), END
    )
    assert found.calls == [("a", "f", "{}")]


def test_an_id_that_comes_after_arguments_begins_nothing():
    found = read_all(
        calls(called("f", "{", index=0)), calls(called("f", "}", index=0, id="a")), END
    )
    assert found.calls == [("", "f", "{}")]


def test_the_name_may_come_after_the_id():
    found = read_all(
        calls(called(None, "{", index=0, id="a")), calls(called("f", "}", index=0)), END
    )
    assert found.calls == [("a", "f", "{}")]


def test_arguments_may_be_an_object():
    found = read_all(calls(called("f", {"a": [1]}, index=0, id="a")), END)
    assert found.calls == [("a", "f", '{"a":[1]}')]


@cases("fields", [{"id": "a"}, {}])
def test_a_call_without_arguments_has_an_empty_object(fields):
    found = read_all(calls(called("f", "", index=0, **fields)), END)
    assert found.calls == [(fields.get("id", ""), "f", "{}")]


def test_a_call_cut_before_its_arguments_has_none():
    found = read_all(calls(called("f", "", index=0, id="a")), chunk({}, "length"))
    assert found.calls == [("a", "f", "")]


def test_a_call_that_is_never_named_is_a_failure():
    with pytest.raises(UpstreamMalformed):
        read_all(calls(called(None, "{}", index=0, id="a")), END, DONE)


def test_an_empty_entry_is_no_call():
    assert read_all(calls({"index": 0}), END, DONE) == Told(stop="stop")


def test_the_form_before_tools_is_a_call():
    found = read_all(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": '{"a":'}}),
        chunk({"function_call": {"arguments": "1}"}}),
        chunk({}, "function_call"),
    )
    assert (found.calls, found.stop) == ([("", "f", '{"a":1}')], "tool_calls")


def test_the_input_of_a_custom_tool_is_plain_text():
    begun = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "run", "input": "print"}}
    found = read_all(calls(begun), calls({"index": 0, "custom": {"input": "(1)"}}), END)
    assert found.calls == [("a", "run", "print(1)")]


def test_a_custom_tool_without_input_has_empty_text():
    found = read_all(calls({"index": 0, "id": "a", "custom": {"name": "run", "input": ""}}), END)
    assert found.calls == [("a", "run", "")]


# Reasoning


def test_an_empty_list_of_calls_does_not_end_a_thought():
    pieces = [chunk({"reasoning_content": word, "tool_calls": []}) for word in ("a", "b")]
    assert read_all(*pieces, END).thoughts == ["ab"]


def test_empty_text_does_not_end_a_thought():
    pieces = [chunk({"reasoning": word, "content": ""}) for word in ("a", "b")]
    assert read_all(*pieces, END).thoughts == ["ab"]


def test_a_thought_after_an_answer_is_another_thought():
    found = read_all(
        chunk({"reasoning_content": "a"}),
        chunk({"content": "x"}),
        chunk({"reasoning_content": "b"}),
        END,
    )
    assert (found.thoughts, found.text) == (["a", "b"], "x")


def test_a_thought_told_in_three_fields_is_told_once():
    pieces = [
        chunk(
            {
                "reasoning": word,
                "reasoning_content": word,
                "reasoning_details": [{"type": "reasoning.text", "text": word, "index": 0}],
            }
        )
        for word in ("a", "b")
    ]
    found = read_all(*pieces, END)
    assert (found.thoughts, found.summaries, found.sealed) == (["ab"], [], [])


def test_a_thought_repeated_in_another_field_at_its_end_is_told_once():
    detail = {"type": "reasoning.text", "text": "ab", "signature": "sig", "index": 0}
    found = read_all(
        chunk({"reasoning": "a"}),
        chunk({"reasoning": "b"}),
        chunk({"reasoning": None, "reasoning_details": [detail]}),
        END,
    )
    assert (found.thoughts, len(found.sealed)) == (["ab"], 1)


def test_details_go_back_whole_with_their_signature():
    details = [
        {"type": "reasoning.text", "text": "", "signature": "", "format": "f", "index": 0},
        {"type": "reasoning.text", "text": "We ", "format": "f", "index": 0},
        {"type": "reasoning.text", "text": "think.", "format": "f", "index": 0},
        {"type": "reasoning.text", "signature": "sig", "format": "f", "index": 0},
    ]
    found = read_all(
        *(chunk({"reasoning": each.get("text"), "reasoning_details": [each]}) for each in details),
        chunk({"content": "x"}),
        END,
    )
    assert found.thoughts == ["We think."]
    (sealed,) = found.sealed
    assert envelope.unpack(sealed) == envelope.Sealed(
        "chat",
        "vendor",
        {
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "We think.",
                    "signature": "sig",
                    "format": "f",
                    "index": 0,
                }
            ]
        },
    )


def test_summaries_and_encrypted_details_of_one_thought_stay_in_order():
    details = [
        {"type": "reasoning.summary", "summary": "S", "index": 0, "id": "rs_1"},
        {"type": "reasoning.encrypted", "data": "x", "index": 1, "id": "rs_1"},
        {"type": "reasoning.encrypted", "data": "y", "index": 1, "id": "rs_2"},
    ]
    message = {"reasoning": "S", "reasoning_details": details, "content": "hi"}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    found = told(adapter().body(orjson.dumps(answer)))
    assert (found.summaries, found.thoughts, found.text) == (["S"], [], "hi")
    (sealed,) = found.sealed
    opened = envelope.unpack(sealed)
    assert opened is not None
    assert opened.payload == {"reasoning_details": details}


def test_the_seal_comes_before_what_follows_the_thought():
    chat = adapter()
    detail = {"type": "reasoning.encrypted", "data": "x"}
    (first,) = frames(
        chunk({"reasoning_details": [detail], "tool_calls": [called("f", "{}", index=0, id="a")]})
    )
    sealed, call = chat.deltas(first)
    assert isinstance(sealed, Reasoning)
    assert sealed.sealed is not None
    assert call == ToolCall(("call", 0), "{}", "a", "f")


def test_content_of_parts_holds_mistrals_thoughts():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    found = read_all(
        chunk({"content": ""}),
        chunk({"content": [thinking]}),
        chunk({"content": [{"type": "text", "text": "Hi"}]}),
        chunk({"content": "!"}),
        END,
    )
    assert (found.thoughts, found.text) == (["hm"], "Hi!")


def test_a_think_tag_is_text():
    assert read_all(chunk({"content": "<think>a</think>b"}), END).text == "<think>a</think>b"


# Refusals, annotations, logprobs, facts


def test_refusals_survive():
    chat = adapter()
    found = [*chat.deltas(frames(chunk({"content": None, "refusal": "I "}))[0])]
    assert found == [Refusal("refusal", "I ")]
    assert read_all(chunk({"refusal": "I "}), chunk({"refusal": "won't"}), END).refusal == "I won't"


def test_annotations_become_flat():
    cited = {"url": "https://a", "title": "A", "start_index": 1, "end_index": 3}
    annotation = {"type": "url_citation", "url_citation": cited}
    found = read_all(chunk({"content": "text", "annotations": [annotation]}), END)
    assert found.annotations == [{"type": "url_citation", **cited}]


def test_sources_repeated_in_every_chunk_are_cited_once():
    beside: Json = {
        "citations": ["https://a", "https://b"],
        "search_results": [{"url": "https://a", "title": "A"}],
    }
    found = read_all(chunk({"content": "ab"}, **beside), chunk({"content": "c"}, **beside), END)
    assert found.annotations == [
        {
            "type": "url_citation",
            "url": "https://a",
            "title": "A",
            "start_index": 0,
            "end_index": 3,
        },
        {
            "type": "url_citation",
            "url": "https://b",
            "title": "https://b",
            "start_index": 0,
            "end_index": 3,
        },
    ]


def test_logprobs_take_the_shape_of_a_response():
    token = {"token": "é", "logprob": -0.5, "bytes": None, "top_logprobs": None}
    other = {"token": "a", "logprob": -1, "bytes": [97]}
    event = chunk({"content": "éa"})
    event["choices"][0]["logprobs"] = {"content": [token, other | {"top_logprobs": [other]}]}
    assert read_all(event, END).logprobs == [
        {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": []},
        {"token": "a", "logprob": -1, "bytes": [97], "top_logprobs": [other]},
    ]


def test_facts_are_kept():
    chat = adapter()
    read(chat, chunk({}, service_tier="default", system_fingerprint="fp"), chunk(service_tier=None))
    assert chat.facts == {"id": "c", "service_tier": "default", "system_fingerprint": "fp"}


def test_pieces_are_passed_on_as_they_come():
    chat = adapter()
    (frame,) = frames(chunk({"role": "assistant", "content": "a"}))
    assert chat.deltas(frame) == [Text("content", "a")]


# Failures


@cases(
    ("event", "expected"),
    [
        ({"error": {"message": "m", "code": 429}}, UpstreamRateLimited),
        ({"error": {"message": "m", "code": "429"}}, UpstreamRateLimited),
        ({"error": "gone"}, UpstreamError),
        ({"object": "error", "message": "m", "code": 400}, UpstreamRejected),
        (
            # https://openrouter.ai/docs/api-reference/streaming
            {
                "error": {"code": 529, "message": "Overloaded"},
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            },
            UpstreamOverloaded,
        ),
        (
            {"choices": [{"delta": {}, "finish_reason": "error", "error": {"code": 503}}]},
            UpstreamOverloaded,
        ),
        (chunk({}, "error"), UpstreamError),
        (chunk({}, "insufficient_system_resource"), UpstreamOverloaded),
        (chunk({}, "abort"), UpstreamError),
    ],
)
def test_an_error_in_the_stream_is_raised(event, expected):
    chat = adapter()
    with pytest.raises(UpstreamError) as raised:
        read(chat, chunk({"content": "a"}), event)
    assert type(raised.value) is expected


def test_an_error_event_without_an_envelope_is_raised():
    with pytest.raises(UpstreamRateLimited):
        adapter().deltas(Frame(b"error", b'{"message": "slow down", "code": 429}'))


@cases(
    ("raw", "expected"),
    [
        (b"<html>", UpstreamMalformed),
        (b"[]", UpstreamMalformed),
        (b"{}", UpstreamMalformed),
        (b'{"choices": []}', UpstreamMalformed),
        (b'{"choices": [{"finish_reason": "stop"}]}', UpstreamMalformed),
        (b'{"error": {"message": "m", "code": 429}}', UpstreamRateLimited),
        (b'[{"error": {"message": "m", "code": 503}}]', UpstreamOverloaded),
    ],
)
def test_an_answer_that_is_none_is_a_failure(raw, expected):
    with pytest.raises(expected):
        adapter().body(raw)


@cases("reason", [b"null", b'""'])
def test_a_whole_answer_needs_no_reason(reason):
    raw = b'{"choices": [{"message": {"content": "a"}, "finish_reason": %b}]}' % reason
    assert told(adapter().body(raw)) == Told(text="a", stop="stop")


def test_usage_is_counted_even_if_the_stream_fails():
    chat = adapter()
    with pytest.raises(UpstreamError):
        read(chat, {"error": {"message": "m"}, "usage": TOKENS})
    assert chat.meter.usage == Usage(input_fresh=9, output_visible=4)


# Chunks of one pattern with what may stand in the place of their text, and others that come between them.
PLAIN = b'{"id":"c","model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{"content":%b},"logprobs":null,"finish_reason":null}],"usage":null}'  # noqa: E501
TEXTS = (
    b'"a"', b'"b "', b'""', b'"two\\nlines"', b'"a \\"quote\\""', b'"\\\\"',
    b'"\\u00e9 \xc3\xa9 \xf0\x9f\x8c\x8d"', b'"f"', b'"ends in \\"', b'"\x01"', b'"\xff"', b'"\\ud800"',
    b'"', b"", b"null", b"1", b'{"a":1}', b'["a"]', b'"x","refusal":"no"',
    b'"x"},"finish_reason":"stop","delta":{"content":"b"',
)  # fmt: skip
BETWEEN = (
    b'{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}',
    b'{"choices":[{"index":0,"delta":{"reasoning_content":null,"content":"x"}}]}',
    b'{"choices":[{"index":0,"delta":{"reasoning":"hm","content":"x"}}]}',
    b'{"choices":[{"index":1,"delta":{"content":"x"}}]}',
    b'{"choices":[{"index":0,"delta":{"content":"x","refusal":"no"}}]}',
    b'{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":""}]}',
    b'{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}',
    b'{"choices":[{"index":0,"delta":{"content":"x"},"usage":{"prompt_tokens":3,"completion_tokens":2}}]}',
    b'{"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":3,"completion_tokens":9}}',
    b'{"choices":[{"index":0,"delta":{"content":"x"}}],"citations":["https://a.example"]}',
    b'{"choices":[{"index":0,"delta":{"content":"x"}}],"service_tier":"flex"}',
    b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","function":{"name":"f"}}]}}]}',
    b'{"choices":[],"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":4}}}',
    b"nonsense",
)


def read_with(pattern: TextPattern, stream: list[Frame]) -> list[Any]:
    """Return what is told of a stream, frame by frame, and all that is known at its end."""
    reader = adapter()
    reader.pattern = pattern
    found = [reader.deltas(frame) for frame in stream]
    return [*found, reader.facts, reader.meter.usage, reader.dropped, reader.finish()]


@cases("seed", range(40))
def test_chunks_of_one_pattern_are_read_like_those_that_are_parsed(seed: int) -> None:
    chance = random.Random(seed)
    stream = []
    for _ in range(60):
        data = PLAIN % chance.choice(TEXTS)
        if chance.random() < 0.2:
            data = chance.choice(BETWEEN)
        stream.append(Frame(b"x" if chance.random() < 0.05 else b"", data))
    assert read_with(TextPattern(1_000), stream) == read_with(TextPattern(0), stream)


def test_most_chunks_of_a_stream_are_not_parsed() -> None:
    pattern, reader = TextPattern(), adapter()
    reader.pattern = pattern
    stream = [Frame(b"", PLAIN % b'"word %d"' % number) for number in range(20)]
    assert read_with(pattern, stream)[:20] == [[Text("content", f"word {n}")] for n in range(20)]
    assert pattern.left == TextPattern().left - 1


@pytest.mark.parametrize(
    "chunk",
    [
        b'{"a":"x","choices":[{"delta":{"content":"x"}}]}',
        b'{"choices":[{"delta":{"content":"x"},"b":"x"}]}',
        b'{"choices":[{"delta":{"role":"x","content":"x"}}]}',
        b'{"choices":[{"delta":{"content":"x","content":"x"}}]}',
    ],
)
def test_a_text_that_stands_in_a_chunk_twice_makes_no_pattern(chunk: bytes) -> None:
    pattern = TextPattern()
    pattern.learn(chunk, orjson.loads(chunk), "x")
    assert pattern.text(Frame(b"", chunk)) is None
