"""Usage in disjoint classes: no token counted twice, whatever a vendor includes in what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from responses_api.accounting.final_usage import final_usage
from routing.protocols import PROTOCOLS
from routing.protocols.shared.usage import MOST_TOKENS
from tenants.token_classes import Usage
from tests.plugins.cases import cases


@cases(
    ("protocol", "report", "expected"),
    [
        (
            "chat",
            {
                "prompt_tokens": 100,
                "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 60},
                "completion_tokens": 50,
                "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 30},
                "total_tokens": 150,
            },
            Usage(
                input_fresh=30,
                input_audio=60,
                cache_read=10,
                output_visible=15,
                output_audio=30,
                output_reasoning=5,
            ),
        ),
        (
            "chat",
            {
                "prompt_tokens": 100,
                "prompt_tokens_details": {
                    "cached_tokens": 80,
                    "cached_tokens_details": {"audio_tokens": 50},
                    "audio_tokens": 60,
                },
                "completion_tokens": 0,
            },
            Usage(input_fresh=10, input_audio=10, cache_read=80),
        ),
        (
            "chat",
            {
                "prompt_tokens": 100,
                "prompt_tokens_details": {"cached_tokens": 80, "audio_tokens": 60},
                "completion_tokens": 4,
                "completion_tokens_details": {"audio_tokens": 9},
            },
            Usage(input_audio=20, cache_read=80, output_audio=4, anomaly=True),
        ),
        (
            "chat",
            {"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 3},
            Usage(input_fresh=6, cache_read=3, output_visible=4),
        ),
        (
            "chat",
            {"prompt_tokens": 9, "completion_tokens": 4, "cached_tokens": 3},
            Usage(input_fresh=6, cache_read=3, output_visible=4),
        ),
        (
            "responses",
            {
                "input_tokens": 20,
                "input_tokens_details": {
                    "cached_tokens": 3,
                    "cache_write_tokens": 10,
                    "cache_write_tokens_details": {"ttl_30m_tokens": 6, "ttl_12h_tokens": 4},
                },
                "output_tokens": 4,
                "total_tokens": 24,
            },
            Usage(input_fresh=7, cache_read=3, cache_write=6, cache_write_long=4, output_visible=4),
        ),
        (
            "anthropic",
            {
                "input_tokens": 7,
                "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 10,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 6,
                    "ephemeral_1h_input_tokens": 4,
                },
                "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 5},
            },
            Usage(
                input_fresh=7,
                cache_read=3,
                cache_write=6,
                cache_write_long=4,
                output_visible=4,
                output_reasoning=5,
            ),
        ),
        (  # read and written overlap: what was written was not read
            "chat",
            {
                "prompt_tokens": 2_168,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 2_161, "cache_write_tokens": 2_161},
            },
            Usage(input_fresh=0, cache_read=7, cache_write=2_161, output_visible=4, anomaly=True),
        ),
        (
            "responses",
            {
                "input_tokens": 10,
                "input_tokens_details": {
                    "cached_tokens": 10,
                    "cache_write_tokens": 12,
                    "cache_write_tokens_details": {"ttl_12h_tokens": 11},
                },
                "output_tokens": 0,
            },
            Usage(cache_write_long=10, anomaly=True),
        ),
        (  # xAI counts reasoning beside the output, here too
            "responses",
            {
                "input_tokens": 12,
                "output_tokens": 1,
                "output_tokens_details": {"reasoning_tokens": 290},
                "total_tokens": 303,
            },
            Usage(input_fresh=12, output_visible=1, output_reasoning=290),
        ),
        (
            "chat",
            {
                "prompt_tokens": 12,
                "completion_tokens": 2,
                "completion_tokens_details": {"reasoning_tokens": 320},
            },
            Usage(input_fresh=12, output_visible=2, output_reasoning=320, anomaly=True),
        ),
        (  # what a cache read is beside the input, as the total tells
            "chat",
            {
                "prompt_tokens": 200,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 800},
                "total_tokens": 1_003,
            },
            Usage(input_fresh=200, cache_read=800, output_visible=3),
        ),
        (
            "chat",
            {"prompt_tokens": "9", "completion_tokens": 4.0, "cached_tokens": "3"},
            Usage(input_fresh=6, cache_read=3, output_visible=4),
        ),
        (
            "chat",
            {"prompt_tokens": 9, "completion_tokens": 4, "queue_time": 0.3, "cost": "free"},
            Usage(input_fresh=9, output_visible=4),
        ),
        (  # a compaction and advice are beside Anthropic's totals, an attempt that was declined costs nothing
            "anthropic",
            {
                "input_tokens": 682,
                "output_tokens": 1_320,
                "iterations": [
                    {"type": "compaction", "input_tokens": 60_385, "output_tokens": 592},
                    {"type": "advisor_message", "cache_read_input_tokens": 5, "output_tokens": 8},
                    {"type": "message", "input_tokens": 408, "output_tokens": 0},
                    {"type": "fallback_message", "input_tokens": 682, "output_tokens": 1_320},
                ],
            },
            Usage(input_fresh=61_067, cache_read=5, output_visible=1_920),
        ),
        (
            "anthropic",
            {"input_tokens": 7, "iterations": ["?"]},
            Usage(input_fresh=7, anomaly=True),
        ),
        (
            "anthropic",
            {"input_tokens": 7, "cache_creation": {"ephemeral_5m_input_tokens": 6}},
            Usage(input_fresh=7, cache_write=6),
        ),
        (
            "anthropic",
            {"input_tokens": 7, "cache_read_input_tokens": None, "cache_creation": None},
            Usage(input_fresh=7),
        ),
    ],
)
def test_reports_are_taken_apart(protocol, report, expected):
    found = PROTOCOLS[protocol].read_usage(report)
    assert found == expected
    assert found.input_total == sum(
        (
            found.input_fresh,
            found.input_audio,
            found.cache_read,
            found.cache_write,
            found.cache_write_long,
        )
    )


@cases(
    "report",
    [
        {"input_tokens": -7},
        {"output_tokens": 3, "output_tokens_details": {"thinking_tokens": 5}},
        {
            "cache_creation_input_tokens": 3,
            "cache_creation": {"ephemeral_1h_input_tokens": 4},
        },
    ],
)
def test_a_report_that_contradicts_itself_is_an_anomaly(report):
    assert PROTOCOLS["anthropic"].read_usage(report).anomaly


def test_a_report_that_goes_down_is_older_or_wrong():
    meter = PROTOCOLS["anthropic"].meter()
    meter.observe({"input_tokens": 100, "output_tokens": 50})
    meter.observe({"input_tokens": 90, "output_tokens": 20})
    assert meter.usage == Usage(input_fresh=100, output_visible=50)


@cases("value", [1e300, -1, 0.5, "1e3", "-4", "\uff19", "1" * 5_000, True, [4], {}])
def test_what_is_no_count_is_read_as_none_and_flagged(value):
    for name in ("prompt_tokens", "completion_tokens"):
        report = {"prompt_tokens": 9, "completion_tokens": 4, name: value}
        left = {"prompt_tokens": 4, "completion_tokens": 9}[name]
        assert (
            PROTOCOLS["chat"].read_usage(report).total,
            PROTOCOLS["chat"].read_usage(report).anomaly,
        ) == (left, True)


def test_counts_grow_however_they_are_written():
    meter = PROTOCOLS["chat"].meter()
    for count in (5, "40", 30.0, None, 39):
        meter.observe({"prompt_tokens": 9, "completion_tokens": count})
    assert meter.usage == Usage(input_fresh=9, output_visible=40)


# Any report whatever

NAMES = (
    "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "cached_tokens",
    "cache_write_tokens", "audio_tokens", "reasoning_tokens", "thinking_tokens", "prompt_cache_hit_tokens",
    "cache_read_input_tokens", "cache_creation_input_tokens", "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens", "ttl_12h_tokens", "type",
)  # fmt: skip
OBJECTS = (
    "prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details",
    "cached_tokens_details", "cache_write_tokens_details", "cache_creation",
)  # fmt: skip
counts = st.integers(0, 50)
anything: Any = (
    counts
    | counts.map(str)
    | counts.map(float)
    | st.sampled_from([None, True, -1, 1e300, 10**18, "x", [], {}])
    | st.sampled_from(["message", "compaction"])
)


def objects(values: Any, inner: Any) -> Any:
    named = dict.fromkeys(OBJECTS, inner) | dict.fromkeys(NAMES, values)
    return st.lists(st.sampled_from([*NAMES, *OBJECTS]), unique=True, max_size=9).flatmap(
        lambda names: st.fixed_dictionaries({name: named[name] for name in names})
    )


details = objects(anything, st.none() | st.just({"audio_tokens": 3, "ttl_12h_tokens": 9}))
reports = objects(anything, details | anything)
anthropic_reports = st.builds(
    lambda report, iterations: {**report, "iterations": iterations},
    reports,
    st.lists(details | anything, max_size=3) | anything,
)
protocols = st.sampled_from(sorted(PROTOCOLS))
WHOLES = {
    "chat": ("prompt_tokens", "completion_tokens"),
    "responses": ("input_tokens", "output_tokens"),
}


@given(protocols, reports | anthropic_reports)
def test_classes_are_never_negative_and_never_more_than_the_whole(protocol, report):
    usage = PROTOCOLS[protocol].read_usage(report)
    assert min(usage.counts) >= 0
    if protocol == "anthropic":
        return  # has no whole of its input to compare with
    inputs, outputs = (
        int(value) if str(value := report.get(name)).removesuffix(".0").isdecimal() else 0
        for name in WHOLES[protocol]
    )
    inputs, outputs = (count if count <= MOST_TOKENS else 0 for count in (inputs, outputs))
    beside = usage.cache_read + usage.cache_write_total if report.get("total_tokens") else 0
    assert usage.input_total in {inputs, inputs + beside}
    outside = report.get(f"{WHOLES[protocol][1]}_details")
    thought = outside.get("reasoning_tokens") if isinstance(outside, dict) else 0
    assert usage.output_total in {outputs, outputs + (usage.output_reasoning if thought else 0)}
    if not usage.anomaly and report.get("total_tokens"):
        assert usage.total == int(report["total_tokens"])


@given(protocols, st.lists(reports | anthropic_reports | anything, max_size=3), st.integers(0, 9))
def test_no_usage_is_zero_beside_output_and_what_is_filled_in_is_flagged(protocol, said, deltas):
    meter = PROTOCOLS[protocol].meter()
    for report in said:
        meter.observe(report)
    relay = cast("Any", SimpleNamespace(meter=meter, tally=SimpleNamespace(tokens=deltas)))
    usage, source = final_usage(relay, 11)
    assert usage.input_total > 0
    assert usage.output_total > 0 or not deltas
    if source == "provider":
        assert usage is meter.own
    else:
        assert (source, usage.anomaly) == ("counted", True)
        assert usage.input_total == 11 or usage.output_total == deltas


def test_what_is_read_and_written_is_never_more_than_the_input():
    for cached in range(0, 14, 3):
        for written in range(0, 14, 3):
            inside = {"cached_tokens": cached, "cache_write_tokens": written}
            usage = PROTOCOLS["responses"].read_usage(
                {"input_tokens": 10, "input_tokens_details": inside}
            )
            assert usage.input_total == 10
            assert usage.anomaly == (cached + written > 10)
            assert usage.cache_write == min(written, 10)
