"""Rows of what a tenant has stored, as calls that completed leave them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import orjson

from gateway_project.lib import clock, ids
from responses_api.models import EventChunk, Run, StoredCompletion, StoredItem, StoredResponse
from responses_api.storage import completions
from responses_api.storage.items import identify_all
from responses_api.stream import response as response_object
from tests.support.rows import Customer

Json = dict[str, Any]

MODEL = "sandbox-responses"


def user(text: str, **fields: Any) -> Json:
    return {"type": "message", "role": "user", "content": text, **fields}


def assistant(text: str, **fields: Any) -> Json:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "role": "assistant", "content": [part], **fields}


def response(
    of: Customer,
    *given: Json,
    output: Iterable[Json] = (),
    status: str = "completed",
    provider: str = "sandbox",
    background: bool = False,
) -> Json:
    """A stored Response; the answer is what GET must say."""
    response_id = ids.response_id()
    made = identify_all(output)
    begun = response_object.in_progress({"store": True}, response_id, MODEL, 1_700_000_000)
    ended = response_object.ended(begun, made, None, {}, 1_700_000_001, None)
    whole = {**ended, "status": status, "background": background, "store": True}
    StoredResponse.objects.create(
        id=response_id,
        tenant=of.tenant,
        root_id=response_id,
        key_public_id=of.key.public_id,
        model=MODEL,
        provider=provider,
        status=status,
        background=background,
        body=orjson.dumps({name: whole[name] for name in whole if name != "output"}),
        expires_at=clock.now() + timedelta(days=30),
    )
    _items(of, response_id, StoredItem.Side.INPUT, identify_all(given))
    _items(of, response_id, StoredItem.Side.OUTPUT, made)
    return whole


def run(of: Customer, response_id: str, status: str, events: bytes = b"data: {}\n\n") -> Run:
    """The run of a stored response, with one chunk of events."""
    place = {"tenant": of.tenant, "response_id": response_id}
    row = Run.objects.create(**place, status=status, streams=True, last_number=0)
    EventChunk.objects.create(tenant=of.tenant, run=row, first=0, last=0, events=events)
    return row


def completion(
    of: Customer,
    *messages: Json,
    answer: str = "Hello",
    model: str = "sandbox-chat",
    seconds: int = 0,
    metadata: dict[str, str] | None = None,
) -> Json:
    """A stored chat completion, made so many seconds later than others; the answer is what GET must say."""
    completion_id = ids.completion_id()
    message = {"role": "assistant", "content": answer, "refusal": None}
    whole = {
        "id": completion_id,
        "object": "chat.completion",
        "created": 1_700_000_000 + seconds,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "metadata": metadata or {},
    }
    StoredCompletion.objects.create(
        id=completion_id,
        tenant=of.tenant,
        key_public_id=of.key.public_id,
        model=model,
        metadata=whole["metadata"],
        messages=orjson.dumps(messages or [{"role": "user", "content": "Hi"}]),
        body=completions.stored_body(whole),
        created_at=clock.now() + timedelta(seconds=seconds),
        expires_at=clock.now() + timedelta(days=30),
    )
    return whole


def _items(of: Customer, response_id: str, side: StoredItem.Side, items: list[Json]) -> None:
    StoredItem.objects.bulk_create(
        StoredItem(
            tenant=of.tenant,
            response_id=response_id,
            side=side,
            position=position,
            item_id=item["id"],
            body=orjson.dumps(item),
        )
        for position, item in enumerate(items)
    )
