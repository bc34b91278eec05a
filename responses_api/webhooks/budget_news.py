"""Notice reached thresholds of budgets periodically, and announce them to the tenant's webhooks."""

from __future__ import annotations

from collections.abc import Iterator

from responses_api.webhooks import events
from tenants.budgets import alerts, dollars
from tenants.budgets.alerts import Reached


def note_thresholds() -> Iterator[None]:
    alerts.note_thresholds(enqueue)
    yield


def send_alerts() -> Iterator[None]:
    alerts.send_due()
    yield


def enqueue(reached: Reached) -> None:
    """Enqueue the event in the transaction that notes it, so that there is an event exactly if it was
    noted."""
    ends_at = None if reached.ends_at is None else int(reached.ends_at.timestamp())
    about = {
        "id": f"budget_{reached.budget_id}",
        "name": reached.budget,
        "api_key": reached.api_key or None,
        "percent": reached.percent,
        "spent_usd": dollars.to_text(reached.spent_nano),
        "amount_usd": dollars.to_text(reached.amount_nano),
        "period": reached.period,
        "starts_at": int(reached.starts_at.timestamp()),
        "ends_at": ends_at,
    }
    events.enqueue_threshold(reached.tenant_id, reached.subject, about)
