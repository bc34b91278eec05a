"""show_webhook_delivery: one webhook delivery in whole."""

from __future__ import annotations

from responses_api.api.hooks import DeliveryRows
from tenants.management.rows import ShowRow


class Command(ShowRow):
    rows = DeliveryRows
