"""Billing's periodic work is done beside a gateway's requests, and by Celery's tasks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from celery.schedules import crontab

from gateway_project.celery import app
from gateway_project.lib import clock
from responses_api import jobs, periodic, tasks
from responses_api.models import PeriodicJob
from responses_api.periodic import Periodic
from tenants.models import BillingPeriod, DirtyHour, Tenant, UsageHour
from tests.support.live import LiveGateway
from tests.support.patience import until
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
def running_periodic(gateway: LiveGateway, tenant: Tenant) -> Iterator[Periodic]:
    """Periodic work that begins once there is a tenant: some of it comes again in an hour."""
    running = gateway.call(started)
    yield running
    gateway.run(running.stop())


@pytest.mark.usefixtures("running_periodic")
def test_a_gateway_sums_and_closes_by_itself(tenant: Tenant, monkeypatch: pytest.MonkeyPatch):
    # It may take two runs, and on a busy machine the first is followed by a long rest.
    monkeypatch.setattr("gateway_project.lib.jobs.MOST_REST", timedelta(seconds=1))
    usage(tenant)
    until(lambda: UsageHour.objects.exists() and not DirtyHour.objects.exists())
    until(lambda: BillingPeriod.objects.filter(tenant=tenant, state="open").exists())
    names = {job.name for job in jobs.JOBS if job.is_due is None}
    until(lambda: names <= set(PeriodicJob.objects.values_list("name", flat=True)))


def test_every_job_is_sent_by_beat_and_done_by_a_worker_also_under_its_former_name(tenant: Tenant):
    app.loader.import_default_modules()
    for job in jobs.JOBS:
        usage(tenant)
        entry = app.conf.beat_schedule[job.name]
        app.tasks[entry["task"]](*entry["args"])
        assert not (DirtyHour.objects.exists() and job.name == "sum_usage")
    for former in jobs.FORMER_TASKS:
        usage(tenant)
        app.tasks[former]()
        assert not (DirtyHour.objects.exists() and former == "tenants.tasks.sum_usage")


def test_beat_sends_jobs_at_their_times():
    entries = app.conf.beat_schedule
    assert entries["deliver_webhooks"]["schedule"] == timedelta(seconds=1)
    assert entries["purge"]["schedule"] == crontab(minute=7)
    assert entries["check_books"]["schedule"] == crontab(hour=2, minute=43)
    expiries = {name: entry["options"]["expires"] for name, entry in entries.items()}
    assert (expiries["deliver_webhooks"], expiries["purge"], expiries["check_books"]) == (
        10,
        60 * 60,
        12 * 60 * 60,
    )


def test_the_check_of_the_books_logs_what_differs(tenant: Tenant, caplog):
    usage(tenant)
    jobs.BY_NAME["sum_usage"].run()
    UsageHour.objects.update(calls=7)
    jobs.BY_NAME["check_books"].run()
    assert "the books do not agree" in caplog.text


def test_a_job_of_another_version_is_left_to_that_version(caplog: pytest.LogCaptureFixture) -> None:
    tasks.run_job("weigh_clouds")
    assert "no job is called 'weigh_clouds'" in caplog.text


def test_a_job_rests_in_proportion_to_what_its_last_run_took(tenant: Tenant):
    job = jobs.BY_NAME["sum_usage"]
    assert job.rest_after(0.5) == timedelta(seconds=25)
    assert job.rest_after(7) == timedelta(seconds=60)
    assert jobs.BY_NAME["purge"].rest_after(7) == timedelta()
    usage(tenant)
    periodic.put_off(job, 7)

    tasks.run_job("sum_usage")
    assert not periodic.take_turn(job.name, job.every)
    assert DirtyHour.objects.exists()

    PeriodicJob.objects.update(next_at=clock.now())
    tasks.run_job("sum_usage")
    assert not DirtyHour.objects.exists()
