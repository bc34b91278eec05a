"""Server-Sent Events as bytes: an incremental parser and a framer.

The parser follows the WHATWG rules (lines end with LF, CRLF or CR; a leading BOM is dropped; comments,
`id:` and `retry:` are ignored) on bytes, so that text which merely looks like a line end (U+2028, U+0085)
is never touched and nothing is decoded. The common case, events of one `data:` line after the same `event:`
line or none, LF only, costs one split for all of them. Where lines are long, as in events that carry a whole
Response with its tools, their ends are looked for one by one: that skips the text between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import repeat
from typing import NamedTuple

from gateway_project.lib import structure
from gateway_project.lib.structure import Caps, TooMuchStructure

BOM = b"\xef\xbb\xbf"
MAX_EVENT_BYTES = 8 * 1024 * 1024
# Lines are long where fewer end among the first bytes than one for so many.
SAMPLE_BYTES = 2048
LONG_LINE_BYTES = 512
# More than twice as fast as the method `split`, which is slow where what separates is short.
_split_events = re.compile(rb"\n\n").split
EVENT_CAPS = Caps(values=1_000_000, keys=1_000_000)


class Frame(NamedTuple):
    """One event: its name (empty if none was given) and its data lines joined by LF."""

    event: bytes
    data: bytes


# What `Frame(event, data)` does, without its wrapper in Python: half the time, once for every event.
_new_frame: Callable[[tuple[bytes, bytes]], Frame] = partial(tuple.__new__, Frame)


class EventTooLarge(ValueError):
    """An event exceeded the size cap before it ended, or has too much structure."""


class Parser:
    """An incremental parser: feed it chunks cut anywhere; it returns the events they complete."""

    __slots__ = ("_at_start", "_caps", "_max_bytes", "_pending", "_size", "_skip_lf")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES, caps: Caps = EVENT_CAPS) -> None:
        """Set the limits; `caps` bound the JSON of one event."""
        self._max_bytes = max_event_bytes
        self._caps = caps
        self._pending: list[bytes] = []  # pieces of the unfinished event, none holding a blank line
        self._size = 0
        self._skip_lf = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the events completed by `chunk`. Raise EventTooLarge."""
        if self._at_start or self._skip_lf or b"\r" in chunk:
            chunk = self._normalise(chunk)
        if not chunk:
            return []
        if self._pending:
            chunk = self._join(chunk)
        if len(chunk) <= self._caps.values:
            events, _, rest = chunk.rpartition(b"\n\n")
            self._keep(rest)
            return _frames(events)
        *blocks, rest = _split_events(chunk)
        self._keep(rest)
        self._check(blocks)
        return _frames_of_blocks(blocks)

    def finish(self) -> list[Frame]:
        """Return the last event when the stream ended right after a complete line; a torn line is
        dropped.
        """
        rest = b"".join(self._pending)
        self._pending, self._size = [], 0
        if not rest.endswith(b"\n"):
            return []
        self._check([rest])
        frame = _frame(rest)
        return [frame] if frame is not None else []

    def _check(self, blocks: list[bytes]) -> None:
        """Raise EventTooLarge before an event with too many values is decoded into objects."""
        try:
            for block in blocks:
                structure.check(self._caps, block)
        except TooMuchStructure as error:
            raise EventTooLarge(f"An event has {error}.") from None

    def _normalise(self, chunk: bytes) -> bytes:
        """Strip the BOM and turn every line end into LF. A CR counts at once; an LF right after it is
        skipped.
        """
        if self._at_start and chunk:
            chunk = self._strip_bom(chunk)
            if not chunk:
                return chunk
        if self._skip_lf and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._skip_lf = False
        if chunk.endswith(b"\r"):
            self._skip_lf = True
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _strip_bom(self, chunk: bytes) -> bytes:
        """Return the chunk without its BOM once it is known whether there is one; nothing until then."""
        chunk = b"".join((*self._pending, chunk))
        self._pending, self._size = [], 0
        if len(chunk) < len(BOM) and BOM.startswith(chunk):
            self._pending = [chunk]
            return b""
        self._at_start = False
        return chunk.removeprefix(BOM)

    def _join(self, chunk: bytes) -> bytes:
        """Put the unfinished event before the chunk, but only when that can complete it.

        A large event arrives in many chunks: joining at each would copy it again and again.
        """
        straddles = self._pending[-1].endswith(b"\n") and chunk.startswith(b"\n")
        if not straddles and b"\n\n" not in chunk:
            self._append(chunk)
            return b""
        joined = b"".join((*self._pending, chunk))
        self._pending, self._size = [], 0
        return joined

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._append(rest)

    def _append(self, piece: bytes) -> None:
        self._pending.append(piece)
        self._size += len(piece)
        if self._size > self._max_bytes:
            raise EventTooLarge(f"An event is larger than {self._max_bytes} bytes.")


