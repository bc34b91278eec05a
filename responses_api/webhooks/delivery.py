"""Delivering what is due: claimed, sent, and the outcome written down.

Several processes may do this at the same time. A delivery is claimed by compare-and-set, which counts the
attempt and puts the next one off until the claim's lease is over; the outcome is written only while that
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
from responses_api.webhooks import endpoints, sending, signing
from responses_api.webhooks.sending import Answer

logger = logging.getLogger("tollgate.webhooks")

TIMEOUT_SECONDS = 15.0
LEASE = timedelta(seconds=60)
AT_ONCE = 50
# So that one endpoint that answers slowly leaves room for the others.
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
# A pause is this much shorter or longer, by chance, so that what failed together does not return together.
JITTER = 0.1

State = WebhookDelivery.State


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that is ours to attempt. `problem` says why it cannot be sent at all."""

    delivery_id: UUID
    attempt: int
    endpoint_id: UUID
    url: str
    allow_private: bool
    event_id: str
    body: bytes
    secrets: tuple[Secret, ...]
    problem: str


async def deliver_due(limit: int = AT_ONCE, timeout_seconds: float = TIMEOUT_SECONDS) -> int:
    """Attempt up to `limit` due deliveries, all at the same time; how many there were."""
    claims = await in_database_thread(_claim_due, limit)
    await asyncio.gather(*(_attempt(claim, timeout_seconds) for claim in claims))
    return len(claims)


def is_any_due() -> bool:
    """One look into an index that holds pending deliveries only."""
    return _due(clock.now()).exists()


def send_again(deliveries: QuerySet[WebhookDelivery]) -> int:
    """Put those that have ended on their way once more, with all attempts; how many there were."""
    return deliveries.exclude(state=State.PENDING).update(
        state=State.PENDING, attempts=0, next_attempt_at=clock.now(), ended_at=None
    )


def _due(now: datetime) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(state=State.PENDING, next_attempt_at__lte=now)


def _claim_due(limit: int) -> list[Claim]:
    now = clock.now()
    place = Window(RowNumber(), partition_by=F("endpoint"), order_by=("next_attempt_at", "pk"))
    due = _due(now).annotate(place=place).filter(place__lte=AT_ONCE_PER_ENDPOINT)
    rows = list(due.select_related("endpoint").order_by("next_attempt_at", "pk")[:limit])
    with transaction.atomic():
        return [_claimed(row) for row in rows if _take(row, now)]


def _take(row: WebhookDelivery, now: datetime) -> bool:
    as_seen = WebhookDelivery.objects.filter(
        pk=row.pk, state=State.PENDING, attempts=row.attempts, next_attempt_at=row.next_attempt_at
    )
    return as_seen.update(attempts=row.attempts + 1, next_attempt_at=now + LEASE) == 1


def _claimed(row: WebhookDelivery) -> Claim:
    secrets, problem = _secrets(row.endpoint)
    return Claim(
        delivery_id=row.pk,
        attempt=row.attempts + 1,
        endpoint_id=row.endpoint_id,
        url=row.endpoint.url,
        allow_private=row.endpoint.allow_private_network,
        event_id=row.event_id,
        body=bytes(row.payload),
        secrets=secrets,
        problem=problem if row.endpoint.enabled else "The endpoint is disabled.",
    )


def _secrets(endpoint: WebhookEndpoint) -> tuple[tuple[Secret, ...], str]:
    try:
        return endpoints.signing_secrets(endpoint), ""
    except (SealError, KeyringError) as error:
        logger.error("the secret of webhook endpoint %s cannot be opened: %s", endpoint.pk, error)
        return (), "The endpoint's secret cannot be opened; rotate it."


async def _attempt(claim: Claim, timeout_seconds: float) -> None:
    answer = await _answer(claim, timeout_seconds)
    try:
        await in_database_thread(_record, claim, answer)
    except StoreUnavailable:
        logger.error("webhook %s: outcome not written, it is sent again", claim.event_id)


async def _answer(claim: Claim, timeout_seconds: float) -> Answer:
    if claim.problem:
        return Answer(None, claim.problem)
    try:
        headers = signing.headers(claim.event_id, claim.body, claim.secrets)
    except signing.UnusableSecret as error:
        return Answer(None, str(error))
    return await sending.post(
        claim.url,
        claim.body,
        headers,
        allow_private=claim.allow_private,
        timeout_seconds=timeout_seconds,
    )


def _record(claim: Claim, answer: Answer) -> None:
    """Write the outcome, unless the delivery has meanwhile been claimed or put on its way again."""
    now = clock.now()
    if answer.is_gone:
        _disable(claim.endpoint_id)
    if not answer.error:
        outcome = {"state": State.DELIVERED, "ended_at": now}
    elif claim.attempt > len(PAUSES) or not _is_enabled(claim.endpoint_id):
        outcome = {"state": State.GIVEN_UP, "ended_at": now}
        logger.warning("webhook %s given up: %s", claim.event_id, answer.error)
    else:
        outcome = {"next_attempt_at": now + _pause(claim.attempt)}
    mine = WebhookDelivery.objects.filter(
        pk=claim.delivery_id, state=State.PENDING, attempts=claim.attempt
    )
    mine.update(last_status=answer.status, last_error=answer.error, **outcome)


def _disable(endpoint_id: UUID) -> None:
    """The endpoint said that it is gone for good."""
    if WebhookEndpoint.objects.filter(pk=endpoint_id, enabled=True).update(enabled=False):
        logger.warning("webhook endpoint %s answered 410 and is disabled", endpoint_id)


def _is_enabled(endpoint_id: UUID) -> bool:
    return WebhookEndpoint.objects.filter(pk=endpoint_id, enabled=True).exists()


def _pause(attempt: int) -> timedelta:
    chance = int.from_bytes(ids.random_bytes(2)) / 0xFFFF
    return PAUSES[attempt - 1] * (1 - JITTER + 2 * JITTER * chance)
