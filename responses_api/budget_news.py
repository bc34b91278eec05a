"""Thresholds of budgets as periodic work, and as an event for the tenant's webhooks."""

from __future__ import annotations

from datetime import timedelta

from responses_api.webhooks import events
from tenants.billing.jobs import Job
from tenants.budgets import alerts, dollars
from tenants.budgets.alerts import Reached

NOTE_EVERY = timedelta(seconds=10)
SEND_EVERY = timedelta(minutes=1)


def note_thresholds() -> bool:
    alerts.note_thresholds(_enqueue)
    return False


def send_alerts() -> bool:
    alerts.send_due()
    return False


JOBS: tuple[Job, ...] = (
    Job("note_budget_thresholds", NOTE_EVERY, note_thresholds, alerts.is_anything_spent),
    Job("send_budget_alerts", SEND_EVERY, send_alerts, alerts.is_any_due),
)


def _enqueue(reached: Reached) -> None:
    """In the transaction that notes it, so that there is an event exactly if it was noted."""
    ends_at = None if reached.ends_at is None else int(reached.ends_at.timestamp())
    about = {
        "id": f"budget_{reached.budget_id}",
        "name": reached.budget,
        "api_key": reached.api_key or None,
        "percent": reached.percent,
        "spent_usd": dollars.shown(reached.spent_nano),
        "amount_usd": dollars.shown(reached.amount_nano),
        "period": reached.period,
        "starts_at": int(reached.starts_at.timestamp()),
        "ends_at": ends_at,
    }
    events.enqueue_threshold(reached.tenant_id, reached.subject, about)
