"""Prove for each of the 38 pitfalls of docs/wire.md 11 that the gateway avoids it.

Each is proved below, or by another test (paths below `tests`):

 2  responses_api/stream/test_assembler_properties.py::test_grammar_holds_and_the_end_is_the_sum_of_the_events
 3  responses_api/stream/test_assembler.py::test_thought_after_text_gets_the_next_index
 4  responses_api/test_recordings.py::test_the_final_event_is_what_the_same_answer_is_as_json
 6  routing/protocols/test_responses_deltas.py::test_a_recorded_stream_says_the_same_without_its_deltas
 6  routing/protocols/test_responses_deltas.py::test_an_item_that_only_the_finished_response_has_survives
 6  routing/protocols/test_responses_deltas.py::test_arguments_only_in_their_done_event_survive
 8  responses_api/stream/test_assembler.py::test_blank_text_before_a_call_makes_no_message
10  responses_api/test_recordings.py::test_a_translated_answer_is_a_whole_response
11  faults/test_translated_faults.py::test_a_stream_that_fails_later_has_exactly_one_terminal_event
11  faults/test_translated_faults.py::test_a_client_that_leaves_closes_the_providers_connection
12  faults/test_translated_faults.py::test_a_stream_that_fails_before_its_first_output_is_an_http_error
12  faults/test_translated_faults.py::test_nothing_is_tried_again_after_the_first_output
13  responses_api/test_translation.py::test_a_slow_stream_is_announced_and_kept_alive
14  faults/test_translated_faults.py::test_words_inside_a_stream_reach_nobody
15  responses_api/storage/test_turns.py::test_results_of_parallel_calls_follow_their_turn_in_its_order
15  routing/protocols/test_chat_deltas.py::test_whole_calls_that_share_an_index_are_told_apart_by_id
15  responses_api/stream/test_encoders.py::test_every_call_has_an_index_and_says_its_name_once
16  routing/protocols/test_chat_deltas.py::test_empty_ids_and_names_of_later_pieces_are_ignored
16  routing/protocols/test_chat_deltas.py::test_an_empty_list_of_calls_does_not_end_a_thought
17  responses_api/storage/test_turns.py::test_a_call_goes_back_with_its_result_under_the_id_the_vendor_gave
18  responses_api/storage/test_turns.py::test_a_result_may_be_text_or_parts
18  responses_api/storage/test_turns.py::test_a_result_may_be_an_object_of_a_careless_client
19  responses_api/storage/test_turns.py::test_anthropic_gets_all_results_of_a_turn_in_one_message_and_first
19  responses_api/storage/test_turns.py::test_a_result_without_its_call_is_refused_by_name
19  responses_api/storage/test_turns.py::test_a_call_without_its_result_is_refused_by_name
22  responses_api/storage/test_turns.py::test_thought_never_becomes_something_that_was_said
23  responses_api/storage/test_turns.py::test_sealed_thought_returns_to_who_sealed_it_alone
24  responses_api/storage/test_turns.py::test_sealed_thought_returns_to_who_sealed_it_alone
24  responses_api/storage/test_turns.py::test_reasoning_details_of_a_router_return_to_it_alone
26  routing/protocols/test_chat_deltas.py::test_stop_waits_for_the_usage_that_follows_the_reason
26  routing/protocols/test_chat_deltas.py::test_stop_waits_for_usage_beside_an_empty_delta_too
28  routing/protocols/test_anthropic_deltas.py::test_usage_is_put_together_from_start_and_end
28  routing/protocols/test_anthropic_deltas.py::test_usage_that_is_repeated_is_not_added_up
30  responses_api/storage/test_chains.py::test_a_response_is_stored_before_its_client_knows_it_ended
31  responses_api/storage/test_chains.py::test_the_instructions_of_a_turn_are_its_own
31  responses_api/storage/test_store_rules.py::test_a_stream_whose_client_left_is_kept_as_cancelled
32  isolation/test_matrix.py::test_a_strangers_id_is_answered_like_an_unknown_one
32  responses_api/test_routes.py::test_a_completion_is_never_stored_upstream
33  responses_api/storage/test_stored_responses.py::test_cancelling_what_has_ended_answers_the_final_response
34  processes/test_background.py::test_what_one_server_began_the_other_tells_live_and_from_every_number
35  responses_api/storage/test_compaction.py::test_the_model_summarises_where_the_upstream_does_not_compact
37  faults/test_translated_faults.py::test_a_client_that_leaves_closes_the_providers_connection
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import orjson

from gateway_project.lib.errors import UpstreamOverloaded
from gateway_project.lib.sse import Frame
from responses_api.stream.upstream_reader import UpstreamReader
from tests.plugins.cases import cases
from tests.support import chat_grammar, grammar, meaning
from tests.support.client import PATHS, question
from tests.support.live import LiveGateway
from tests.support.recorded import Recorded, relay
from tests.support.requests import ask, sent, target

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
PROTOCOLS = ("chat", "responses", "anthropic")
DOORS = ("chat", "responses")
TRANSLATED = [cell for cell in product(DOORS, PROTOCOLS) if cell[0] != cell[1]]

each_protocol = cases("protocol", PROTOCOLS)
each_foreign = cases("protocol", ["chat", "anthropic"])
each_cell = cases(
    ("door", "protocol"), TRANSLATED, ids=["-over-".join(cell) for cell in TRANSLATED]
)


# The table


def test_every_pitfall_is_proved_somewhere():
    listed = {int(line.split()[0]) for line in table()}
    own = {
        int(found) for found in re.findall(r'^ {4}"""Pitfall (\d+)', source(__file__), re.MULTILINE)
    }
    assert listed | own == set(range(1, 39))


