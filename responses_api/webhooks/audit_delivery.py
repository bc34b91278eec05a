"""Hand the audit log on to the operator's webhook, signed like every other, at least once and in order.

A batch is of one chain. The receiver has it once it answered with success; until then it is sent again, with
the same id as long as it holds the same events.
"""

from __future__ import annotations

import hashlib
import logging

import orjson
from django.conf import settings

from gateway_project.lib import clock
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.secret import Secret
from responses_api.webhooks import sending, signing
from tenants.audit import chain, delivery
from tenants.audit.delivery import Batch

logger = logging.getLogger("tollgate.audit")

WEBHOOK = "webhook"
EVENT_TYPE = "audit.events"
TIMEOUT_SECONDS = 15.0


def is_behind() -> bool:
    return settings.AUDIT_WEBHOOK is not None and bool(delivery.behind(WEBHOOK))


async def send() -> None:
    """Send what the receiver does not have. If it refuses, the next round tries again."""
    url, secret = settings.AUDIT_WEBHOOK, settings.AUDIT_WEBHOOK_SECRET
    if url is None or secret is None:
        return
    for number in await in_database_thread(delivery.behind, WEBHOOK):
        while (batch := await in_database_thread(delivery.next_batch, WEBHOOK, number)) is not None:
            if error := await _post(batch, url, secret):
                logger.warning("the audit log's webhook does not take events: %s", error)
                return
            await in_database_thread(delivery.advance, batch)


async def _post(batch: Batch, url: Secret, secret: Secret) -> str:
    """Send a batch; return what went wrong, or nothing."""
    event_id, body = _event(batch)
    try:
        headers = signing.headers(event_id, body, [secret])
    except signing.UnusableSecret as error:
        return f"TOLLGATE_AUDIT_WEBHOOK_SECRET cannot be used: {error}"
    result = await sending.post(
        url.reveal(), body, headers, allow_private=True, timeout_seconds=TIMEOUT_SECONDS
    )
    return result.error


def _event(batch: Batch) -> tuple[str, bytes]:
    events = [{**chain.content(event), "hash": event.hash} for event in batch.events]
    named = f"{batch.chain} {batch.events[0].hash} {batch.events[-1].hash}"
    event_id = f"evt_{hashlib.sha256(named.encode()).hexdigest()[:48]}"
    payload = {
        "id": event_id,
        "object": "event",
        "created_at": int(clock.timestamp()),
        "type": EVENT_TYPE,
        "data": {"chain": batch.chain, "events": events},
    }
    return event_id, orjson.dumps(payload)
