"""Read and write the trace that a request is part of, as W3C Trace Context has it
(https://www.w3.org/TR/trace-context/).

What does not keep to the recommendation counts as absent, as it demands: a request is never refused for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

PARENT, STATE = b"traceparent", b"tracestate"
# What every program must pass on at least; a longer one is dropped whole.
MAX_STATE = 512
MAX_MEMBERS = 32
# A later version may add fields; nothing it adds is needed here.
MAX_PARENT = 256
# The digits of a trace id by which programs sample alike.
RANDOM_DIGITS = 14
_TRACES: int = 16**RANDOM_DIGITS

_PARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
    rb"(-[\x20-\x7e]*)?\Z"
)
_KEY = rb"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
_VALUE = rb"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(rb"(" + _KEY + rb")=" + _VALUE + rb"\Z")


class TraceContext(Struct, frozen=True):
    """The place of a span of ours in its trace.

    trace_id    32 hex digits
    span_id     16 hex digits: our span
    parent_id   the span it is part of; empty where the trace begins with us
    is_sampled  what whoever began the trace decided; None if it begins with us
    state       what other programs pass along, not for us to read
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    is_sampled: bool | None = None
    state: str = ""


def begin(request_id: str, headers: Iterable[tuple[bytes, bytes]], number: int = 0) -> TraceContext:
    """Return the context of a request: that of its client if it sent one, else a trace of its own, whose id
    is the request's without its prefix. `number` tells apart what is done for one request at two times."""
    span_id = span_of(request_id, number)
    parents = [value for name, value in headers if name == PARENT]
    if len(parents) == 1:
        states = [value for name, value in headers if name == STATE]
        if (found := parse(parents[0], states, span_id)) is not None:
            return found
    return TraceContext(request_id[4:], span_id)


def span_of(request_id: str, number: int) -> str:
    """Return the id of one of a request's spans: the end of the request's own, whose lowest 16 bits are free
    (ids.py), with the number of the span."""
    return f"{request_id[-16:-4]}{number:04x}"


def parse(parent: bytes, states: Iterable[bytes], span_id: str) -> TraceContext | None:
    """Return a span below the one that a `traceparent` names; None if it is not valid."""
    if len(parent) > MAX_PARENT:
        return None
    match = _PARENT.match(parent)
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == b"00" and more is not None:
        return None
    return TraceContext(
        trace_id.decode(),
        span_id,
        parent_id.decode(),
        is_sampled=bool(int(flags, 16) & 1),
        state=_state(states),
    )


def _state(lines: Iterable[bytes]) -> str:
    """Return what `tracestate` holds, as one line; empty if any of it is not valid."""
    whole = b",".join(lines)
    if len(whole) > MAX_STATE:
        return ""
    members = [member for part in whole.split(b",") if (member := part.strip(b" \t"))]
    keys = [match[1] for member in members if (match := _MEMBER.match(member))]
    if len(keys) != len(members) or len(set(keys)) != len(keys) or len(keys) > MAX_MEMBERS:
        return ""
    return b",".join(members).decode("ascii")


def headers(trace: TraceContext, span_id: str, *, is_sampled: bool) -> dict[str, str]:
    """Return the headers by which another program makes its spans parts of one of ours."""
    made = {"traceparent": f"00-{trace.trace_id}-{span_id}-0{int(is_sampled)}"}
    if trace.state:
        made["tracestate"] = trace.state
    return made


def is_within(ratio: float, trace_id: str) -> bool:
    """Tell whether a trace is one of the `ratio` that is sampled, alike in every program that goes by the
    same bits of its id."""
    return int(trace_id[-RANDOM_DIGITS:], 16) >= round((1 - ratio) * _TRACES)