def test_every_test_in_the_table_is_there():
    for line in table():
        path, _, name = line.split()[1].partition("::")
        assert f"def {name}(" in source(ROOT / "tests" / path), line


def table() -> list[str]:
    assert __doc__ is not None
    return [line for line in __doc__.splitlines() if "::" in line]


def source(path: str | Path) -> str:
    return Path(path).read_text()


# An answer in each protocol


def frames(*events: Json) -> list[Frame]:
    return [Frame(b"", orjson.dumps(event)) for event in events]


def chunk(delta: Json, finish: str | None = None, **beside: Any) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-theirs", "model": "m", "choices": [choice], **beside}


def item(index: int, value: Json) -> list[Json]:
    """A finished item of a Responses stream, told by its two events alone."""
    where = {"output_index": index}
    return [
        {"type": "response.output_item.added", **where, "item": {**value, "status": "in_progress"}},
        {"type": "response.output_item.done", **where, "item": value},
    ]


def finished(status: str = "completed", **fields: Any) -> Json:
    response = {"id": "resp_theirs", "status": status, "output": [], **fields}
    return {"type": f"response.{status}", "response": response}


def block(index: int, begun: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": begun},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def stopped(reason: str, **usage: int) -> list[Json]:
    return [
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage},
        {"type": "message_stop"},
    ]


BEGUN: Json = {"type": "message_start", "message": {"id": "msg_theirs", "content": [], "usage": {}}}
CALL = {"type": "function_call", "name": "f", "arguments": "{}"}
# Thought, text, and two calls.
ANSWERS: dict[str, list[Json]] = {
    "chat": [
        chunk({"role": "assistant", "reasoning_content": "Hm."}),
        chunk({"content": "Hi"}),
        chunk(
            {
                "tool_calls": [
                    {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}
                ]
            }
        ),
        chunk(
            {
                "tool_calls": [
                    {"index": 1, "id": "call_2", "function": {"name": "f", "arguments": "{}"}}
                ]
            }
        ),
        chunk({}, "tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
    ],
    "responses": [
        {"type": "response.created", "response": {"id": "resp_theirs"}},
        *item(
            0,
            {"type": "reasoning", "id": None, "summary": [{"type": "summary_text", "text": "Hm."}]},
        ),
        *item(1, {"type": "message", "id": "", "content": [{"type": "output_text", "text": "Hi"}]}),
        *item(2, {**CALL, "id": None, "call_id": "call_1"}),
        *item(3, {**CALL, "id": "", "call_id": "call_2"}),
        finished(usage={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}),
    ],
    "anthropic": [
        BEGUN,
        *block(
            0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "Hm."}
        ),
        *block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"}),
        *block(2, {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}),
        *block(3, {"type": "tool_use", "id": "call_2", "name": "f", "input": {}}),
        *stopped("tool_use", input_tokens=3, output_tokens=2),
    ],
}


def through(door: str, protocol: str) -> UpstreamReader:
    """The translation, also where the product would relay."""
    return relay(door, Recorded(protocol, b"", streamed=True), translate=True)