def _frames(events: bytes) -> list[Frame]:
    """Return the events (LF only, without the blank line after the last)."""
    sample = min(len(events), SAMPLE_BYTES)
    if events.count(b"\n", 0, sample) * LONG_LINE_BYTES < sample:
        return _frames_of_long_lines(events)
    if (frames := _frames_alike(events)) is not None:
        return frames
    return _frames_of_blocks(_split_events(events))


def _frames_of_blocks(blocks: list[bytes]) -> list[Frame]:
    return [frame for block in blocks if (frame := _frame(block)) is not None]


def _frames_of_long_lines(events: bytes) -> list[Frame]:
    frames: list[Frame] = []
    lines: list[bytes] = []
    event, start = b"", 0
    while start <= len(events):
        end = events.find(b"\n", start)
        if end < 0:
            end = len(events)
        if end == start:
            _dispatch(event, lines, frames)
            event, lines = b"", []
        elif events.startswith(b"data: ", start):
            lines.append(events[start + 6 : end])
        elif events.startswith(b"event: ", start):
            event = events[start + 7 : end]
        else:
            event = _take_line(events[start:end], event, lines)
        start = end + 1
    _dispatch(event, lines, frames)
    return frames


def _dispatch(event: bytes, lines: list[bytes], frames: list[Frame]) -> None:
    """Add the event that these lines make, if they hold data."""
    if lines:
        data = lines[0] if len(lines) == 1 else b"\n".join(lines)
        frames.append(_new_frame((event, data)))


def _take_line(line: bytes, event: bytes, lines: list[bytes]) -> bytes:
    """Add the line if it is one of data; return the event's name, which it may tell."""
    field, _, value = line.partition(b":")
    value = value.removeprefix(b" ")
    if field == b"data":
        lines.append(value)
    return value if field == b"event" else event


def _frames_alike(events: bytes) -> list[Frame] | None:
    """Return events that all have the name of the first and one line of data (LF only), as most that come
    together do; None if there is any other, which takes a look at each."""
    begin = events.find(b"data: ")
    if begin == 0:
        event, lines = b"", 1
    elif events[:7] == b"event: " and events.find(b"\n") == begin - 1:
        event, lines = events[7 : begin - 1], 2
    else:
        return None
    head = events[: begin + 6]
    end = events.find(b"\n", begin)
    if end >= 0 and not events.startswith(b"\n\n" + head, end):
        return None  # the second one is different already
    found = events[begin + 6 :].split(b"\n\n" + head)
    if events.count(b"\n") != (len(found) - 1) * (lines + 1) + lines - 1:
        return None
    return list(map(_new_frame, zip(repeat(event), found)))


def _frame(block: bytes) -> Frame | None:
    """Return an event from its lines (LF only); None if it holds no data, as a block of comments."""
    if block[:6] == b"data: ":
        if b"\n" not in block:
            return _new_frame((b"", block[6:]))
    elif block[:7] == b"event: ":
        end = block.find(b"\n")
        if block.startswith(b"data: ", end + 1) and block.find(b"\n", end + 1) < 0:
            return _new_frame((block[7:end], block[end + 7 :]))
    return _frame_of_lines(block)


def _frame_of_lines(block: bytes) -> Frame | None:
    lines: list[bytes] = []
    event = b""
    for line in block.split(b"\n"):
        event = _take_line(line, event, lines)
    return Frame(event, b"\n".join(lines)) if lines else None


def data_event(data: bytes) -> bytes:
    """Frame an event without a name, as Chat Completions sends them. `data` is JSON."""
    return b"data: " + (_one_line(data) if b"\n" in data else data) + b"\n\n"


def named_event(name: bytes, data: bytes) -> bytes:
    """Frame an event with a name, as the Responses API sends them. `data` is JSON."""
    return b"event: " + name + b"\ndata: " + (_one_line(data) if b"\n" in data else data) + b"\n\n"


def _one_line(data: bytes) -> bytes:
    """Remove line ends: in JSON they can only stand between tokens, in an event they would end the data."""
    return data.replace(b"\n", b" ")


DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"
