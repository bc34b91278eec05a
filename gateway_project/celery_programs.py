"""Run `manage.py background_worker` and `manage.py beat`: Celery without its command line."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from django.conf import settings
from django.core.exceptions import ValidationError

from gateway_project.celery import BACKGROUND_QUEUE, DEFAULT_QUEUE, app
from gateway_project.serving import loop_thread
from tenants import heartbeats

QUEUES = (DEFAULT_QUEUE, BACKGROUND_QUEUE)
CONCURRENCY = 128


def check_worker(concurrency: int, queues: Sequence[str]) -> None:
    """Raise ValidationError unless a worker can run with these settings."""
    _refuse_unless_celery()
    if concurrency < 1:
        raise ValidationError({"concurrency": "Must be at least 1."})
    if not queues or not set(queues) <= set(QUEUES):
        raise ValidationError({"queues": f"Choose from {', '.join(QUEUES)}."})


def worker(concurrency: int, queues: Sequence[str]) -> int:
    """Run tasks until told to stop and return the exit code. Raise ValidationError for unusable settings."""
    check_worker(concurrency, queues)
    program = app.Worker(
        pool="threads",  # tasks wait for upstreams and receivers, and hardly compute
        concurrency=concurrency,
        queues=list(queues),
        hostname=f"tollgate-{os.getpid()}@{socket.gethostname()}",
        loglevel=settings.LOG_LEVEL,
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    heartbeats.beat_in_background(*map(heartbeats.worker_of, queues))
    if settings.IS_MEASURED and BACKGROUND_QUEUE in queues:
        loop_thread.begin()  # it is told of before its first run, too
    program.start()
    return int(program.exitcode or 0)


def beat() -> None:
    """Send the periodic tasks until told to stop. Raise ValidationError for unusable settings."""
    _refuse_unless_celery()
    heartbeats.beat_in_background(heartbeats.BEAT)
    app.Beat(loglevel=settings.LOG_LEVEL, quiet=True).run()


def _refuse_unless_celery() -> None:
    if settings.TASKS != "celery":
        raise ValidationError(
            "TOLLGATE_TASKS is 'embedded': `serve` does this work itself. Set it to 'celery', and "
            "REDIS_URL, for serve, background_worker and beat alike."
        )
