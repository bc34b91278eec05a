"""Counting output by what passes by."""

from __future__ import annotations

import orjson

from responses_api.stream.tally import Tally, length_of_delta
from tests.plugins.cases import cases


@cases("text", ["In", "", "é", 'say "hi"', "a\\b", "line\nbreak", '{"a":"b"}'])
def test_the_length_of_a_delta_is_found_without_parsing(text: str) -> None:
    event = {
        "type": "response.output_text.delta",
        "delta": text,
        "logprobs": [],
        "obfuscation": "xyz",
    }
    assert length_of_delta(orjson.dumps(event)) == len(orjson.dumps(text)) - 2


def test_an_event_without_a_delta_has_no_length() -> None:
    assert length_of_delta(b'{"type":"response.created"}') == 0


def test_small_deltas_are_a_token_each_and_large_ones_a_token_per_four_bytes() -> None:
    tally = Tally()
    for _ in range(10):
        tally.add(2)
    assert tally.tokens == 10
    tally.add(400)
    assert tally.tokens == 105
