"""What is written when a call has ended, and how: plain SQL, because this runs for every stored call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection
from django.db.backends.utils import CursorWrapper
from msgspec import Struct

from gateway_project.lib import clock
from gateway_project.lib.errors import NotFound
from responses_api.compaction.request import TRIGGER
from responses_api.conversations import Entry, append_entries
from responses_api.models import StoredItem
from responses_api.storage.completions import kept
from responses_api.storage.items import distinct, identified
from responses_api.storage.writer import writes

Json = dict[str, Any]

INPUT, OUTPUT = StoredItem.Side.INPUT.value, StoredItem.Side.OUTPUT.value


class Keeping(Struct, frozen=True):
    """Whose response it is, what it continues and what it was given; known before it is made.

    `own_input` are the items of this request alone, with ids; `root_id` is empty where it begins a chain.
    """

    tenant_id: int
    key_public_id: str
    model: str
    retention_days: int
    own_input: list[Json]
    parent_id: str = ""
    root_id: str = ""
    conversation_id: str = ""
    conversation_until: int = 0


class ResponseRecord(Struct, frozen=True):
    """A response that has ended; `provider` answered it."""

    keeping: Keeping
    response: Json
    provider: str


class CompletionRecord(Struct, frozen=True):
    """A chat completion to keep, with the messages it answered."""

    tenant_id: int
    key_public_id: str
    retention_days: int
    completion: Json
    messages: list[Json]
    metadata: dict[str, str]


_INSERT_RESPONSE = """
INSERT INTO responses_api_storedresponse (id, tenant_id, parent_id, root_id, conversation_id,
    conversation_until, key_public_id, model, provider, status, background, body, created_at,
    expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_INSERT_ITEM = """
INSERT INTO responses_api_storeditem (tenant_id, response_id, side, position, item_id, body)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_INSERT_COMPLETION = """
INSERT INTO responses_api_storedcompletion (id, tenant_id, key_public_id, model, metadata, messages,
    body, created_at, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


@writes(ResponseRecord)
def write_responses(cursor: CursorWrapper, records: Sequence[ResponseRecord]) -> Sequence[None]:
    now = clock.now()
    responses, items = [], []
    for record in records:
        responses.append(response_row(record.keeping, record.response, record.provider, now))
        items += item_rows(record.keeping, record.response)
    cursor.executemany(_INSERT_RESPONSE, responses)
    cursor.executemany(_INSERT_ITEM, items)
    # Conversations are locked in the same order by every process; turns of one stay in theirs.
    for record in sorted(records, key=lambda record: record.keeping.conversation_id):
        if record.keeping.conversation_id:
            keeping = record.keeping
            turn = (keeping.own_input, record.response, record.provider)
            append_turn(keeping.tenant_id, keeping.conversation_id, *turn)
    return [None] * len(records)


@writes(CompletionRecord)
def write_completions(cursor: CursorWrapper, records: Sequence[CompletionRecord]) -> Sequence[None]:
    now = clock.now()
    cursor.executemany(_INSERT_COMPLETION, [_completion_row(record, now) for record in records])
    return [None] * len(records)


def response_row(keeping: Keeping, response: Json, provider: str, now: datetime) -> tuple[Any, ...]:
    """The row of a response, in the order of `_INSERT_RESPONSE`."""
    return (
        response["id"],
        keeping.tenant_id,
        keeping.parent_id,
        keeping.root_id or response["id"],
        keeping.conversation_id,
        keeping.conversation_until,
        keeping.key_public_id,
        keeping.model[:300],
        provider,
        response["status"],
        bool(response.get("background")),
        body_of(response),
        moment(now),
        moment(now + timedelta(days=keeping.retention_days)),
    )


def insert_response(cursor: CursorWrapper, keeping: Keeping, response: Json, provider: str) -> None:
    """One response with its items, in the transaction that is under way."""
    cursor.execute(_INSERT_RESPONSE, response_row(keeping, response, provider, clock.now()))
    cursor.executemany(_INSERT_ITEM, item_rows(keeping, response))


def body_of(response: Json) -> bytes:
    """The Response without its output, whose items are rows of their own. That it has `output_text` is
    kept, the text is not: the items hold it."""
    body = {name: value for name, value in response.items() if name != "output"}
    if "output_text" in body:
        body["output_text"] = None
    return orjson.dumps(body)


def item_rows(keeping: Keeping, response: Json) -> list[tuple[Any, ...]]:
    """The rows of all its items, in the order of `_INSERT_ITEM`."""
    given = _rows_of(keeping.tenant_id, response["id"], INPUT, keeping.own_input)
    return given + output_rows(keeping.tenant_id, response)


def output_rows(tenant_id: int, response: Json) -> list[tuple[Any, ...]]:
    return _rows_of(tenant_id, response["id"], OUTPUT, map(identified, response["output"]))


def _rows_of(
    tenant_id: int, response_id: str, side: int, items: Iterable[Json]
) -> list[tuple[Any, ...]]:
    return [
        (tenant_id, response_id, side, position, item["id"], orjson.dumps(item))
        for position, item in enumerate(items)
    ]


def insert_output(cursor: CursorWrapper, tenant_id: int, response: Json) -> None:
    """The output's items alone, where the input was kept before."""
    cursor.executemany(_INSERT_ITEM, output_rows(tenant_id, response))


def append_turn(
    tenant_id: int, conversation_id: str, own_input: list[Json], response: Json, provider: str
) -> None:
    """What a response was given and gave, at the end of its conversation; nothing if that was deleted,
    and nothing for a response that failed, as what it was given may be sent again."""
    if response["status"] not in {"completed", "incomplete"}:
        return
    given = [Entry(item) for item in own_input]
    gave = [Entry(identified(item), provider) for item in response["output"]]
    with suppress(NotFound):
        append_entries(tenant_id, conversation_id, given + gave)


def own_input(given: Any) -> list[Json]:
    """A request's input as it is kept: a list of items with ids, without the wish to be compacted."""
    if not given:
        return []
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": given}]
    return distinct(item for item in given if item.get("type") != TRIGGER)


def moment(value: datetime) -> Any:
    """A point in time as the database's driver takes it."""
    return connection.ops.adapt_datetimefield_value(value)


def _completion_row(record: CompletionRecord, now: datetime) -> tuple[Any, ...]:
    completion = record.completion
    return (
        completion["id"],
        record.tenant_id,
        record.key_public_id,
        str(completion.get("model"))[:300],
        orjson.dumps(record.metadata).decode(),
        orjson.dumps(record.messages),
        kept(completion),
        moment(now),
        moment(now + timedelta(days=record.retention_days)),
    )
