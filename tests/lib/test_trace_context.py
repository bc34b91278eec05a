"""W3C trace context: what is understood, and that nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_project.lib import ids, trace_context
from gateway_project.lib.trace_context import MAX_STATE, TraceContext, begin, is_within, parse
from tests.plugins.tiers import examples

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"
SPAN = "1234567890abcdef"
ALPHABET = b"0123456789abcdefABCDEFgxz-_=,@ \t\r\n\0\xff"
DAMAGED = {
    "empty": "",
    "upper case": GOOD.upper(),
    "version ff": f"ff{GOOD[2:]}",
    "no trace": f"00-{'0' * 32}-{PARENT}-01",
    "no parent": f"00-{TRACE}-{'0' * 16}-01",
    "short": GOOD[:-1],
    "long": f"{GOOD}0",
    "more of version 00": f"{GOOD}-00",
    "space": f" {GOOD}",
    "line end": f"{GOOD}\n",
    "other digits": f"00-{'g' * 32}-{PARENT}-01",
    "underscores": GOOD.replace("-", "_"),
    "endless": f"01{GOOD[2:]}-{'x' * 10_000}",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_parent_is_none(name: str) -> None:
    assert parse(DAMAGED[name].encode(), [], SPAN) is None


def test_a_good_parent_is_read() -> None:
    assert parse(GOOD.encode(), [], SPAN) == TraceContext(TRACE, SPAN, PARENT, True, "")
    for flags, is_sampled in (("00", False), ("ff", True), ("02", False)):
        found = parse(f"{GOOD[:-2]}{flags}".encode(), [], SPAN)
        assert found is not None
        assert found.is_sampled is is_sampled


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    for later in (f"cc{GOOD[2:]}", f"01{GOOD[2:]}-what-comes-later"):
        found = parse(later.encode(), [], SPAN)
        assert found is not None
        assert (found.trace_id, found.parent_id) == (TRACE, PARENT)


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([b"a=1"], "a=1"),
        ([b"a=1, b=2 ", b"t@v=x y"], "a=1,b=2,t@v=x y"),
        ([b"a=1,,", b""], "a=1"),
        ([b"a=1,a=2"], ""),
        ([b"A=1"], ""),
        ([b"a"], ""),
        ([b"a=1=2"], ""),
        ([b"a=\x01"], ""),
        ([b"a=\xff"], ""),
        ([b",".join(b"k%d=v" % n for n in range(33))], ""),
        ([b"a=" + b"x" * MAX_STATE], ""),
    ],
)
def test_a_state_is_passed_on_whole_or_not_at_all(lines: list[bytes], kept: str) -> None:
    found = parse(GOOD.encode(), lines, SPAN)
    assert found is not None
    assert found.state == kept


@given(
    parent=st.binary(max_size=80) | st.lists(st.sampled_from(ALPHABET), max_size=80).map(bytes),
    state=st.binary(max_size=600) | st.lists(st.sampled_from(ALPHABET), max_size=60).map(bytes),
)
@settings(max_examples=examples(1000))
def test_whatever_comes_what_goes_on_is_well_formed(parent: bytes, state: bytes) -> None:
    for value in (parent, GOOD.encode()):
        found = begin(ids.request_id(), [(b"traceparent", value), (b"tracestate", state)])
        sent = trace_context.headers(found, SPAN, is_sampled=True)
        again = parse(sent["traceparent"].encode(), [sent.get("tracestate", "").encode()], SPAN)
        assert again is not None
        assert (again.trace_id, again.state) == (found.trace_id, found.state)
        assert len(sent.get("tracestate", "")) <= MAX_STATE
        assert all(text.isascii() and text.isprintable() for text in sent.values())


def test_two_parents_are_none() -> None:
    request_id = ids.request_id()
    found = begin(request_id, [(b"traceparent", GOOD.encode())] * 2)
    assert found == TraceContext(request_id.removeprefix("req_"), request_id[-16:])


def test_a_share_of_the_traces_that_begin_here_is_sampled() -> None:
    traces = [ids.request_id().removeprefix("req_") for _ in range(4000)]
    for ratio in (0.0, 0.1, 0.5, 1.0):
        kept = {trace for trace in traces if is_within(ratio, trace)}
        assert abs(len(kept) / len(traces) - ratio) < 0.05
        assert all(is_within(min(ratio + 0.1, 1.0), trace) for trace in kept)
