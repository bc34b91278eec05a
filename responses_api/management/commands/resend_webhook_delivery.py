"""resend_webhook_delivery: a delivery that has ended is on its way once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from responses_api.api.hooks import DeliveryRows
from responses_api.models import WebhookDelivery
from responses_api.webhooks import delivery
from tenants.management.rows import ActOnRow


class Command(ActOnRow):
    help = "Put a delivery of a webhook that has ended on its way once more."
    rows = DeliveryRows
    routes = ("POST webhook-deliveries/{key}/send-again",)

    def act(self, row: WebhookDelivery, options: Mapping[str, Any]) -> None:
        if not delivery.send_again(WebhookDelivery.objects.filter(pk=row.pk)):
            raise ValidationError({self.noun: "The delivery has not ended yet."})
