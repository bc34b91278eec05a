"""Usage in disjoint classes: no token counted twice, whatever a vendor includes in what."""

from __future__ import annotations

import pytest

from routing.protocols.usage import READERS, Meter
from tenants.token_classes import Usage


@pytest.mark.parametrize(
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
    found = READERS[protocol](report)
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


@pytest.mark.parametrize(
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
    assert READERS["anthropic"](report).anomaly


def test_a_report_that_goes_down_is_older_or_wrong():
    meter = Meter("anthropic")
    meter.observe({"input_tokens": 100, "output_tokens": 50})
    meter.observe({"input_tokens": 90, "output_tokens": 20})
    assert meter.usage == Usage(input_fresh=100, output_visible=50)
