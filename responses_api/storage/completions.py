"""Store and read chat completions of one tenant. Another tenant's completion counts as unknown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson
from django.db.models import BooleanField, Func, Q, QuerySet, Value

from gateway_project.lib.errors import NotFound
from gateway_project.lib.json import Json
from responses_api.models import StoredCompletion
from responses_api.storage.id_shapes import is_completion_id
from responses_api.storage.pages import build_list, inline_bytes
from responses_api.storage.pieces import LARGE_BYTES, Pieces, Segment, Stored, with_sizes
from responses_api.storage.query import Paging, unknown_cursor


def completion_not_found() -> NotFound:
    """Return the same error for a completion that is unknown, deleted, another tenant's, or not an id at
    all."""
    return NotFound("No such chat completion: it was never stored, was deleted, or has expired.")


def stored_body(completion: Json) -> bytes:
    """Return the completion as it is stored: without the metadata, which a client may replace."""
    return orjson.dumps({name: completion[name] for name in completion if name != "metadata"})


def retrieve(tenant_id: int, completion_id: str) -> Pieces:
    """Return the completion as JSON. Raise NotFound."""
    rows = with_sizes(_mine(tenant_id, completion_id), "body", LARGE_BYTES)
    row = rows.values_list("pk", "size", "inline", "metadata").first()
    if row is None:
        raise completion_not_found()
    return Pieces(_whole(tenant_id, *row))


def update(tenant_id: int, completion_id: str, metadata: dict[str, str]) -> Pieces:
    """Replace the metadata; return the completion as JSON. Raise NotFound."""
    _mine(tenant_id, completion_id).update(metadata=metadata)
    return retrieve(tenant_id, completion_id)


def delete(tenant_id: int, completion_id: str) -> None:
    """Delete the completion. Raise NotFound."""
    deleted, _ = _mine(tenant_id, completion_id).delete()
    if not deleted:
        raise completion_not_found()


def page(tenant_id: int, paging: Paging, model: str | None, metadata: dict[str, str]) -> Pieces:
    """Return a page of the tenant's completions, in order of creation, in two queries.

    `model` and `metadata` filter by equality. Raise BadRequest.
    """
    rows = StoredCompletion.objects.filter(tenant_id=tenant_id)
    if model is not None:
        rows = rows.filter(model=model) if "\0" not in model else rows.none()
    for key, value in metadata.items():
        rows = rows.filter(_HasPair("metadata", Value(key), Value(value)))
    if paging.after:
        rows = rows.filter(_beyond(_moment(tenant_id, paging.after), paging))
    order = ("created_at", "id") if paging.ascending else ("-created_at", "-id")
    sized = with_sizes(rows, "body", inline_bytes(paging)).order_by(*order)
    found = sized.values_list("id", "size", "inline", "metadata")[: paging.limit + 1]
    return build_list(((row[0], _whole(tenant_id, *row)) for row in found), paging)


def messages(tenant_id: int, completion_id: str, paging: Paging) -> Pieces:
    """Return a page of the messages the completion answered. Raise NotFound or BadRequest."""
    body = _mine(tenant_id, completion_id).values_list("messages", flat=True).first()
    if body is None:
        raise completion_not_found()
    found = list(_messages(completion_id, orjson.loads(bytes(body))))
    if not paging.ascending:
        found.reverse()
    if paging.after:
        names = [message_id for message_id, _ in found]
        if paging.after not in names:
            raise unknown_cursor()
        found = found[names.index(paging.after) + 1 :]
    return build_list(
        ((message_id, [orjson.dumps(message)]) for message_id, message in found), paging
    )


def _mine(tenant_id: int, completion_id: str) -> QuerySet[StoredCompletion]:
    if not is_completion_id(completion_id):
        return StoredCompletion.objects.none()
    return StoredCompletion.objects.filter(tenant_id=tenant_id, pk=completion_id)


def _whole(
    tenant_id: int, pk: str, size: int, inline: bytes | memoryview | None, metadata: Json
) -> list[Segment]:
    """Return the stored completion with its metadata in place of the closing brace."""
    stored = Stored(StoredCompletion, tenant_id, pk, "body", size)
    body = stored.cut(0, size - 1) if inline is None else bytes(inline)[:-1]
    return [body, b',"metadata":%b}' % orjson.dumps(metadata)]


def _moment(tenant_id: int, completion_id: str) -> tuple[datetime, str]:
    """Return the place of a completion in the order of all."""
    row = _mine(tenant_id, completion_id).values_list("created_at", "id").first()
    if row is None:
        raise unknown_cursor()
    return row


def _beyond(place: tuple[datetime, str], paging: Paging) -> Q:
    """Select what follows a place in the direction of reading; the first condition is for the index."""
    moment, pk = place
    way = "gt" if paging.ascending else "lt"
    later = {f"created_at__{way}": moment}
    return Q(**{f"created_at__{way}e": moment}) & (
        Q(**later) | Q(created_at=moment, **{f"id__{way}": pk})
    )


def _messages(completion_id: str, messages: list[Json]) -> Iterator[tuple[str, Json]]:
    """Give messages ids, as OpenAI lists them, and move content that was sent as parts into a field of its
    own."""
    for position, message in enumerate(messages):
        message_id = f"{completion_id}-{position}"
        content = message.get("content")
        parts = content if isinstance(content, list) else None
        text = None if parts is not None else content
        yield (
            message_id,
            {**message, "id": message_id, "content": text, "content_parts": parts},
        )


class _HasPair(Func):
    """A condition: a JSON object of texts holds this pair.

    Django's own look-ups read parts of a key as operators and digits as positions in a list, and their
    `contains` does not exist on SQLite.
    """

    output_field = BooleanField()

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, Any]:
        pair = "EXISTS (SELECT 1 FROM json_each({}) WHERE key = {} AND atom = {})"
        return self._filled(pair, compiler)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, Any]:
        return self._filled("{} @> jsonb_build_object({}::text, {}::text)", compiler)

    def _filled(self, template: str, compiler: Any) -> tuple[str, list[Any]]:
        compiled = [compiler.compile(expression) for expression in self.get_source_expressions()]
        params = [param for _, some in compiled for param in some]
        return template.format(*(sql for sql, _ in compiled)), params
