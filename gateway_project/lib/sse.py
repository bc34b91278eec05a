"""Server-Sent Events as bytes: an incremental parser and a framer.

The parser follows the WHATWG rules (lines end with LF, CRLF or CR; a leading BOM is dropped; comments,
`id:` and `retry:` are ignored) on bytes, so that text which merely looks like a line end (U+2028, U+0085)
is never touched and nothing is decoded. The common case, an event of one `data:` line after an optional
`event:` line, LF only, costs a split and a slice.
"""

from __future__ import annotations

from typing import NamedTuple

from gateway_project.lib import structure
from gateway_project.lib.structure import Caps, TooMuchStructure

BOM = b"\xef\xbb\xbf"
MAX_EVENT_BYTES = 8 * 1024 * 1024
EVENT_CAPS = Caps(values=1_000_000, keys=1_000_000)


class Frame(NamedTuple):
    """One event: its name (empty if none was given) and its data lines joined by LF."""

    event: bytes
    data: bytes


class EventTooLarge(ValueError):
    """An event grew beyond the cap before it ended, or has too much structure."""


class Parser:
    """Feed it chunks cut anywhere; it gives the events they complete."""

    __slots__ = ("_at_start", "_caps", "_max_bytes", "_pending", "_size", "_skip_lf")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES, caps: Caps = EVENT_CAPS) -> None:
        """`caps`: of the JSON in one event."""
        self._max_bytes = max_event_bytes
        self._caps = caps
        self._pending: list[bytes] = []  # pieces of the unfinished event, none holding a blank line
        self._size = 0
        self._skip_lf = False
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Frame]:
        """The events completed by `chunk`. Raises EventTooLarge."""
        if self._at_start or self._skip_lf or b"\r" in chunk:
            chunk = self._normalised(chunk)
        if not chunk:
            return []
        if self._pending:
            chunk = self._join(chunk)
        *blocks, rest = chunk.split(b"\n\n")
        self._keep(rest)
        if len(chunk) > self._caps.values:
            self._check(blocks)
        return [frame for block in blocks if (frame := _frame(block)) is not None]

    def finish(self) -> list[Frame]:
        """The last event when the stream ended right after a complete line; a torn line is dropped."""
        rest = b"".join(self._pending)
        self._pending, self._size = [], 0
        if not rest.endswith(b"\n"):
            return []
        self._check([rest])
        frame = _frame(rest)
        return [frame] if frame is not None else []

    def _check(self, blocks: list[bytes]) -> None:
        """Raise EventTooLarge before anybody makes objects of what has too many values."""
        try:
            for block in blocks:
                structure.check(self._caps, block)
        except TooMuchStructure as error:
            raise EventTooLarge(f"An event has {error}.") from None

    def _normalised(self, chunk: bytes) -> bytes:
        """Without the BOM, every line end as LF. A CR counts at once; an LF right after it is skipped."""
        if self._at_start and chunk:
            chunk = self._without_bom(chunk)
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

    def _without_bom(self, chunk: bytes) -> bytes:
        """The chunk once it is known whether the stream begins with a BOM; nothing until then."""
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


def _frame(block: bytes) -> Frame | None:
    """An event from its lines (LF only); None if it holds no data, as a block of comments."""
    if block.startswith(b"data: "):
        if b"\n" not in block:
            return Frame(b"", block[6:])
    elif block.startswith(b"event: "):
        end = block.find(b"\n")
        if block.startswith(b"data: ", end + 1) and block.find(b"\n", end + 1) < 0:
            return Frame(block[7:end], block[end + 7 :])
    return _frame_of_lines(block)


def _frame_of_lines(block: bytes) -> Frame | None:
    event, lines = b"", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            event = value
    return Frame(event, b"\n".join(lines)) if lines else None


def data_event(data: bytes) -> bytes:
    """An event without a name, as Chat Completions sends them. `data` is JSON."""
    return b"data: " + (_one_line(data) if b"\n" in data else data) + b"\n\n"


def named_event(name: bytes, data: bytes) -> bytes:
    """An event with a name, as the Responses API sends them. `data` is JSON."""
    return b"event: " + name + b"\ndata: " + (_one_line(data) if b"\n" in data else data) + b"\n\n"


def _one_line(data: bytes) -> bytes:
    """In JSON a line end can only stand between tokens; in an event it would end the data."""
    return data.replace(b"\n", b" ")


DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"
