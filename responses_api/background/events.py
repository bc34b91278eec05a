"""The events of a run as bytes: numbered without a gap when they are kept, and read back in pages."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson
from django.db import connection

from responses_api.models import EventChunk

Json = dict[str, Any]

ITEM_DONE = b"event: response.output_item.done\n"
KEEPALIVE = b"event: keepalive\n"
END = b"\n\n"
PAGE_BYTES = 256 * 1024
PAGE_CHUNKS = 256

# How nearly all events begin. Elsewhere a number could be anybody's: a tool's argument, for example.
_NUMBERED = re.compile(
    rb'event: [^\n]+\ndata: \{\s*"type"\s*:\s*"[^"]*"\s*,\s*"sequence_number"\s*:\s*(\d+)'
)

# From the chunk that holds the wanted number, so that nothing before it is looked at.
_SIZES = """
SELECT "first", "last", LENGTH(events) FROM responses_api_eventchunk
WHERE tenant_id = %s AND run_id = %s AND "first" >= (
    SELECT COALESCE(MAX("first"), 0) FROM responses_api_eventchunk
    WHERE run_id = %s AND "first" <= %s
) AND "last" <= %s
ORDER BY "first" LIMIT %s
"""
_CHUNKS = """
SELECT events FROM responses_api_eventchunk
WHERE tenant_id = %s AND run_id = %s AND "first" BETWEEN %s AND %s ORDER BY "first"
"""


class Numbered(NamedTuple):
    """Whole events with the numbers `first` to `last`; `last` is before `first` where there are none."""

    events: bytes
    first: int
    last: int


def numbered(events: bytes, first: int) -> Numbered:
    """The events that are kept, counted from `first`: neither signs of life nor `[DONE]` are.

    They are only rewritten where an upstream counted otherwise.
    """
    kept: list[bytes] = []
    for event in events.split(END)[:-1]:
        if event.startswith((KEEPALIVE, b"data: ")):
            continue
        counted = _with_number(event, first + len(kept))
        if counted is not None:
            kept.append(counted)
    return Numbered(END.join([*kept, b""]) if kept else b"", first, first + len(kept) - 1)


def _with_number(event: bytes, number: int) -> bytes | None:
    """The event with this number; None for one that cannot be read or written again."""
    match = _NUMBERED.match(event)
    if match is None:
        return _parsed_with_number(event, number)
    if int(match[1]) == number:
        return event
    return b"%b%d%b" % (event[: match.start(1)], number, event[match.end(1) :])


def _parsed_with_number(event: bytes, number: int) -> bytes | None:
    name, _, data = event.partition(b"\ndata: ")
    try:
        fields = orjson.loads(data)
        if not isinstance(fields, dict):
            return None
        if fields.get("sequence_number") == number:
            return event
        return b"%b\ndata: %b" % (name, orjson.dumps({**fields, "sequence_number": number}))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None


def page(tenant_id: int, response_id: str, after: int, until: int) -> Numbered:
    """The kept events that follow number `after`, as many as make a page and none beyond `until`, which
    is where a chunk ends; none if there are no more."""
    wanted = after + 1
    with connection.cursor() as cursor:
        cursor.execute(_SIZES, (tenant_id, response_id, response_id, wanted, until, PAGE_CHUNKS))
        chunks = _that_fit([row for row in cursor.fetchall() if row[1] >= wanted])
        if not chunks:
            return Numbered(b"", wanted, after)
        first, last = chunks[0][0], chunks[-1][1]
        cursor.execute(_CHUNKS, (tenant_id, response_id, first, chunks[-1][0]))
        whole = b"".join(bytes(events) for (events,) in cursor.fetchall())
    return Numbered(_without(whole, max(wanted - first, 0)), wanted, last)


def _that_fit(chunks: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The first of (first, last, size) that make no more than a page; one at least."""
    total = 0
    for count, (_, _, size) in enumerate(chunks):
        total += size
        if total > PAGE_BYTES and count:
            return chunks[:count]
    return chunks


def _without(events: bytes, count: int) -> bytes:
    """The events but for the first `count` of them."""
    return events.split(END, count)[count] if count else events


def finished_items(tenant_id: int, response_id: str) -> list[Json]:
    """The output items that the kept events say were finished, in the order of the output."""
    found: dict[int, Json] = {}
    chunks = EventChunk.objects.filter(tenant=tenant_id, run=response_id).order_by("first")
    for chunk in chunks.values_list("events", flat=True).iterator():
        whole = bytes(chunk)
        if ITEM_DONE not in whole:
            continue
        for event in whole.split(END):
            if event.startswith(ITEM_DONE):
                match orjson.loads(event.partition(b"\ndata: ")[2]):
                    case {"output_index": int(index), "item": dict(item)}:
                        found[index] = item
    return [found[index] for index in sorted(found)]
