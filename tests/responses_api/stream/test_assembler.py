"""The assembler: deltas of any upstream become the steps of one well-formed answer.

The answers are read as a client of the Responses API would: the steps are rendered by its encoder, followed
by the grammar checker, and folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from gateway_project.lib.errors import UpstreamCut, UpstreamMalformed, UpstreamRateLimited
from responses_api.doors.responses.encoder import ResponsesEncoder
from responses_api.stream.assembler import Assembler
from responses_api.stream.upstream_reader import Identity
from routing.protocols.shared.deltas import Delta, Opaque, Reasoning, Refusal, Stop, Text, ToolCall
from routing.protocols.shared.tools import Toolbox
from tenants.token_classes import Usage
from tests.plugins.cases import cases
from tests.support import grammar

Json = dict[str, Any]

WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
PATCH = {"type": "custom", "name": "apply_patch"}
CLOCK = {"type": "namespace", "name": "clock", "tools": [{"type": "function", "name": "now"}]}
NOTHING_WRONG = UpstreamCut("The provider 'p' ended the stream too early.")


def assembler(*, wraps_custom: bool = True, **request: Any) -> Assembler:
    body = {"model": "alias", "input": [], **request}
    identity = Identity("resp_own", "alias", 1_767_225_600)
    return Assembler(identity, body, Toolbox.of(body), wraps_custom=wraps_custom)


def events(made: Assembler, deltas: Sequence[Delta], **end: Any) -> list[Json]:
    """The events of a whole answer; it fails if `error` is given."""
    encoder = ResponsesEncoder(Identity("resp_own", "alias", 1_767_225_600))
    written = encoder.encode(made.start())
    for delta in deltas:
        written += b"".join(map(encoder.encode, made.take(delta)))
    error = end.pop("error", None)
    last = made.fail(error) if error else made.end(end.get("usage"), end.get("facts", {}))
    return grammar.read(written + b"".join(map(encoder.encode, last)))


def answer(*deltas: Delta, **request: Any) -> Json:
    """The final Response, whose stream was well-formed."""
    return grammar.check(events(assembler(**request), list(deltas)))


def kinds(found: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


def said(item: Json) -> str:
    return "".join(part.get("text", part.get("refusal")) for part in item["content"])


# Messages


def test_text_becomes_one_message_with_its_whole_life():
    found = events(assembler(), [Text("c", "Hel"), Text("c", "lo"), Stop("stop")])
    assert kinds(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in found] == list(range(10))
    assert found[-1]["response"]["output_text"] == "Hello"


def test_an_item_opens_empty_and_closes_whole_under_one_id():
    found = events(assembler(), [Text("c", "Hi"), Stop("stop")])
    added, done = found[2]["item"], found[7]["item"]
    assert added == {
        "id": added["id"],
        "type": "message",
        "status": "in_progress",
        "role": "assistant",
        "content": [],
    }
    assert done["content"] == [
        {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}
    ]
    assert added["id"].startswith("msg_")
    assert {event["item_id"] for event in found if "item_id" in event} == {added["id"]}
    assert found[-1]["response"]["output"] == [done]


def test_blank_text_before_a_call_makes_no_message():
    response = answer(
        Text("c", ""),
        Text("c", "\n\n"),
        ToolCall("t", "{}", "call_1", "get_weather"),
        Stop("tool_calls"),
    )
    assert [item["type"] for item in response["output"]] == ["function_call"]


def test_blank_text_before_visible_text_is_not_lost():
    response = answer(Text("c", "\n "), Text("c", " "), Text("c", "x"), Stop("stop"))
    assert response["output_text"] == "\n  x"


def test_blank_text_inside_a_message_goes_out_at_once():
    found = events(assembler(), [Text("c", "a"), Text("c", " "), Stop("stop")])
    assert [event["delta"] for event in found if "delta" in event] == ["a", " "]


def test_an_answer_of_nothing_but_blanks_is_an_answer():
    assert answer(Text("c", " "), Stop("stop"))["output_text"] == " "


def test_an_empty_answer_has_no_items():
    response = answer(Text("c", ""), Stop("stop"))
    assert response["status"] == "completed"
    assert response["output"] == []
    assert response["output_text"] == ""


def test_another_block_of_text_is_another_part_of_the_message():
    response = answer(Text(0, "According to "), Text(1, "them"), Text(2, "."), Stop("stop"))
    (message,) = response["output"]
    assert [part["text"] for part in message["content"]] == ["According to ", "them", "."]


def test_another_item_of_the_upstream_is_another_message():
    response = answer(Text((0, 0), "a"), Text((0, 1), "b"), Text((1, 0), "c"), Stop("stop"))
    assert [said(item) for item in response["output"]] == ["ab", "c"]


def test_another_phase_is_another_message():
    response = answer(
        Text("a", "Let me see.", phase="commentary"),
        Text("b", "Done.", phase="final_answer"),
        Stop("stop"),
    )
    assert [(item["phase"], said(item)) for item in response["output"]] == [
        ("commentary", "Let me see."),
        ("final_answer", "Done."),
    ]


def test_a_refusal_is_a_part_of_the_message():
    found = events(assembler(), [Refusal("r", "I can"), Refusal("r", "not."), Stop("stop")])
    (message,) = grammar.check(found)["output"]
    assert message["content"] == [{"type": "refusal", "refusal": "I cannot."}]
    assert "refusal.delta" in kinds(found)


def test_a_refusal_after_text_joins_the_same_message():
    (message,) = answer(Text("c", "Well."), Refusal("r", "No."), Stop("stop"))["output"]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]


def test_logprobs_and_annotations_are_lists_and_kept_in_order():
    one, other = ({"token": t, "logprob": -1.0, "bytes": [], "top_logprobs": []} for t in "ab")
    cited = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1}
    found = events(
        assembler(),
        [
            Text("c", "a", logprobs=(one,)),
            Text("c", "b", annotations=(cited, cited), logprobs=(other,)),
            Stop("stop"),
        ],
    )
    (message,) = grammar.check(found)["output"]
    (part,) = message["content"]
    assert part["logprobs"] == [one, other]
    assert part["annotations"] == [cited, cited]
    indexes = [event["annotation_index"] for event in found if "annotation_index" in event]
    assert indexes == [0, 1]
    streamed = [event["logprobs"] for event in found if event["type"].endswith("text.delta")]
    assert streamed == [[one], [other]]


# Reasoning


def test_a_summary_has_its_own_events_and_the_seal_comes_with_the_done_item():
    found = events(
        assembler(),
        [
            Reasoning("r", "First"),
            Reasoning("r", "Second", part=1),
            Reasoning("r", "", sealed="gAAAA"),
            Text("c", "Hi"),
            Stop("stop"),
        ],
    )
    thought, message = grammar.check(found)["output"]
    assert thought["summary"] == [
        {"type": "summary_text", "text": "First"},
        {"type": "summary_text", "text": "Second"},
    ]
    assert "content" not in thought
    assert thought["encrypted_content"] == "gAAAA"
    added = next(event for event in found if event["type"].endswith("output_item.added"))
    assert "encrypted_content" not in added["item"]
    assert "reasoning_summary_part.done" in kinds(found)
    assert said(message) == "Hi"


def test_raw_thought_is_reasoning_text():
    found = events(assembler(), [Reasoning("r", "Hmm", "raw"), Text("c", "Hi"), Stop("stop")])
    thought = grammar.check(found)["output"][0]
    assert thought["summary"] == []
    assert thought["content"] == [{"type": "reasoning_text", "text": "Hmm"}]
    assert "reasoning_text.delta" in kinds(found)
    assert "reasoning_text.done" in kinds(found)


def test_a_sealed_thought_without_words_is_an_item():
    thought, _ = answer(Reasoning("r", "", sealed="x"), Text("c", "Hi"), Stop("stop"))["output"]
    assert (thought["summary"], thought["encrypted_content"]) == ([], "x")


def test_a_blank_thought_makes_no_item():
    response = answer(Reasoning("r", "\n\n", "raw"), Text("c", "Hi"), Stop("stop"))
    assert [item["type"] for item in response["output"]] == ["message"]


def test_every_block_of_thought_is_an_item_because_each_has_its_own_seal():
    one, other, _ = answer(
        Reasoning(0, "a", sealed="A"),
        Reasoning(1, "b", sealed="B"),
        Text(2, "x"),
        Stop("stop"),
    )["output"]
    assert (one["encrypted_content"], other["encrypted_content"]) == ("A", "B")


def test_thought_after_text_gets_the_next_index():
    response = answer(
        Reasoning("r", "a"), Text("c", "x"), Reasoning("r", "b"), Text("c", "y"), Stop("stop")
    )
    assert [item["type"] for item in response["output"]] == [
        "reasoning",
        "message",
        "reasoning",
        "message",
    ]
    assert len({item["id"] for item in response["output"]}) == 4


# Calls


def test_parallel_calls_may_be_interleaved():
    response = answer(
        ToolCall(0, '{"a":', "call_a", "get_weather"),
        ToolCall(1, '{"b":', "call_b", "get_weather"),
        ToolCall(0, "1}"),
        ToolCall(1, "2}"),
        Stop("tool_calls"),
        tools=[WEATHER],
    )
    assert [(item["call_id"], item["arguments"]) for item in response["output"]] == [
        ("call_a", '{"a":1}'),
        ("call_b", '{"b":2}'),
    ]


def test_a_call_is_finished_once_it_is_complete_and_the_next_begins():
    found = events(
        assembler(),
        [
            ToolCall(0, '{"a":1}', "call_a", "f"),
            ToolCall(1, "{}", "call_b", "f"),
            Stop("tool_calls"),
        ],
    )
    done = [event["type"] for event in found].index("response.output_item.done")
    second = [n for n, event in enumerate(found) if event["type"].endswith("item.added")][1]
    assert done < second
    grammar.check(found)


def test_text_after_a_call_is_a_message_of_its_own():
    response = answer(
        Text("c", "Before."),
        ToolCall(0, "{}", "call_a", "f"),
        Text("c", "After."),
        Stop("stop"),
    )
    assert [item["type"] for item in response["output"]] == ["message", "function_call", "message"]


def test_a_call_without_arguments_has_an_empty_object():
    (call,) = answer(ToolCall(0, "", "call_a", "f"), Stop("tool_calls"))["output"]
    assert call["arguments"] == "{}"


def test_a_custom_tool_gets_its_plain_text():
    wrapped = orjson.dumps({"input": '*** Begin "Patch"\n+ü'}).decode()
    found = events(
        assembler(tools=[PATCH]),
        [
            ToolCall(0, wrapped[:7], "call_a", "apply_patch"),
            *(ToolCall(0, piece) for piece in wrapped[7:]),
            Stop("tool_calls"),
        ],
    )
    (call,) = grammar.check(found)["output"]
    assert call["type"] == "custom_tool_call"
    assert call["id"].startswith("ctc_")
    assert call["input"] == '*** Begin "Patch"\n+ü'
    assert "arguments" not in call
    assert kinds(found).count("custom_tool_call_input.done") == 1


def test_a_custom_tools_text_that_is_not_wrapped_is_taken_as_it_is():
    made = assembler(tools=[PATCH], wraps_custom=False)
    deltas: list[Delta] = [
        ToolCall(0, '{"input":', "c", "apply_patch"),
        ToolCall(0, '"x"}'),
        Stop("tool_calls"),
    ]
    (call,) = grammar.check(events(made, deltas))["output"]
    assert call["input"] == '{"input":"x"}'


def test_a_tool_of_a_namespace_gets_its_own_name_back():
    box = Toolbox.of({"input": [], "tools": [CLOCK]})
    wire_name = box.tools[0].wire_name
    (call,) = answer(ToolCall(0, "{}", "c", wire_name), Stop("tool_calls"), tools=[CLOCK])["output"]
    assert (call["namespace"], call["name"]) == ("clock", "now")


def test_the_upstreams_call_id_is_kept_unless_it_tells_nothing():
    response = answer(
        ToolCall(0, "{}", "call_a", "f"),
        ToolCall(1, "{}", "call_a", "f"),
        ToolCall(2, "{}", "", "f"),
        ToolCall(3, "{}", "x" * 65, "f"),
        Stop("tool_calls"),
    )
    call_ids = [item["call_id"] for item in response["output"]]
    assert call_ids[0] == "call_a"
    assert len(set(call_ids)) == 4
    assert all(0 < len(call_id) <= 64 for call_id in call_ids)


@cases(
    "choice",
    [
        "none",
        {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "function", "name": "get_weather"}],
        },
    ],
    ids=["none", "allowed_tools"],
)
def test_a_call_that_was_not_allowed_fails_the_answer(choice):
    made = assembler(tools=[WEATHER, PATCH], tool_choice=choice)
    with pytest.raises(UpstreamMalformed, match="'apply_patch', a tool that 'tool_choice'"):
        made.take(ToolCall(0, "{}", "c", "apply_patch"))


def test_an_allowed_call_is_allowed():
    choice = {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "get_weather"}],
    }
    made = assembler(tools=[WEATHER, PATCH], tool_choice=choice)
    deltas: list[Delta] = [ToolCall(0, "{}", "c", "get_weather"), Stop("tool_calls")]
    assert grammar.check(events(made, deltas))["output"][0]["name"] == "get_weather"


def test_a_call_that_names_no_tool_is_malformed():
    with pytest.raises(UpstreamMalformed):
        assembler().take(ToolCall(0, "{}"))


def test_more_arguments_for_a_finished_call_are_malformed():
    made = assembler()
    made.take(ToolCall(0, "{}", "a", "f"))
    made.take(ToolCall(1, "{}", "b", "f"))
    assert made.take(ToolCall(0, "\n")) == []
    with pytest.raises(UpstreamMalformed):
        made.take(ToolCall(0, "1"))


# Items of other kinds


def test_an_opaque_item_passes_unchanged():
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"q": "x"}}
    response = answer(Text("c", "a"), Opaque("o", item), Text("c", "b"), Stop("stop"))
    assert response["output"][1] == item
    assert response["output_text"] == "ab"


def test_an_opaque_item_without_id_gets_one():
    response = answer(Opaque("o", {"type": "x:y", "id": None}), Stop("stop"))
    assert response["output"][0]["id"]


def test_what_is_nested_too_deep_to_write_is_malformed_and_changes_nothing():
    deep: Any = []
    for _ in range(600):
        deep = [deep]
    made = assembler()
    with pytest.raises(UpstreamMalformed):
        made.take(Opaque("o", {"type": "x:y", "id": "x_1", "deep": deep}))
    with pytest.raises(UpstreamMalformed):
        made.take(Text("c", "a", annotations=({"deep": deep},)))
    assert grammar.check(events(made, [Stop("stop")]))["output"] == []


# Ends


@cases(
    ("reason", "told"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter")],
)
def test_an_incomplete_answer_has_an_incomplete_last_item(reason, told):
    response = answer(Reasoning("r", "a"), Text("c", "b"), Stop(reason))
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": told}
    assert response["completed_at"] is None
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]


def test_a_cut_call_is_incomplete_and_its_arguments_are_as_they_came():
    response = answer(
        ToolCall(0, '{"a":1}', "a", "f"), ToolCall(1, '{"b', "b", "f"), Stop("length")
    )
    assert [(item["status"], item["arguments"]) for item in response["output"]] == [
        ("completed", '{"a":1}'),
        ("incomplete", '{"b'),
    ]


def test_the_usage_is_complete():
    usage = Usage(input_fresh=5, cache_read=3, cache_write=2, output_visible=4, output_reasoning=6)
    found = events(assembler(), [Text("c", "a"), Stop("stop")], usage=usage)
    assert found[-1]["response"]["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 6},
        "total_tokens": 20,
    }


def test_the_upstreams_service_tier_is_told_if_it_is_one():
    stopped = [Stop("stop")]
    priority = events(assembler(), stopped, facts={"service_tier": "priority"})
    other = events(assembler(), stopped, facts={"service_tier": "standard"})
    assert priority[-1]["response"]["service_tier"] == "priority"
    assert other[-1]["response"]["service_tier"] == "auto"


def test_a_failure_closes_what_is_open_as_incomplete():
    found = events(
        assembler(),
        [
            Reasoning("r", "a"),
            ToolCall(0, '{"a', "a", "f"),
            ToolCall(1, '{"b', "b", "f"),
            Text("c", "x"),
        ],
        error=NOTHING_WRONG,
    )
    response = grammar.check(found)
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_error", "message": NOTHING_WRONG.message}
    assert [item["status"] for item in response["output"]] == [
        "completed",
        "incomplete",
        "incomplete",
        "incomplete",
    ]


def test_a_failure_before_any_output_has_no_items():
    found = events(assembler(), [Text("c", " ")], error=UpstreamRateLimited("Slow down."))
    response = grammar.check(found)
    assert response["output"] == []
    assert response["error"]["code"] == "rate_limit_exceeded"


# The Response around the items


def test_the_response_tells_effective_values_instead_of_nulls():
    response = answer(
        Stop("stop"),
        tools=[WEATHER],
        temperature=None,
        text={"verbosity": None},
        metadata=None,
        instructions="Be brief.",
    )
    assert response["temperature"] == 1.0
    assert response["text"] == {"format": {"type": "text"}}
    assert response["metadata"] == {}
    assert response["instructions"] == "Be brief."
    assert response["tools"] == [{**WEATHER, "description": None, "strict": True}]
    assert response["store"] is False
    assert response["usage"] is None


def test_the_request_is_left_as_it_was():
    body = {"model": "alias", "input": [], "tools": [dict(WEATHER)], "text": {"verbosity": None}}
    before = orjson.dumps(body)
    made = Assembler(Identity("resp_own", "alias", 1), body, Toolbox.of(body))
    events(made, [Text("c", "a"), Stop("stop")])
    assert orjson.dumps(body) == before
