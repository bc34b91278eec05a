"""Define what Celery workers run. Every task may run twice, or at the same time in two workers."""

from __future__ import annotations

import logging

from celery import shared_task

from gateway_project.lib import clock
from responses_api import jobs, periodic

logger = logging.getLogger("tollgate.periodic")


@shared_task  # type: ignore[untyped-decorator]  # Celery has no types
def run_job(name: str) -> None:
    job = jobs.BY_NAME.get(name)
    if job is None:  # nothing is lost: whoever knows the job finds its work in the database
        logger.error("no job is called %.100r: a beat of another version is running", name)
        return
    if periodic.is_resting(job):
        return
    began = clock.monotonic()
    job.run()
    if job.rest:
        periodic.put_off(job, clock.monotonic() - began)


for _task, _job in jobs.FORMER_TASKS.items():
    shared_task(jobs.BY_NAME[_job].run, name=_task)
