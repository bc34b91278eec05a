"""Build rendered answers: frames to write, marks between them, and a tally."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import orjson

from gateway_project.lib.json import Json

# A vendor repeats itself: most text deltas of a long answer are among the first few different ones.
REMEMBERED_PIECES = 1024


class Mark(Enum):
    """A place between two frames where the sender or a fault may do something."""

    DELTA = 1
    """The next frame carries output. A paced stream waits here, except before its first output."""
    ENDING = 2
    """All output is out; what follows closes the answer."""
    FLUSH = 3
    """Write what has gathered, and go on in the next turn of the event loop."""


Frame = bytes | Mark
Frames = Iterator[Frame]


@dataclass(slots=True)
class StreamTally:
    """A running count of what was handed to the socket. Mutable: frames count as they are pulled."""

    events: int = 0
    text_bytes: int = 0
    usage: Json | None = None


def event(kind: str, fields: Json) -> bytes:
    """Frame a server-sent event whose `event:` line repeats the type in its JSON."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


def deltas(
    pieces: Iterable[str],
    before: bytes,
    after: bytes,
    marked: bool,
    tally: StreamTally | None = None,
) -> Frames:
    """Frame each piece: its JSON string between two fixed byte strings.

    This is the hot loop of a benchmark stream, so equal pieces are encoded once. Only pieces of visible
    text are given a tally to count in.
    """
    known: dict[str, tuple[bytes, int]] = {}
    for piece in pieces:
        entry = known.get(piece)
        if entry is None:
            entry = (before + orjson.dumps(piece) + after, len(piece.encode()))
            if len(known) < REMEMBERED_PIECES:
                known[piece] = entry
        if marked:
            yield Mark.DELTA
        if tally is not None:
            tally.text_bytes += entry[1]
        yield entry[0]
