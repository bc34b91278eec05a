"""Stored responses and what belongs to them, as the gateway would have written them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson

from gateway_project.lib import clock, ids
from responses_api.models import (
    Conversation,
    ConversationItem,
    EventChunk,
    Run,
    StoredItem,
    StoredResponse,
)
from tenants.models import Tenant

DAY = timedelta(days=1)


def message(said: str) -> tuple[str, bytes]:
    """An output message: its id and body."""
    item_id = ids.item_id("msg")
    content = [{"type": "output_text", "text": said, "annotations": []}]
    item = {"id": item_id, "type": "message", "role": "assistant", "content": content}
    return item_id, orjson.dumps(item)


def response(
    tenant: Tenant,
    *,
    said: str = "Hello",
    after: StoredResponse | None = None,
    expires_at: datetime | None = None,
    items: int = 1,
    status: str = "completed",
    **fields: Any,
) -> StoredResponse:
    """A response with as many items as asked for, the first response of a chain or one `after` another."""
    response_id = ids.response_id()
    row = StoredResponse.objects.create(
        id=response_id,
        tenant=tenant,
        parent_id=after.pk if after else "",
        root_id=after.root_id if after else response_id,
        key_public_id="abcdefghij",
        status=status,
        body=orjson.dumps({"id": response_id, "object": "response", "note": said}),
        expires_at=expires_at or clock.now() + 30 * DAY,
        **fields,
    )
    for position in range(items):
        item_id, body = message(said)
        StoredItem.objects.create(
            tenant=tenant,
            response=row,
            side=StoredItem.Side.OUTPUT,
            position=position,
            item_id=item_id,
            body=body,
        )
    return row


def run(row: StoredResponse) -> Run:
    """The run that made a response, with two chunks of events."""
    made = Run.objects.create(tenant=row.tenant, response=row, status=row.status, streams=True)
    for first in (0, 10):
        EventChunk.objects.create(
            tenant=row.tenant, run=made, first=first, last=first + 9, events=b"data: {}\n\n"
        )
    return made


def conversation(tenant: Tenant, *said: str) -> Conversation:
    row = Conversation.objects.create(
        id=ids.item_id("conv"), tenant=tenant, next_position=len(said)
    )
    for position, text in enumerate(said):
        item_id, body = message(text)
        ConversationItem.objects.create(
            tenant=tenant, conversation=row, position=position, item_id=item_id, body=body
        )
    return row
