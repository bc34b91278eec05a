"""Count the structure of JSON before objects are made of it.

A million tiny lists cost a decoder a hundred times what the same bytes of text cost, and it holds the
interpreter meanwhile. So the bytes are looked at first, without a step of Python per byte:

    values   lists, objects and their entries: commas and opening brackets outside strings
    keys     colons outside strings
    depth    lists and objects within each other; of a smaller document `is_deeper` sees it afterwards

Text never counts, whatever it looks like. The cheap bound comes first: all such bytes, strings included.
Only where it exceeds a cap are the strings cut out. Both go slice by slice, so that an event loop can do
something else in between. A document of no more bytes than `values` allows is not looked at at all.
"""

from __future__ import annotations

import itertools
from asyncio import sleep
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import orjson
from msgspec import Struct

SLICE_BYTES = 64 * 1024
BOUND_SLICE_BYTES = 256 * 1024
# Up to here brackets are counted in less time than the document is written again.
COUNTED_BYTES = 16 * 1024
# Up to here it is written again to see its depth. Above, brackets are followed before it is decoded.
WRITTEN_BYTES = 4 * 1024 * 1024
# Requests get a few levels more on their way to an upstream and into an answer.
GREATEST_DEPTH = 200
# orjson writes this many levels, and reads four times as many.
WRITABLE_DEPTH = 254


class Caps(Struct, frozen=True):
    """The caps of a document.

    The defaults are at least 95 times what any recorded client sends, and 8 times for the depth
    (docs/request-size.md).

    `items` are items and messages, those of the history included; `parts` and `tools` count over the
    whole request. The code that reads requests counts these three, once they are decoded.
    """

    values: int = 200_000
    keys: int = 100_000
    depth: int = 128
    items: int = 10_000
    parts: int = 20_000
    tools: int = 2_000


class TooMuchStructure(Exception):
    """A document exceeds a cap. `cap` is the attribute of the caps, `most` its value."""

    def __init__(self, cap: str, most: int) -> None:
        super().__init__(f"more than {most} {cap}")
        self.cap = cap
        self.most = most


class Counts(Struct):
    """The counts so far. `opened` counts opening brackets, `level` those open now."""

    values: int = 0
    keys: int = 0
    opened: int = 0
    level: int = 0
    depth: int = 0

    def compare(self, caps: Caps) -> None:
        """Raise TooMuchStructure if a cap is exceeded."""
        if self.depth > caps.depth:
            raise TooMuchStructure("depth", caps.depth)
        if self.values > caps.values:
            raise TooMuchStructure("values", caps.values)
        if self.keys > caps.keys:
            raise TooMuchStructure("keys", caps.keys)


def check(caps: Caps, *documents: bytes) -> None:
    """Raise TooMuchStructure unless the documents together keep within the caps."""
    if sum(map(len, documents)) > caps.values:
        for _ in steps(caps, documents):
            pass


async def check_between(caps: Caps, document: bytes) -> None:
    """Check like `check`, on an event loop, which gets its turn after each slice."""
    if len(document) > caps.values:
        for _ in steps(caps, (document,)):
            await sleep(0)


def steps(caps: Caps, documents: Sequence[bytes]) -> Iterator[None]:
    """Count, yielding between slices. Raise TooMuchStructure."""
    bound = Counts()
    for document in documents:
        for start in range(0, len(document), BOUND_SLICE_BYTES):
            _add(document[start : start + BOUND_SLICE_BYTES], bound)
            may_be_deep = bound.opened > caps.depth and len(document) > WRITTEN_BYTES
            if bound.values > caps.values or bound.keys > caps.keys or may_be_deep:
                yield from _exact_steps(caps, documents)
                return
            yield


def _exact_steps(caps: Caps, documents: Sequence[bytes]) -> Iterator[None]:
    counts = Counts()
    for document in documents:
        counts.level = 0
        yield from _count_exactly(document, caps, counts)


def _count_exactly(raw: bytes, caps: Caps, counts: Counts) -> Iterator[None]:
    # In JSON every string is a key or a value: more quotes than that exceed a cap, or are not JSON.
    quotes = 2 * (caps.values + caps.keys + 1)
    start, is_in_string = 0, False
    while start < len(raw):
        piece = _slice(raw, start)
        start += len(piece)
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        found = piece.count(b'"')
        quotes -= found
        if quotes < 0:
            raise TooMuchStructure("values", caps.values)
        structure = b"".join(piece.split(b'"')[is_in_string::2])
        _add(structure, counts)
        _descend(structure, counts)
        is_in_string ^= found % 2 == 1
        counts.compare(caps)
        yield


def _slice(raw: bytes, start: int) -> bytes:
    """Return the next slice, cut so that it does not end within an escape."""
    piece = raw[start : start + SLICE_BYTES]
    trailing = len(piece) - len(piece.rstrip(b"\\"))
    return raw[start : start + SLICE_BYTES + 1] if trailing % 2 else piece


def _add(structure: bytes, counts: Counts) -> None:
    opened = structure.count(b"[") + structure.count(b"{")
    counts.opened += opened
    counts.values += structure.count(b",") + opened
    counts.keys += structure.count(b":")


def _descend(structure: bytes, counts: Counts) -> None:
    """Follow the nesting of the brackets."""
    steps = memoryview(structure.translate(_STEPS, _NO_BRACKETS)).cast("b")
    deepest = max(itertools.accumulate(steps, initial=counts.level))
    counts.depth = max(counts.depth, deepest)
    counts.level += sum(steps)


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes(
    1 if byte in b"[{" else 255 if byte in b"]}" else 0 for byte in range(256)
)  # 255 is -1


def is_deeper(decoded: Any, raw: bytes | str, most: int) -> bool:
    """Tell whether the nesting exceeds `most`; `decoded` was made of `raw`.

    Writing is the quickest way to see it: orjson writes a fixed number of levels and no more, and the
    lists wrapped around the document use up those that are not allowed.
    """
    if len(raw) > WRITTEN_BYTES or (len(raw) <= COUNTED_BYTES and _brackets(raw) <= most):
        return False
    for _ in range(WRITABLE_DEPTH - most):
        decoded = [decoded]
    try:
        orjson.dumps(decoded)
    except orjson.JSONEncodeError:
        return True
    return False


def is_json(text: str | bytes) -> bool:
    """Tell whether it is one complete JSON document, without making objects of it."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _brackets(raw: bytes | str) -> int:
    if isinstance(raw, str):
        return raw.count("[") + raw.count("{")
    return raw.count(b"[") + raw.count(b"{")
