"""list_webhook_deliveries: the webhook deliveries there are."""

from __future__ import annotations

from responses_api.api.hooks import DeliveryRows
from tenants.management.rows import ListRows


class Command(ListRows):
    rows = DeliveryRows
    columns = ("tenant", "endpoint", "event_type", "state", "attempts", "last_status", "created_at")
