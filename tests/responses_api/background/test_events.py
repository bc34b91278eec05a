"""Numbers of kept events: one after the other, whatever the upstream counts and however it writes."""

from __future__ import annotations

import orjson
import pytest

from gateway_project.lib.sse import DONE
from responses_api.background.events import number_events
from responses_api.stream.events import event, keepalive

KIND = b"response.output_text.delta"


def test_what_is_numbered_right_is_not_touched():
    events = b"".join(event(KIND, n, {"delta": "é\u2028\\n"}) for n in range(4, 9))
    assert number_events(events, 4) == (events, 4, 8)


def test_other_numbers_are_replaced_and_nothing_else():
    events = b"".join(event(KIND, n, {"delta": '"sequence_number":7'}) for n in (0, 1, 5, 5, 90))
    expected = b"".join(event(KIND, n, {"delta": '"sequence_number":7'}) for n in range(3, 8))
    assert number_events(events, 3) == (expected, 3, 7)


@pytest.mark.parametrize(
    "data",
    [
        b'{ "type" : "x" , "sequence_number" :  12 , "a": {"sequence_number": 1}}',
        b'{"a": {"sequence_number": 1}, "sequence_number": 12, "type": "x"}',
        b'{"type":"x","a":{"sequence_number":1}}',
        b'{"sequence_number":3,"a":{"sequence_number":1},"type":"x"}',
        b'{"type":"x","sequence_number":"12","a":{"sequence_number":1}}',
    ],
)
def test_only_the_events_own_number_counts(data):
    found = number_events(b"event: x\ndata: " + data + b"\n\n", 3)
    assert (found.first, found.last) == (3, 3)
    read = orjson.loads(found.events.partition(b"\ndata: ")[2])
    assert read == {**orjson.loads(data), "sequence_number": 3}


def test_signs_of_life_and_the_end_of_the_stream_are_not_kept():
    events = keepalive(0) + event(KIND, 0, {}) + keepalive(0) + event(KIND, 1, {}) + DONE
    assert number_events(events, 0) == (event(KIND, 0, {}) + event(KIND, 1, {}), 0, 1)
    assert number_events(keepalive(0), 7) == (b"", 7, 6)
    assert number_events(DONE, 7) == (b"", 7, 6)
    assert number_events(b"", 7) == (b"", 7, 6)


@pytest.mark.parametrize("data", [b'{"type":1,"broken', b"[]", b"{}" + b"x", b"[" * 2000])
def test_what_cannot_be_read_leaves_no_gap(data):
    broken = b"event: x\ndata: " + data + b"\n\n"
    events = event(KIND, 0, {}) + broken + event(KIND, 2, {})
    assert number_events(events, 0) == (event(KIND, 0, {}) + event(KIND, 1, {}), 0, 1)
