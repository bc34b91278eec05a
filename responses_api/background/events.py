"""Number the events of a run without gaps, store them as bytes, and read them back in pages."""

from __future__ import annotations

import re
from typing import NamedTuple

import orjson
from django.db import connection

from gateway_project.lib.json import Json
from responses_api.models import EventChunk

ITEM_DONE = b"event: response.output_item.done\n"
KEEPALIVE = b"event: keepalive\n"
END = b"\n\n"
PAGE_BYTES = 256 * 1024
PAGE_CHUNKS = 256

# Nearly all events begin like this. A number elsewhere could be anything, such as a tool's argument.
_NUMBERED = re.compile(
    rb'event: [^\n]+\ndata: \{\s*"type"\s*:\s*"[^"]*"\s*,\s*"sequence_number"\s*:\s*(\d+)'
)

# Starts with the chunk that holds the wanted number, so that no earlier one is read.
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


class NumberedEvents(NamedTuple):
    """A run of whole events, numbered `first` to `last`; without events, `last` is `first` - 1."""

    events: bytes
    first: int
    last: int


def number_events(events: bytes, first: int) -> NumberedEvents:
    """Return the events to store, numbered from `first`; keep-alives and `[DONE]` are not stored.

    An event is rewritten only if the upstream numbered it differently.
    """
    stored: list[bytes] = []
    for event in events.split(END)[:-1]:
        if event.startswith((KEEPALIVE, b"data: ")):
            continue
        counted = _with_number(event, first + len(stored))
        if counted is not None:
            stored.append(counted)
    return NumberedEvents(
        END.join([*stored, b""]) if stored else b"", first, first + len(stored) - 1
    )


def _with_number(event: bytes, number: int) -> bytes | None:
    """Return the event with this number; None if it cannot be read or written again."""
    match = _NUMBERED.match(event)
    if match is None:
        return _parse_with_number(event, number)
    if int(match[1]) == number:
        return event
    return b"%b%d%b" % (event[: match.start(1)], number, event[match.end(1) :])


def _parse_with_number(event: bytes, number: int) -> bytes | None:
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


def page(tenant_id: int, response_id: str, after: int, until: int) -> NumberedEvents:
    """Return a page of the stored events that follow number `after`, none beyond `until`, where a chunk
    ends. Empty if there are no more."""
    wanted = after + 1
    with connection.cursor() as cursor:
        cursor.execute(_SIZES, (tenant_id, response_id, response_id, wanted, until, PAGE_CHUNKS))
        chunks = _take_page([row for row in cursor.fetchall() if row[1] >= wanted])
        if not chunks:
            return NumberedEvents(b"", wanted, after)
        first, last = chunks[0][0], chunks[-1][1]
        cursor.execute(_CHUNKS, (tenant_id, response_id, first, chunks[-1][0]))
        whole = b"".join(bytes(events) for (events,) in cursor.fetchall())
    return NumberedEvents(_drop_first(whole, max(wanted - first, 0)), wanted, last)


def _take_page(chunks: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return the first of (first, last, size) that fit into a page, at least one."""
    total = 0
    for count, (_, _, size) in enumerate(chunks):
        total += size
        if total > PAGE_BYTES and count:
            return chunks[:count]
    return chunks


def _drop_first(events: bytes, count: int) -> bytes:
    """Drop the first `count` events."""
    return events.split(END, count)[count] if count else events


def finished_items(tenant_id: int, response_id: str) -> list[Json]:
    """Return the output items that the stored events report as finished, in output order."""
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