def streamed(protocol: str) -> list[Json]:
    """The events that the Responses door makes of the answer, which keep to the grammar."""
    to = through("responses", protocol)
    events = grammar.read(to.forward(frames(*ANSWERS[protocol])) + to.finish())
    grammar.check(events)
    return events


# Event stream shape


@each_protocol
def test_numbers_are_counted_once_and_leave_nothing_out(protocol: str):
    """Pitfall 1: sequence numbers missing, repeated or constant, also of events nobody sent us."""
    to = through("responses", protocol)
    out = to.announce() + to.keepalive()
    out += to.forward(frames(*ANSWERS[protocol][:-2])) + to.keepalive()
    out += to.failed(UpstreamOverloaded("Overloaded."))
    events = grammar.read(out)
    grammar.check(events)
    counted = [each["sequence_number"] for each in events if each["type"] != "keepalive"]
    assert counted == list(range(len(counted)))


@cases("fails", [False, True])
@each_protocol
def test_what_was_opened_is_closed(protocol: str, fails: bool):
    """Pitfall 2: the last message, a thought or a part is never finished."""
    to = through("responses", protocol)
    out = to.forward(frames(*(ANSWERS[protocol][:-2] if fails else ANSWERS[protocol])))
    out += to.failed(UpstreamOverloaded("Overloaded.")) if fails else to.finish()
    kinds = [each["type"] for each in grammar.read(out)]
    for stem in ("output_item", "content_part", "reasoning_summary_part"):
        assert kinds.count(f"response.{stem}.added") == kinds.count(f"response.{stem}.done")
    assert "response.output_text.done" in kinds


@each_protocol
def test_the_whole_has_one_id_which_is_ours(protocol: str):
    """Pitfall 5: the id of the answer changes on its way, or is the upstream's."""
    events = streamed(protocol)
    assert {each["response"]["id"] for each in events if "response" in each} == {"own-id"}
    to = through("chat", protocol)
    chunks = chat_grammar.read(to.forward(frames(*ANSWERS[protocol])) + to.finish())
    assert {each["id"] for each in chunks} == {"own-id"}
    assert "theirs" not in str(events) + str(chunks)


@each_protocol
def test_every_item_has_an_id_of_its_own(protocol: str):
    """Pitfall 7: a call's id is null, empty or its call_id, so that clients never run the tool."""
    output = streamed(protocol)[-1]["response"]["output"]
    ids = [item["id"] for item in output]
    assert all(ids)
    assert len(set(ids)) == len(ids) == 4
    calls = [item for item in output if item["type"] == "function_call"]
    assert [call["call_id"] for call in calls] == ["call_1", "call_2"]
    assert not {call["call_id"] for call in calls} & set(ids)


@each_protocol
def test_text_has_its_lists_even_if_they_are_empty(protocol: str):
    """Pitfall 9: without `annotations` and `logprobs` clients fall over."""
    events = streamed(protocol)
    told = [each["part"] for each in events if each["type"].startswith("response.content_part.")]
    parts = [part for part in told if part["type"] == "output_text"]
    assert parts
    last = next(item for item in events[-1]["response"]["output"] if item["type"] == "message")
    for part in (*parts, *last["content"]):
        assert (part["annotations"], part["logprobs"]) == ([], [])


# Usage


