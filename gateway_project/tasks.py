"""The Celery task that needs a whole worker process built around it."""

from __future__ import annotations

from celery import shared_task

from gateway_project.serving.loop_thread import run_in_worker


# Named as ever: processes of several releases may share a queue.
@shared_task(name="responses_api.tasks.run_background")  # type: ignore[untyped-decorator]  # no types
def run_background(tenant_id: int, response_id: str) -> None:
    run_in_worker(tenant_id, response_id)
