"""What Celery workers run for billing. Every task may run twice, or at the same time in two workers."""

from __future__ import annotations

from celery import shared_task

from tenants.billing import jobs


@shared_task  # type: ignore[untyped-decorator]  # Celery has no types
def sum_usage() -> None:
    jobs.all_of(jobs.sum_usage)


@shared_task  # type: ignore[untyped-decorator]
def close_periods() -> None:
    jobs.all_of(jobs.close_periods)


@shared_task  # type: ignore[untyped-decorator]
def expire_credits() -> None:
    jobs.all_of(jobs.expire_credits)


@shared_task  # type: ignore[untyped-decorator]
def purge_usage() -> None:
    jobs.all_of(jobs.purge_usage)


@shared_task  # type: ignore[untyped-decorator]
def check_books() -> None:
    jobs.all_of(jobs.check_books)
