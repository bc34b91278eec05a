"""Whatever an upstream says, in whatever order: the grammar holds, and the end is the sum of its events."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_project.lib.errors import UpstreamCut, UpstreamError, UpstreamMalformed
from responses_api.doors.responses.encoder import ResponsesEncoder
from responses_api.stream.assembler import Assembler
from responses_api.stream.upstream_reader import Identity
from routing.protocols.shared.deltas import Delta, Opaque, Reasoning, Refusal, Stop, Text, ToolCall
from routing.protocols.shared.tools import Toolbox
from tests.plugins.tiers import examples
from tests.support import grammar

Json = dict[str, Any]

TOOLS = [{"type": "function", "name": "f"}, {"type": "custom", "name": "patch"}]
KEYS = st.sampled_from([0, 1, "a", ("i", 0), ("i", 1), ("j", 0)])
WORDS = st.sampled_from(
    ["", " ", "\n\n", "a", "b c", "{", "}", '{"x":1}', '{"input":"p', 'q"}', "ü\U0001f600"]
)
CITATIONS = st.lists(st.just({"type": "url_citation", "url": "u"}), max_size=2).map(tuple)
TOKENS = st.lists(st.just({"token": "a", "logprob": -1.0}), max_size=2).map(tuple)
PHASES = st.sampled_from([None, "commentary", "final_answer"])

DELTAS: st.SearchStrategy[Delta] = st.one_of(
    st.builds(Text, KEYS, WORDS, CITATIONS, TOKENS, PHASES),
    st.builds(Text, KEYS, WORDS),
    st.builds(Refusal, KEYS, WORDS),
    st.builds(
        Reasoning,
        KEYS,
        WORDS,
        st.sampled_from(["summary", "raw"]),
        st.integers(0, 2),
        st.sampled_from([None, None, "sealed"]),
    ),
    st.builds(
        ToolCall, KEYS, WORDS, st.sampled_from(["", "call_1"]), st.sampled_from(["f", "patch", "x"])
    ),
    st.builds(Opaque, KEYS, st.just({"type": "web_search_call", "status": "completed"})),
)
STOPS = st.sampled_from(["stop", "tool_calls", "length", "content_filter", None])


class Run:
    """An answer as far as it came: its events, and the deltas that were taken."""

    def __init__(self, deltas: list[Delta], stop: Any) -> None:
        identity = Identity("resp_own", "alias", 1)
        body: Json = {"model": "alias", "input": [], "tools": TOOLS}
        made, encoder = Assembler(identity, body, Toolbox.of(body)), ResponsesEncoder(identity)
        self.taken: list[Delta] = []
        written = encoder.encode(made.start())
        failure: UpstreamError | None = None if stop else UpstreamCut("It was cut.")
        for delta in deltas:
            try:
                steps = made.take(delta)
            except UpstreamMalformed as error:
                failure = error
                break
            written += b"".join(map(encoder.encode, steps))
            self.taken.append(delta)
        if failure is None:
            made.take(Stop(stop))
        last = made.fail(failure) if failure else made.end(None, {})
        self.failed = failure is not None
        self.events = grammar.read(written + b"".join(map(encoder.encode, last)))


@settings(max_examples=examples(400))
@given(st.lists(DELTAS, max_size=14), STOPS)
def test_grammar_holds_and_the_end_is_the_sum_of_the_events(deltas, stop):
    run = Run(deltas, stop)
    response = grammar.check(run.events)
    assert response["output"] == folded(run.events)
    assert response["output_text"] == "".join(
        part["text"]
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
        if part["type"] == "output_text"
    )


@settings(max_examples=examples(400))
@given(st.lists(DELTAS, max_size=14), STOPS)
def test_no_visible_word_is_lost_or_invented(deltas, stop):
    run = Run(deltas, stop)
    response = run.events[-1]["response"]
    said = "".join(delta.text for delta in run.taken if isinstance(delta, Text))
    refused = "".join(delta.text for delta in run.taken if isinstance(delta, Refusal))
    assert said.startswith(response["output_text"])
    assert said[len(response["output_text"]) :].strip() == ""
    assert refused == "".join(
        event["delta"] for event in run.events if event["type"] == "response.refusal.delta"
    )


def folded(events: list[Json]) -> list[Json]:
    """The output as a client puts it together from what was added piece by piece."""
    items: dict[int, Json] = {}
    for event in events:
        match event["type"]:
            case "response.output_item.added":
                items[event["output_index"]] = event["item"]
            case "response.content_part.added":
                items[event["output_index"]].setdefault("content", []).append(event["part"])
            case "response.reasoning_summary_part.added":
                items[event["output_index"]]["summary"].append(event["part"])
            case "response.output_item.done":
                _finish(items[event["output_index"]], event["item"])
            case _ if "output_index" in event:
                _add(items[event["output_index"]], event)
    return [items[index] for index in sorted(items)]


def _add(item: Json, event: Json) -> None:
    match event["type"].split(".")[1:]:
        case ["output_text", "delta"]:
            part = item["content"][event["content_index"]]
            part["text"] += event["delta"]
            part["logprobs"] += event["logprobs"]
        case ["output_text", "annotation", "added"]:
            item["content"][event["content_index"]]["annotations"].append(event["annotation"])
        case ["refusal", "delta"]:
            item["content"][event["content_index"]]["refusal"] += event["delta"]
        case ["reasoning_text", "delta"]:
            item["content"][event["content_index"]]["text"] += event["delta"]
        case ["reasoning_summary_text", "delta"]:
            item["summary"][event["summary_index"]]["text"] += event["delta"]
        case ["function_call_arguments", "delta"]:
            item["arguments"] += event["delta"]
        case ["custom_tool_call_input", "delta"]:
            item["input"] += event["delta"]


def _finish(item: Json, done: Json) -> None:
    """Add what only the finished item tells."""
    for name in ("status", "encrypted_content"):
        if name in done:
            item[name] = done[name]