LENGTH: dict[str, list[Json]] = {
    "chat": [
        chunk({"content": "Hi"}),
        chunk({}, "length"),
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
    ],
    "responses": [
        *item(0, {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}),
        finished(
            "incomplete",
            incomplete_details={"reason": "max_output_tokens"},
            usage={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        ),
    ],
    "anthropic": [
        BEGUN,
        *block(0, {"type": "text", "text": "Hi"}),
        *stopped("max_tokens", input_tokens=3, output_tokens=2),
    ],
}


@each_protocol
@cases("door", DOORS)
def test_an_answer_that_was_cut_short_is_counted_and_says_why(door: str, protocol: str):
    """Pitfall 25: usage is lost on `incomplete`, and the reason becomes `stop`. Pitfall 27 beside it: the
    details are there though the upstream left them out."""
    to = through(door, protocol)
    out = to.forward(frames(*LENGTH[protocol])) + to.finish()
    meant = meaning.MEANING[door](meaning.WHOLE[door](out))
    assert (meant.stop, meant.usage) == ("length", meaning.Tokens(3, 0, 0, 2, 0))
    if door == "responses":
        assert [item["status"] for item in grammar.check_stream(out)["output"]] == ["incomplete"]


@each_protocol
def test_an_answer_that_failed_is_counted_as_far_as_is_known(protocol: str):
    """Pitfall 25: usage is lost on `failed`."""
    known = {
        "chat": {"prompt_tokens": 3},
        "responses": {"input_tokens": 3},
        "anthropic": {"input_tokens": 3},
    }
    said: dict[str, list[Json]] = {
        "chat": [chunk({"content": "Hi"}, usage=known["chat"])],
        "responses": [
            {"type": "response.in_progress", "response": {"usage": known["responses"]}},
            {
                "type": "response.output_text.delta",
                "output_index": 0,
                "content_index": 0,
                "delta": "Hi",
            },
        ],
        "anthropic": [
            {
                "type": "message_start",
                "message": {"id": "m", "content": [], "usage": known["anthropic"]},
            },
            *block(0, {"type": "text", "text": "Hi"}),
        ],
    }
    to = through("responses", protocol)
    out = to.forward(frames(*said[protocol])) + to.failed(UpstreamOverloaded("Overloaded."))
    assert grammar.check_stream(out)["usage"]["input_tokens"] == 3


@each_protocol
def test_details_of_the_usage_are_there_even_if_the_upstream_left_them_out(protocol: str):
    """Pitfall 27: missing `*_tokens_details`."""
    usage = streamed(protocol)[-1]["response"]["usage"]
    assert usage == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    }


