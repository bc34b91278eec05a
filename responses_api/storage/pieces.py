"""Send large stored JSON to a client: read it from the database piece by piece, as the client takes it.

Otherwise clients that ask and do not read could fill the memory with whole answers.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db.models import BinaryField, Case, F, Model, QuerySet, When
from django.db.models.functions import Length, Substr
from msgspec import Struct

from gateway_project.lib import memory
from gateway_project.lib.db import in_database_thread

# Answers up to this size are built as a whole.
LARGE_BYTES = 256 * 1024
PIECE_BYTES = 1024 * 1024


class RowIsGone(Exception):
    """The row was deleted while it was being sent. The answer cannot be completed."""


class Stored(Struct, frozen=True):
    """`size` bytes of a row's column, from `first` on; `is_whole` if that is the whole column."""

    model: type[Model]
    tenant_id: int
    pk: Any
    column: str
    size: int
    first: int = 0
    is_whole: bool = True

    def cut(self, first: int, size: int) -> Stored:
        """Return a part of these bytes."""
        is_whole = self.is_whole and size == self.size
        place = (self.model, self.tenant_id, self.pk, self.column)
        return Stored(*place, size, self.first + first, is_whole)


Segment = bytes | Stored


class Pieces:
    """An answer as segments: bytes in memory, and bytes still in the database."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self.segments = list(segments)
        self.held = sum(len(one) for one in self.segments if isinstance(one, bytes))
        self.size = self.held + sum(one.size for one in self.segments if isinstance(one, Stored))

    def whole(self) -> bytes:
        """Read everything. For the thread of a view."""
        return b"".join(map(_read, self._batches()))

    async def sent(self) -> AsyncIterator[bytes]:
        """Yield piece by piece, each read when the one before was taken. Raise RowIsGone or
        StoreUnavailable."""
        for batch in self._batches():
            yield await in_database_thread(_read, batch)

    def _batches(self) -> Iterator[list[Segment]]:
        batch: list[Segment] = []
        size = 0
        for segment in itertools.chain.from_iterable(map(_slices, self.segments)):
            length = len(segment) if isinstance(segment, bytes) else segment.size
            if batch and size + length > PIECE_BYTES:
                yield batch
                batch, size = [], 0
            batch.append(segment)
            size += length
        if batch:
            yield batch


def _slices(segment: Segment) -> Iterator[Segment]:
    size = len(segment) if isinstance(segment, bytes) else segment.size
    if size <= PIECE_BYTES:
        yield segment
        return
    for first in range(0, size, PIECE_BYTES):
        count = min(PIECE_BYTES, size - first)
        yield cut(segment, first, count)


def _read(batch: list[Segment]) -> bytes:
    rows = _whole_rows([one for one in batch if isinstance(one, Stored) and one.is_whole])
    return b"".join(
        one if isinstance(one, bytes) else rows[one] if one.is_whole else _part(one)
        for one in batch
    )


def _whole_rows(wanted: list[Stored]) -> dict[Stored, bytes]:
    """Read columns as a whole, in one query for those of a table."""
    found: dict[Stored, bytes] = {}
    for (model, tenant_id, column), group in itertools.groupby(wanted, _table):
        of_table = {one.pk: one for one in group}
        rows = model._default_manager.filter(tenant_id=tenant_id, pk__in=of_table)
        found |= {of_table[pk]: bytes(value) for pk, value in rows.values_list("pk", column)}
    if any(one not in found for one in wanted):
        raise RowIsGone
    return found


def _table(one: Stored) -> tuple[type[Model], int, str]:
    return one.model, one.tenant_id, one.column


def _part(one: Stored) -> bytes:
    rows = one.model._default_manager.filter(tenant_id=one.tenant_id, pk=one.pk)
    part = Substr(F(one.column), one.first + 1, one.size, output_field=BinaryField())
    found = rows.values_list(part, flat=True).first()
    if found is None or len(found) != one.size:
        raise RowIsGone
    return bytes(found)


def cut(segment: Segment, first: int, size: int) -> Segment:
    """Return a part of a segment."""
    if isinstance(segment, bytes):
        return segment[first : first + size]
    return segment.cut(first, size)


def read(one: Stored) -> bytes:
    """Read the whole segment at once."""
    return _read([one])


@contextmanager
def large_work() -> Iterator[None]:
    """Enter the section for work that needs a large value as a whole: one thread at a time, and the memory
    it used is given back to the system."""
    with _large_work:
        try:
            yield
        finally:
            memory.give_back()


_large_work = threading.Lock()


def with_sizes(rows: QuerySet[Any], column: str, inline: int) -> QuerySet[Any]:
    """Add the column's `size` to the rows, and its value as `inline` if that is no larger than so many
    bytes."""
    value = Case(When(size__lte=inline, then=F(column)), output_field=BinaryField())
    sized: QuerySet[Any] = rows.annotate(size=Length(column), inline=value)
    return sized


def segment(of: Stored, inline: bytes | memoryview | None) -> Segment:
    """Return the value if it was read already, otherwise its place in the database."""
    return of if inline is None else bytes(inline)


def join_lists(lists: Iterable[Iterable[Segment]]) -> Iterator[Segment]:
    """Join segments, with commas between those of each entry."""
    for position, segments in enumerate(lists):
        if position:
            yield b","
        yield from segments
