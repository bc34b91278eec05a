"""Send an endpoint an event that is a test: at once, once, and as every other event is sent."""

from __future__ import annotations

from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import transaction

from gateway_project.lib import ids
from responses_api.models import WebhookDelivery, WebhookEndpoint
from responses_api.webhooks import delivery, events
from routing.testing import count_test
from tenants.audit import events as audit_events

TIMEOUT_SECONDS = 10.0


def try_endpoint(endpoint: WebhookEndpoint) -> WebhookDelivery:
    """Send the event and return its delivery with the outcome. Whoever asks has proven their right.

    A tenant has so many tests in a minute, those of providers counted with them: each goes to an address
    that somebody of it has chosen. Raise ValidationError.
    """
    if not endpoint.enabled:
        raise ValidationError("The endpoint is disabled; enable it to test it.")
    count_test(endpoint.tenant_id)
    with transaction.atomic():
        row = events.enqueue_test(endpoint, ids.uuid7())
        audit_events.record("webhook_endpoint.tested", tenant_id=endpoint.tenant_id, row=endpoint)
        claim = delivery.claim_at_once(row)
    if claim is not None:
        result = async_to_sync(delivery.send)(claim, TIMEOUT_SECONDS)
        delivery.record_result(claim, result)
    row.refresh_from_db()
    return row
