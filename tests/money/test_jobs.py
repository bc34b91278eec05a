"""Billing's periodic work is done beside a gateway's requests, and by Celery's tasks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.utils.module_loading import import_string

from gateway_project.celery import app
from responses_api.models import PeriodicJob
from responses_api.periodic import Periodic
from tenants.billing import jobs
from tenants.models import BillingPeriod, DirtyHour, Tenant, UsageHour
from tests.faults.wire import until
from tests.support.live import LiveGateway
from tests.support.usage_rows import usage

pytestmark = pytest.mark.persistence


@pytest.fixture
def tenant(transactional_db: None) -> Tenant:
    return Tenant.objects.create(
        slug="acme", name="Acme", created_at=datetime(2026, 1, 1, tzinfo=UTC)
    )


def started() -> Periodic:
    periodic = Periodic("embedded")
    periodic.start()
    return periodic


@pytest.fixture
def periodic(gateway: LiveGateway) -> Iterator[Periodic]:
    running = gateway.call(started)
    yield running
    gateway.run(running.stop())


@pytest.mark.usefixtures("periodic")
def test_a_gateway_sums_and_closes_by_itself(tenant: Tenant):
    usage(tenant)
    until(lambda: UsageHour.objects.exists() and not DirtyHour.objects.exists())
    until(lambda: BillingPeriod.objects.filter(tenant=tenant, state="open").exists())
    names = {job.name for job in jobs.JOBS}
    until(lambda: names <= set(PeriodicJob.objects.values_list("name", flat=True)))


@pytest.mark.parametrize("job", jobs.JOBS, ids=lambda job: job.name)
def test_every_job_is_a_task_that_beat_sends(job: jobs.Job, tenant: Tenant):
    usage(tenant)
    task = f"tenants.tasks.{job.name}"
    assert task in {entry["task"] for entry in app.conf.beat_schedule.values()}
    import_string(task)()
    import_string(task)()


def test_the_check_of_the_books_logs_what_differs(tenant: Tenant, caplog):
    usage(tenant)
    jobs.all_of(jobs.sum_usage)
    UsageHour.objects.update(calls=7)
    jobs.all_of(jobs.check_books)
    assert "the books do not agree" in caplog.text
