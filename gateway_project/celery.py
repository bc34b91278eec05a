"""The Celery app: what runs in workers of their own where TOLLGATE_TASKS says so (ADR 8).

Nothing may rely on Redis keeping or repeating a message: what is to be done is written in the database, and
a task only says that it is time to look there.
"""

from __future__ import annotations

import os
from datetime import time, timedelta
from typing import Any

from celery import Celery, signals
from celery.schedules import crontab
from django.conf import settings

from gateway_project.lib.jobs import Job
from gateway_project.lib.secret import Secret
from gateway_project.serving import loop_thread
from responses_api import jobs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

DEFAULT_QUEUE = "tollgate"
# Background responses take minutes, in which they must not keep short tasks waiting.
BACKGROUND_QUEUE = "tollgate.background"
LEAST_EXPIRE = timedelta(seconds=10)
MOST_EXPIRE = timedelta(hours=12)


def configuration(redis_url: Secret | None) -> dict[str, Any]:
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
        "beat_schedule": {job.name: _beat_entry(job) for job in jobs.JOBS},
    }


def _beat_entry(job: Job) -> dict[str, Any]:
    """Build the schedule entry of a job. Messages expire, so that few wait while no worker runs."""
    expires = max(min(job.every, MOST_EXPIRE), LEAST_EXPIRE)
    return {
        "task": "responses_api.tasks.run_job",
        "args": (job.name,),
        "schedule": job.every if job.at is None else _times(job.every, job.at),
        "options": {"expires": expires.total_seconds()},
    }


def _times(every: timedelta, at: time) -> crontab:
    hour = "*" if every < timedelta(days=1) else at.hour
    return crontab(hour=hour, minute=at.minute)


app = Celery("tollgate")
app.set_default()  # in every thread, not only in the one that imports this
app.conf.update(configuration(settings.REDIS_URL))
app.autodiscover_tasks(["gateway_project", "responses_api"])


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def drain(**_: Any) -> None:
    """Give background responses a limited time to end; Celery itself waits for running tasks however long
    they take.
    """
    loop_thread.drain()


@signals.setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def keep_logging(**_: Any) -> None:
    """Keep the logging that the settings configured: Celery leaves it alone once this signal has a
    listener.
    """
