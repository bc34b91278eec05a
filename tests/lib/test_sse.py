"""The SSE parser gives the same events wherever its input is cut (docs/wire.md 2.2)."""

from __future__ import annotations

import re

import pytest

from gateway_project.lib.sse import (
    COMMENT,
    DONE,
    MAX_EVENT_BYTES,
    EventTooLarge,
    Frame,
    Parser,
    data_event,
    named_event,
)
from tests.plugins.cases import cases, each_value

LINE_ENDS = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
FILLER = "".join(f'event: response.output_text.delta\ndata: {{"n":{n}}}\n\n' for n in range(13))
# Each about 2 kB: what is special, among plain events.
SPECIALS = {
    "plain": 'event: a\ndata: {"x":1}\n\ndata: [DONE]\n\n',
    "line separator U+2028": 'data: {"text":"one\u2028two\u2029three"}\n\n',
    "next line U+0085": 'data: {"text":"one\u0085two\u000b\u000c\u001c\u001d\u001ethree"}\n\n',
    "emoji": 'event: grüße\ndata: {"text":"👩‍👩‍👧‍👦 — ü 日本語"}\n\n',
    "a byte order mark inside": 'data: {"text":"\ufeff"}\n\n\ufeffdata: not a field\n\ndata: yes\n\n',
    "data in several lines": 'event: many\ndata: {"a":\ndata:  1,\ndata:\ndata: "b": 2}\n\n',
    "comments": ": keep-alive\n\n:\n\ndata: 1\n: within\ndata: 2\n\n:\n:\n\n",
    "id and retry": "id: 7\nretry: 10\nevent: a\ndata: 1\nid\n\nid: 8\n\nretry: x\n\ndata: 2\n\n",
    "no space after the colon": 'data:{"x":1}\n\nevent:a\ndata:  two spaces\n\ndata:\tTab\n\n',
    "fields without a colon": "data\n\ndata\ndata\n\nevent\ndata: x\n\nnonsense\ndata: y\n\n",
    "an event name alone": "event: lost\n\ndata: unnamed\n\n",
    "the last name counts": "event: first\nevent: second\ndata: x\n\ndata: y\nevent: after\n\n",
    "names that only begin alike": "dataset: 1\nevents: 2\n data: 3\ndata: 4\n\nDATA: 5\n\n",
    "blank lines": "\n\n\n\ndata: 1\n\n\n\n\ndata: 2\n\n\n",
}
BOM = b"\xef\xbb\xbf"


def spelled(special: str, line_end: bytes, *, bom: bool = False) -> bytes:
    text = FILLER + SPECIALS[special] + FILLER
    return (BOM if bom else b"") + text.encode().replace(b"\n", line_end)


def naive(stream: bytes) -> list[Frame]:
    """The events of a whole stream, by the letter of the specification and as slow as it likes.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """
    events, name, data = [], b"", b""
    *lines, _ = re.split(rb"\r\n|\n|\r", stream.removeprefix(BOM))
    for line in lines:
        if line == b"":
            if data != b"":
                events.append(Frame(name, data.removesuffix(b"\n")))
            name, data = b"", b""
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value
        elif field == b"data":
            data += value + b"\n"
    return events


def parsed(*chunks: bytes) -> list[Frame]:
    parser = Parser()
    return [frame for chunk in chunks for frame in parser.feed(chunk)]


@each_value
@cases("line_end", LINE_ENDS)
@cases("special", SPECIALS)
def test_events_are_the_same_wherever_the_stream_is_cut(special, line_end):
    stream = spelled(special, LINE_ENDS[line_end])
    expected = naive(stream)
    for cut in range(len(stream) + 1):
        assert parsed(stream[:cut], stream[cut:]) == expected, f"cut at {cut}"


@cases("line_end", LINE_ENDS)
@cases("special", SPECIALS)
def test_events_are_the_same_byte_by_byte(special, line_end):
    stream = spelled(special, LINE_ENDS[line_end], bom=True)
    assert parsed(*(stream[n : n + 1] for n in range(len(stream)))) == naive(stream)


@cases("size", [2, 3, 5, 7, 64, 1000])
@cases("line_end", LINE_ENDS)
@cases("special", SPECIALS)
def test_events_are_the_same_in_chunks_of_any_size(special, line_end, size):
    stream = spelled(special, LINE_ENDS[line_end])
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert parsed(*chunks) == naive(stream)


