"""Build events for tenants, and put them on their way to the endpoints that want them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

from gateway_project.lib import clock
from responses_api.models import WebhookDelivery, WebhookEndpoint
from responses_api.validators import BUDGET_THRESHOLD, TEST_EVENT, WEBHOOK_EVENTS


def enqueue(tenant_id: int, response_id: str, status: str) -> None:
    """Add a delivery for each endpoint of the tenant that wants to know of this end.

    Call this in the transaction that ends the run, so that there is an event exactly if the run ended.
    Calling it again for the same response and status changes nothing.
    """
    event_type = f"response.{status}"
    if event_type not in WEBHOOK_EVENTS:
        raise ValueError(f"A response does not end as {status!r}.")
    _enqueue(tenant_id, event_type, response_id, {"id": response_id}, response_id)


def enqueue_threshold(tenant_id: int, subject: str, about: Mapping[str, Any]) -> None:
    """Add deliveries for a budget's threshold; `subject` names budget, period and percent, and never
    changes."""
    _enqueue(tenant_id, BUDGET_THRESHOLD, subject, about)


def enqueue_test(endpoint: WebhookEndpoint, number: UUID) -> WebhookDelivery:
    """Add a delivery of an event that is a test, to this endpoint alone; `number` is the test's own."""
    about = {"endpoint": str(endpoint.pk), "test": True}
    event_id, payload = _event(f"test {number}", TEST_EVENT, about)
    return WebhookDelivery.objects.create(
        id=number,
        tenant_id=endpoint.tenant_id,
        endpoint=endpoint,
        event_id=event_id,
        event_type=TEST_EVENT,
        payload=payload,
    )


def _enqueue(
    tenant_id: int, event_type: str, subject: str, about: Mapping[str, Any], response_id: str = ""
) -> None:
    endpoints = WebhookEndpoint.objects.filter(tenant_id=tenant_id, enabled=True)
    wanting = [
        pk for pk, events in endpoints.values_list("pk", "events") if _wants(events, event_type)
    ]
    if not wanting:
        return
    event_id, payload = _event(subject, event_type, about)
    deliveries = [
        WebhookDelivery(
            tenant_id=tenant_id,
            endpoint_id=endpoint_id,
            event_id=event_id,
            event_type=event_type,
            response_id=response_id,
            payload=payload,
        )
        for endpoint_id in wanting
    ]
    WebhookDelivery.objects.bulk_create(deliveries, ignore_conflicts=True)


def _wants(events: list[str], event_type: str) -> bool:
    return not events or event_type in events


def _event(subject: str, event_type: str, about: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return the event's id, which is the same however often it is made, and its body as it is sent."""
    digest = hashlib.sha256(f"{subject} {event_type}".encode()).hexdigest()
    event_id = f"evt_{digest[:48]}"
    payload = {
        "id": event_id,
        "object": "event",
        "created_at": int(clock.timestamp()),
        "type": event_type,
        "data": about,
    }
    return event_id, orjson.dumps(payload)