def test_a_chat_upstream_is_asked_for_usage_though_the_client_did_not():
    """Pitfall 29: `include_usage` is not injected, so that nothing is ever counted."""
    asked = ask(stream=True, stream_options={"include_obfuscation": False})
    assert sent("responses", asked, target("chat"))["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent("responses", ask(), target("chat"))
    lacks_it = target("chat", no_stream_usage=True)
    assert "stream_options" not in sent("responses", ask(stream=True), lacks_it)


# Tools

CODEX_TOOLS: list[Json] = [
    {"type": "local_shell"},
    {"type": "web_search", "external_web_access": False},
    {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark"}},
    {
        "type": "namespace",
        "name": "mcp",
        "tools": [{"type": "function", "name": "f", "parameters": None}],
    },
    {"type": "function", "name": "exec_command", "parameters": {"type": "object"}, "strict": False},
]


@each_foreign
def test_the_tools_of_codex_are_mapped_or_left_out(protocol: str):
    """Pitfall 20: `custom`, `namespace` and hosted tools are a 500 on upstreams that do not know them."""
    tools = sent("responses", ask(tools=CODEX_TOOLS, tool_choice="auto"), target(protocol))["tools"]
    named = [tool["function"] if protocol == "chat" else tool for tool in tools]
    assert [tool["name"] for tool in named] == ["apply_patch", "mcp__f", "exec_command"]
    schema = named[0]["parameters" if protocol == "chat" else "input_schema"]
    assert list(schema["properties"]) == ["input"]


@each_cell
def test_a_choice_among_no_tools_breaks_nothing(door: str, protocol: str):
    """Pitfall 21: `tools: []` with `tool_choice: "auto"` is refused by many."""
    said: Json = (
        {"messages": [{"role": "user", "content": "Hi"}]} if door == "chat" else {"input": "Hi"}
    )
    body = {"model": "m", **said, "tools": [], "tool_choice": "auto", "parallel_tool_calls": True}
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(
        sent(door, body, target(protocol))
    )


def test_each_door_is_as_strict_as_its_clients_expect():
    """Pitfall 21: Responses is strict unless it says otherwise, chat is not."""
    closed = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    function = {"name": "f", "parameters": closed}
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    as_chat = sent(
        "chat",
        {**asked, "tools": [{"type": "function", "function": function}]},
        target("responses"),
    )
    assert as_chat["tools"][0]["strict"] is False
    tools = [{"type": "function", **function}]
    assert (
        sent("responses", ask(tools=tools), target("chat"))["tools"][0]["function"]["strict"]
        is True
    )
    loose = [{**tools[0], "strict": False}]
    assert (
        "strict" not in sent("responses", ask(tools=loose), target("chat"))["tools"][0]["function"]
    )


@each_foreign
def test_a_tool_without_parameters_has_an_empty_schema(protocol: str):
    """Pitfall 21: `parameters: null` breaks."""
    tools = [{"type": "function", "name": "f", "parameters": None}]
    (tool,) = sent("responses", ask(tools=tools), target(protocol))["tools"]
    schema = tool["function"]["parameters"] if protocol == "chat" else tool["input_schema"]
    assert schema["type"] == "object"


# What a client may leave out, and what it may not name


@each_foreign
def test_an_empty_text_and_bare_items_are_good_enough(protocol: str):
    """Pitfall 31: `text: {}` is refused, `instructions` are ignored, and output items that come back without
    their optional fields are refused."""
    items: list[Json] = [
        {"role": "user", "content": "a"},
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        {**CALL, "call_id": "call_1"},
        {"type": "function_call_output", "call_id": "call_1", "output": "c"},
    ]
    body = sent("responses", ask(input=items, text={}, instructions="Be brief."), target(protocol))
    assert not {"response_format", "output_config"} & set(body)
    told = orjson.dumps(body).decode()
    assert all(f'"{word}"' in told for word in ("Be brief.", "a", "b", "c"))


@cases(
    ("fields", "code"),
    [
        ({"previous_response_id": "resp_of_somebody"}, "previous_response_not_found"),
        ({"conversation": "conv_of_somebody"}, "conversation_not_found"),
        ({"input": [{"type": "item_reference", "id": "msg_of_somebody"}]}, "item_not_found"),
        ({"input": [{"id": "msg_of_somebody"}]}, "item_not_found"),
        ({"prompt": {"id": "pmpt_of_somebody"}}, "unsupported_parameter"),
    ],
    ids=lambda fields: next(iter(fields)),
)
@each_protocol
def test_state_that_a_client_names_is_sent_nowhere(
    gateway: LiveGateway, http: httpx.Client, protocol: str, fields: Json, code: str
):
    """Pitfall 32: an id chained onto somebody else's response gives their prompt away."""
    answer = http.post("/responses", json={"model": f"sandbox-{protocol}", "input": "Hi", **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert len(gateway.sandbox.calls) == 0


@cases("name", ["api_base", "base_url", "extra_headers", "api_key", "user_config"])
@each_cell
def test_a_field_nobody_knows_reaches_no_upstream(
    gateway: LiveGateway, http: httpx.Client, door: str, protocol: str, name: str
):
    """Pitfall 32: internal fields of a body are obeyed."""
    body = question(door, f"sandbox-{protocol}") | {name: "http://canary.invalid"}
    answer = http.post(PATHS[door], json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)
    assert len(gateway.sandbox.calls) == 0


# The server


def asked_slowly(door: str, protocol: str) -> Json:
    return question(door, f"sandbox-{protocol}", "[pace=40] one two three", stream=True)


@each_cell
def test_a_stream_is_neither_cached_nor_buffered_nor_compressed(
    http: httpx.Client, door: str, protocol: str
):
    """Pitfall 13: proxies hold a quiet stream back. Pitfall 38 has a test of its own."""
    body = asked_slowly(door, protocol)
    answer = http.post(PATHS[door], json=body, headers={"accept-encoding": "gzip, br"})
    assert answer.headers["cache-control"].startswith("no-cache")
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in answer.headers


@each_cell
def test_the_first_words_arrive_before_the_last_are_said(
    gateway: LiveGateway, http: httpx.Client, door: str, protocol: str
):
    """Pitfall 36: a stream is consumed whole before any of it is sent."""
    with http.stream("POST", PATHS[door], json=asked_slowly(door, protocol)) as answer:
        lines = answer.iter_lines()
        assert any("You" in line for line in lines)
        (call,) = gateway.sandbox.calls
        assert call.ended is None
        assert "[DONE]" in "".join(lines)


@each_cell
def test_what_the_client_accepts_does_not_decide_the_format(
    http: httpx.Client, door: str, protocol: str
):
    """Pitfall 38: the SDKs accept `application/json` even where they ask for a stream."""
    for accept in ("application/json", "text/html", "text/event-stream"):
        for stream, kind in ((True, "text/event-stream"), (False, "application/json")):
            body = {**asked_slowly(door, protocol), "stream": stream}
            answer = http.post(PATHS[door], json=body, headers={"accept": accept})
            assert answer.status_code == 200
            assert answer.headers["content-type"].partition(";")[0] == kind
