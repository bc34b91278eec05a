"""Write what a call leaves behind when it has ended: plain SQL, because this runs for every stored call."""

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
from gateway_project.lib.json import Json
from responses_api.compaction.request import TRIGGER
from responses_api.models import StoredItem
from responses_api.storage.completions import stored_body
from responses_api.storage.conversations import Entry, append_entries
from responses_api.storage.items import identify_all, identify_item
from routing.protocols.shared.envelope import Maker

INPUT, OUTPUT = StoredItem.Side.INPUT.value, StoredItem.Side.OUTPUT.value


class StoreSpec(Struct, frozen=True):
    """The place of a response before it is made: its tenant, what it continues and what it was given.

    `own_input` are the items of this request alone, with ids; `root_id` is empty if it begins a chain.
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
    """A response that has ended; `maker` answered it."""

    store_spec: StoreSpec
    response: Json
    maker: Maker


class CompletionRecord(Struct, frozen=True):
    """A chat completion to store, with the messages it answered."""

    tenant_id: int
    key_public_id: str
    retention_days: int
    completion: Json
    messages: list[Json]
    metadata: dict[str, str]


_INSERT_RESPONSE = """
INSERT INTO responses_api_storedresponse (id, tenant_id, parent_id, root_id, conversation_id,
    conversation_until, key_public_id, model, provider, account, status, background, body,
    created_at, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
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


def write_responses(cursor: CursorWrapper, records: Sequence[ResponseRecord]) -> Sequence[None]:
    now = clock.now()
    responses, items = [], []
    for record in records:
        responses.append(response_row(record.store_spec, record.response, record.maker, now))
        items += item_rows(record.store_spec, record.response)
    cursor.executemany(_INSERT_RESPONSE, responses)
    cursor.executemany(_INSERT_ITEM, items)
    # Conversations are locked in the same order by every process; turns of one stay in theirs.
    for record in sorted(records, key=lambda record: record.store_spec.conversation_id):
        if record.store_spec.conversation_id:
            store_spec = record.store_spec
            turn = (store_spec.own_input, record.response, record.maker)
            append_turn(store_spec.tenant_id, store_spec.conversation_id, *turn)
    return [None] * len(records)


def write_completions(cursor: CursorWrapper, records: Sequence[CompletionRecord]) -> Sequence[None]:
    now = clock.now()
    cursor.executemany(_INSERT_COMPLETION, [_completion_row(record, now) for record in records])
    return [None] * len(records)


def response_row(
    store_spec: StoreSpec, response: Json, maker: Maker, now: datetime
) -> tuple[Any, ...]:
    """Return the row of a response, in the order of `_INSERT_RESPONSE`."""
    return (
        response["id"],
        store_spec.tenant_id,
        store_spec.parent_id,
        store_spec.root_id or response["id"],
        store_spec.conversation_id,
        store_spec.conversation_until,
        store_spec.key_public_id,
        store_spec.model[:300],
        maker.provider,
        maker.account,
        response["status"],
        bool(response.get("background")),
        body_of(response),
        moment(now),
        moment(now + timedelta(days=store_spec.retention_days)),
    )


def insert_response(
    cursor: CursorWrapper, store_spec: StoreSpec, response: Json, maker: Maker
) -> None:
    """Insert one response with its items in the current transaction."""
    cursor.execute(_INSERT_RESPONSE, response_row(store_spec, response, maker, clock.now()))
    cursor.executemany(_INSERT_ITEM, item_rows(store_spec, response))


def body_of(response: Json) -> bytes:
    """Return the Response without its output, whose items are rows of their own. That it has `output_text`
    is stored, the text is not: the items hold it."""
    body = {name: value for name, value in response.items() if name != "output"}
    if "output_text" in body:
        body["output_text"] = None
    return orjson.dumps(body)


def item_rows(store_spec: StoreSpec, response: Json) -> list[tuple[Any, ...]]:
    """Return the rows of all its items, in the order of `_INSERT_ITEM`."""
    given = _rows_of(store_spec.tenant_id, response["id"], INPUT, store_spec.own_input)
    return given + output_rows(store_spec.tenant_id, response)


def output_rows(tenant_id: int, response: Json) -> list[tuple[Any, ...]]:
    return _rows_of(tenant_id, response["id"], OUTPUT, map(identify_item, response["output"]))


def _rows_of(
    tenant_id: int, response_id: str, side: int, items: Iterable[Json]
) -> list[tuple[Any, ...]]:
    return [
        (tenant_id, response_id, side, position, item["id"], orjson.dumps(item))
        for position, item in enumerate(items)
    ]


def insert_output(cursor: CursorWrapper, tenant_id: int, response: Json) -> None:
    """Insert the output's items alone, if the input was stored before."""
    cursor.executemany(_INSERT_ITEM, output_rows(tenant_id, response))


def append_turn(
    tenant_id: int, conversation_id: str, own_input: list[Json], response: Json, maker: Maker
) -> None:
    """Append what a response was given and gave to its conversation; nothing if that was deleted, and
    nothing for a failed response, because its input may be sent again."""
    if response["status"] not in {"completed", "incomplete"}:
        return
    given = [Entry(item) for item in own_input]
    gave = [Entry(identify_item(item), maker) for item in response["output"]]
    with suppress(NotFound):
        append_entries(tenant_id, conversation_id, given + gave)


def own_input(given: Any) -> list[Json]:
    """Return a request's input as it is stored: a list of items with ids, without the request to compact."""
    if not given:
        return []
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": given}]
    return identify_all(item for item in given if item.get("type") != TRIGGER)


def moment(value: datetime) -> Any:
    """Convert a point in time for the database's driver."""
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
        stored_body(completion),
        moment(now),
        moment(now + timedelta(days=record.retention_days)),
    )
