"""What Celery workers run. Every task may run twice, or at the same time in two workers."""

from __future__ import annotations

import asyncio

from celery import shared_task

from responses_api import budget_news
from responses_api.background.loop_thread import run_in_worker
from responses_api.storage import retention
from responses_api.webhooks import delivery


@shared_task  # type: ignore[untyped-decorator]  # Celery has no types
def run_background(tenant_id: int, response_id: str) -> None:
    run_in_worker(tenant_id, response_id)


@shared_task  # type: ignore[untyped-decorator]
def deliver_webhooks() -> None:
    asyncio.run(delivery.deliver_due())


@shared_task  # type: ignore[untyped-decorator]
def purge_expired() -> None:
    retention.purge()


@shared_task  # type: ignore[untyped-decorator]
def note_budget_thresholds() -> None:
    budget_news.note_thresholds()


@shared_task  # type: ignore[untyped-decorator]
def send_budget_alerts() -> None:
    budget_news.send_alerts()
