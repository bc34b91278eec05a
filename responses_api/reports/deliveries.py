"""Tell how the newest deliveries to a webhook endpoint went."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from responses_api.models import WebhookDelivery, WebhookEndpoint

MOST_RECENT = 20


@dataclass(frozen=True, slots=True)
class RecentDelivery:
    """A delivery as a dot shows it."""

    id: UUID
    at: datetime
    event_type: str
    state: str
    attempts: int
    last_status: int | None


def recent_of(endpoint: WebhookEndpoint) -> list[RecentDelivery]:
    """Return the newest deliveries, oldest first. Whoever asks may see the endpoint, and so its log."""
    rows = WebhookDelivery.objects.filter(endpoint=endpoint, tenant=endpoint.tenant_id)
    names = ("pk", "created_at", "event_type", "state", "attempts", "last_status")
    newest = rows.order_by("-pk").values_list(*names)[:MOST_RECENT]
    return [RecentDelivery(*each) for each in reversed(newest)]
