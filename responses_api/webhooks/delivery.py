"""Deliver events that are due: claim them, send them, and record the result.

Several processes may do this at the same time. A delivery is claimed by compare-and-set, which counts the
attempt and puts the next one off until the claim's lease is over; the result is written only while that
attempt is still the last one. So every attempt is made once, and one whose process died is made again.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet, Window
from django.db.models.functions import RowNumber

from gateway_project.lib import clock, ids
from gateway_project.lib.cache import StoreUnavailable
from gateway_project.lib.db import in_database_thread
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError
from gateway_project.lib.secret import Secret
from responses_api.models import WebhookDelivery, WebhookEndpoint
from responses_api.validators import TEST_EVENT
from responses_api.webhooks import endpoints, sending, signing
from responses_api.webhooks.sending import DeliveryResult

logger = logging.getLogger("tollgate.webhooks")

TIMEOUT_SECONDS = 15.0
LEASE = timedelta(seconds=60)
AT_ONCE = 50
# One endpoint that answers slowly must leave room for the others.
AT_ONCE_PER_ENDPOINT = 8
# After each failed attempt; with the last one an event is given up, close to three days old.
PAUSES = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(hours=24),
    timedelta(hours=24),
)
# A pause is shorter or longer by up to this part, so that deliveries that failed together spread out.
JITTER = 0.1

State = WebhookDelivery.State


@dataclass(frozen=True, slots=True)
class DeliveryClaim:
    """A delivery that is ours to attempt. `problem` says why it cannot be sent at all, `is_once` that it is
    not attempted again: somebody waits for its outcome."""

    delivery_id: UUID
    attempt: int
    endpoint_id: UUID
    url: str
    allow_private: bool
    event_id: str
    body: bytes
    secrets: tuple[Secret, ...]
    problem: str
    is_once: bool = False


async def deliver_due(limit: int = AT_ONCE, timeout_seconds: float = TIMEOUT_SECONDS) -> int:
    """Attempt up to `limit` due deliveries, all at the same time; return how many there were."""
    claims = await in_database_thread(claim_due, limit)
    await asyncio.gather(*(_attempt(claim, timeout_seconds) for claim in claims))
    return len(claims)


def is_any_due() -> bool:
    """Return whether a delivery is due: one look into an index that holds pending deliveries only."""
    return _due(clock.now()).exists()


def send_again(deliveries: QuerySet[WebhookDelivery]) -> int:
    """Put ended deliveries on their way once more, with all attempts; return how many there were."""
    return deliveries.exclude(state=State.PENDING).update(
        state=State.PENDING, attempts=0, next_attempt_at=clock.now(), ended_at=None
    )


def _due(now: datetime) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(state=State.PENDING, next_attempt_at__lte=now)


def claim_due(limit: int) -> list[DeliveryClaim]:
    now = clock.now()
    place = Window(RowNumber(), partition_by=F("endpoint"), order_by=("next_attempt_at", "pk"))
    due = _due(now).annotate(place=place).filter(place__lte=AT_ONCE_PER_ENDPOINT)
    rows = list(due.select_related("endpoint").order_by("next_attempt_at", "pk")[:limit])
    with transaction.atomic():
        return [_load_claimed(row) for row in rows if _take(row, now)]


def claim_at_once(row: WebhookDelivery) -> DeliveryClaim | None:
    """Claim a delivery without waiting for the next round; None if a round was faster."""
    with transaction.atomic():
        return _load_claimed(row) if _take(row, clock.now()) else None


def _take(row: WebhookDelivery, now: datetime) -> bool:
    as_seen = WebhookDelivery.objects.filter(
        pk=row.pk, state=State.PENDING, attempts=row.attempts, next_attempt_at=row.next_attempt_at
    )
    return as_seen.update(attempts=row.attempts + 1, next_attempt_at=now + LEASE) == 1


def _load_claimed(row: WebhookDelivery) -> DeliveryClaim:
    secrets, problem = _secrets(row.endpoint)
    return DeliveryClaim(
        delivery_id=row.pk,
        attempt=row.attempts + 1,
        endpoint_id=row.endpoint_id,
        url=row.endpoint.url,
        allow_private=row.endpoint.allow_private_network,
        event_id=row.event_id,
        body=bytes(row.payload),
        secrets=secrets,
        problem=problem if row.endpoint.enabled else "The endpoint is disabled.",
        is_once=row.event_type == TEST_EVENT,
    )


def _secrets(endpoint: WebhookEndpoint) -> tuple[tuple[Secret, ...], str]:
    try:
        return endpoints.signing_secrets(endpoint), ""
    except (SealError, KeyringError) as error:
        logger.error("the secret of webhook endpoint %s cannot be opened: %s", endpoint.pk, error)
        return (), "The endpoint's secret cannot be opened; rotate it."


async def _attempt(claim: DeliveryClaim, timeout_seconds: float) -> None:
    answer = await send(claim, timeout_seconds)
    try:
        await in_database_thread(record_result, claim, answer)
    except StoreUnavailable:
        logger.error(
            "webhook %s: the result was not written, so the event is sent again", claim.event_id
        )


async def send(claim: DeliveryClaim, timeout_seconds: float) -> DeliveryResult:
    """Send what was claimed; asks no database."""
    if claim.problem:
        return DeliveryResult(None, claim.problem)
    try:
        headers = signing.headers(claim.event_id, claim.body, claim.secrets)
    except signing.UnusableSecret as error:
        return DeliveryResult(None, str(error))
    return await sending.post(
        claim.url,
        claim.body,
        headers,
        allow_private=claim.allow_private,
        timeout_seconds=timeout_seconds,
    )


def record_result(claim: DeliveryClaim, answer: DeliveryResult) -> None:
    """Write the result, unless the delivery has meanwhile been claimed or put on its way again."""
    now = clock.now()
    if answer.is_gone:
        _disable(claim.endpoint_id)
    if not answer.error:
        outcome = {"state": State.DELIVERED, "ended_at": now}
    elif claim.is_once or claim.attempt > len(PAUSES) or not _is_enabled(claim.endpoint_id):
        outcome = {"state": State.GIVEN_UP, "ended_at": now}
        logger.warning("webhook %s given up: %s", claim.event_id, answer.error)
    else:
        outcome = {"next_attempt_at": now + _pause(claim.attempt)}
    mine = WebhookDelivery.objects.filter(
        pk=claim.delivery_id, state=State.PENDING, attempts=claim.attempt
    )
    mine.update(last_status=answer.status, last_error=answer.error, **outcome)


def _disable(endpoint_id: UUID) -> None:
    """Disable an endpoint that said that it is gone for good."""
    if WebhookEndpoint.objects.filter(pk=endpoint_id, enabled=True).update(enabled=False):
        logger.warning("webhook endpoint %s answered 410 and is disabled", endpoint_id)


def _is_enabled(endpoint_id: UUID) -> bool:
    return WebhookEndpoint.objects.filter(pk=endpoint_id, enabled=True).exists()


def _pause(attempt: int) -> timedelta:
    chance = int.from_bytes(ids.random_bytes(2)) / 0xFFFF
    return PAUSES[attempt - 1] * (1 - JITTER + 2 * JITTER * chance)