@cases("size", [700, 5_000, 1_000_000])
@cases("line_end", LINE_ENDS)
@cases("special", SPECIALS)
def test_events_are_the_same_between_events_with_long_lines(special, line_end, size):
    long = f'event: response.created\ndata: {{"text":"{"x" * 9_000}"}}\n\n'
    stream = (long + SPECIALS[special] + long).encode().replace(b"\n", LINE_ENDS[line_end])
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    assert parsed(*chunks) == naive(stream)


@cases("line_end", LINE_ENDS)
def test_a_leading_byte_order_mark_is_dropped_wherever_it_is_cut(line_end):
    stream = spelled("plain", LINE_ENDS[line_end], bom=True)
    expected = naive(stream)
    for first in range(5):
        for second in range(first, 6):
            assert parsed(stream[:first], stream[first:second], stream[second:]) == expected


def test_line_ends_may_be_mixed_and_cut_anywhere():
    stream = b"data: 1\r\n\ndata: 2\r\r\ndata: 3\n\r\ndata: 4\r\n\r\ndata: 5\n\ndata: 6\r\rx"
    expected = naive(stream)
    assert len(expected) == 6
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            chunks = stream[:first], stream[first:second], stream[second:]
            assert parsed(*chunks) == expected, (first, second)


def test_the_expected_events_are_the_right_ones():
    """The naive reader is right about what it is used to decide."""
    assert naive(b"event: a\r\ndata:1\r\ndata: 2\r\n\r\n: no\r\rdata\n\nid: 4\n\ndata: torn") == [
        Frame(b"a", b"1\n2"),
        Frame(b"", b""),
    ]


# The end of the stream


def test_an_event_whose_blank_line_is_missing_counts_when_its_last_line_is_whole():
    parser = Parser()
    assert parser.feed(b"data: 1\n\nevent: e\ndata: 2\n") == [Frame(b"", b"1")]
    assert parser.finish() == [Frame(b"e", b"2")]


@cases("line_end", LINE_ENDS)
def test_the_last_line_may_end_in_any_way(line_end):
    parser = Parser()
    assert parser.feed(b"data: 2" + LINE_ENDS[line_end]) == []
    assert parser.finish() == [Frame(b"", b"2")]


def test_a_torn_line_takes_its_event_with_it():
    parser = Parser()
    assert parser.feed(b'data: 1\ndata: {"torn') == []
    assert parser.finish() == []


def test_nothing_is_left_after_whole_events():
    parser = Parser()
    assert parser.feed(b"data: 1\n\n: comment\n\n") == [Frame(b"", b"1")]
    assert parser.finish() == []


def test_the_end_is_given_once():
    parser = Parser()
    parser.feed(b"data: 1\n")
    assert parser.finish() == [Frame(b"", b"1")]
    assert parser.finish() == []


def test_an_empty_stream_and_half_a_byte_order_mark_hold_no_event():
    assert Parser().finish() == []
    parser = Parser()
    assert parser.feed(b"") == []
    assert parser.feed(b"\xef\xbb") == []
    assert parser.finish() == []


# The cap


def test_an_event_that_grows_beyond_the_cap_is_refused():
    parser = Parser(max_event_bytes=100)
    assert parser.feed(b"data: " + b"x" * 90) == []
    with pytest.raises(EventTooLarge, match="larger than 100 bytes"):
        parser.feed(b"x" * 10)


def test_the_cap_is_for_one_event_and_not_for_the_stream():
    parser = Parser(max_event_bytes=100)
    event = b"data: " + b"x" * 90 + b"\n\n"
    chunks = [event[:50], event[50:] + event[:50], event[50:]] * 50
    assert sum(len(parser.feed(chunk)) for chunk in chunks) == 100


def test_small_chunks_count_together():
    parser = Parser(max_event_bytes=100)
    for _ in range(10):
        assert parser.feed(b"data: 890\n") == []
    with pytest.raises(EventTooLarge):
        parser.feed(b"d")


def test_the_cap_of_a_real_parser_is_eight_megabytes():
    event = b"data: " + b"x" * (MAX_EVENT_BYTES - 10)
    parser = Parser()
    assert parser.feed(event) == []
    assert [len(frame.data) for frame in parser.feed(b"\n\n")] == [MAX_EVENT_BYTES - 10]


# What we write


@cases(
    ("written", "events"),
    [
        (data_event(b'{"a":1}'), [Frame(b"", b'{"a":1}')]),
        (named_event(b"response.created", b"{}"), [Frame(b"response.created", b"{}")]),
        (DONE, [Frame(b"", b"[DONE]")]),
        (COMMENT, []),
    ],
)
def test_what_is_written_reads_as_what_was_meant(written, events):
    assert naive(written) == events
    assert parsed(written) == events
