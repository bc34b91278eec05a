"""The Celery app: what runs in workers of their own where TOLLGATE_TASKS says so (ADR 8).

Nothing may rely on Redis keeping or repeating a message: what is to be done is written in the database, and
a task only says that it is time to look there.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from celery.schedules import crontab
from django.conf import settings

from gateway_project.lib.secret import Secret
from responses_api import budget_news
from responses_api.background import loop_thread

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

DEFAULT_QUEUE = "tollgate"
# Background responses take minutes, in which they must not keep short tasks waiting.
BACKGROUND_QUEUE = "tollgate.background"
DELIVER_SECONDS = 1.0
SUM_SECONDS = 5.0


def _configuration(redis_url: Secret | None) -> dict[str, Any]:
    return {
        "broker_url": "memory://" if redis_url is None else redis_url.reveal(),
        "broker_connection_retry_on_startup": True,
        "result_backend": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": DEFAULT_QUEUE,
        "task_routes": {"responses_api.tasks.run_background": {"queue": BACKGROUND_QUEUE}},
        # Acknowledged before it runs, and nothing fetched that cannot run at once: whatever Redis would
        # deliver again after its visibility timeout has been found in the database long before.
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Whoever can write to Redis could stop workers or change how they work.
        "worker_enable_remote_control": False,
        "timezone": "UTC",
        # In memory: a run that was missed while nothing ran is made up for by the next one.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_schedule": {
            "deliver-webhooks": {
                "task": "responses_api.tasks.deliver_webhooks",
                "schedule": DELIVER_SECONDS,
                "options": {"expires": DELIVER_SECONDS * 10},  # none pile up while no worker runs
            },
            "purge-expired": {
                "task": "responses_api.tasks.purge_expired",
                "schedule": crontab(minute="7"),
                "options": {"expires": 60 * 60},
            },
            "note-budget-thresholds": {
                "task": "responses_api.tasks.note_budget_thresholds",
                "schedule": budget_news.NOTE_EVERY,
                "options": {"expires": budget_news.NOTE_EVERY.total_seconds()},
            },
            "send-budget-alerts": {
                "task": "responses_api.tasks.send_budget_alerts",
                "schedule": budget_news.SEND_EVERY,
                "options": {"expires": budget_news.SEND_EVERY.total_seconds()},
            },
            "sum-usage": {
                "task": "tenants.tasks.sum_usage",
                "schedule": SUM_SECONDS,
                "options": {"expires": SUM_SECONDS * 4},
            },
            "close-periods": {
                "task": "tenants.tasks.close_periods",
                "schedule": crontab(minute="13"),
                "options": {"expires": 60 * 60},
            },
            "expire-credits": {
                "task": "tenants.tasks.expire_credits",
                "schedule": crontab(hour="0", minute="23"),
                "options": {"expires": 12 * 60 * 60},
            },
            "purge-usage": {
                "task": "tenants.tasks.purge_usage",
                "schedule": crontab(hour="1", minute="33"),
                "options": {"expires": 12 * 60 * 60},
            },
            "check-books": {
                "task": "tenants.tasks.check_books",
                "schedule": crontab(hour="2", minute="43"),
                "options": {"expires": 12 * 60 * 60},
            },
        },
    }


app = Celery("tollgate")
app.set_default()  # in every thread, not only in the one that imports this
app.conf.update(_configuration(settings.REDIS_URL))
app.autodiscover_tasks(["responses_api", "tenants"])


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def drain(**_: Any) -> None:
    """Celery waits for running tasks, however long; background responses are given some time only."""
    loop_thread.drain()


@signals.setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def keep_logging(**_: Any) -> None:
    """Somebody listens, so Celery leaves logging as the settings made it."""
