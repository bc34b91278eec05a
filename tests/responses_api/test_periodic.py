"""Embedded mode: a gateway does the periodic work beside its requests, and of several one at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection

from gateway_project.lib import clock
from gateway_project.lib.jobs import Job
from responses_api import periodic as periodic_work
from responses_api.models import PeriodicJob, StoredResponse, WebhookDelivery
from responses_api.periodic import Periodic, take_turn
from responses_api.webhooks import endpoints, events
from tests.support import kept_rows
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.receiver import Receiver
from tests.support.rows import Customer

pytestmark = pytest.mark.persistence

HOUR = timedelta(hours=1)


def started(mode: str) -> Periodic:
    periodic = Periodic(mode)
    periodic.start()
    return periodic


@pytest.fixture
def periodic(gateway: LiveGateway) -> Iterator[Periodic]:
    """The periodic work of a gateway, running during the test."""
    running = gateway.call(lambda: started("embedded"))
    yield running
    gateway.run(running.stop())


@pytest.mark.usefixtures("periodic")
def test_a_gateway_delivers_webhooks_by_itself(acme: Customer):
    with Receiver((500, 200)) as receiver:
        endpoints.create(acme.tenant, receiver.url, allow_private_network=True)
        events.enqueue(acme.tenant.pk, "resp_1", "completed")
        receiver.wait_for(1)
        until(lambda: WebhookDelivery.objects.get().last_status == 500)
        WebhookDelivery.objects.update(next_attempt_at=clock.now())
        receiver.wait_for(2)

        until(lambda: WebhookDelivery.objects.get().state == "delivered")


@pytest.mark.usefixtures("periodic")
def test_a_slow_receiver_does_not_keep_others_waiting(acme: Customer):
    with Receiver((0,)) as slow, Receiver() as receiver:
        endpoints.create(acme.tenant, slow.url, allow_private_network=True)
        events.enqueue(acme.tenant.pk, "resp_1", "completed")
        slow.wait_for(1)
        endpoints.create(
            acme.tenant, receiver.url, events=["response.failed"], allow_private_network=True
        )

        events.enqueue(acme.tenant.pk, "resp_2", "failed")

        receiver.wait_for(1)


def test_a_gateway_purges_by_itself(gateway: LiveGateway, acme: Customer):
    living = kept_rows.response(acme.tenant)
    kept_rows.response(acme.tenant, expires_at=clock.now() - HOUR)

    running = gateway.call(lambda: started("embedded"))
    until(lambda: StoredResponse.objects.count() == 1)
    gateway.run(running.stop())

    assert StoredResponse.objects.get() == living
    assert PeriodicJob.objects.get(name="purge").next_at > clock.now() + HOUR * 0.9


def test_what_is_written_before_a_job_may_start_again_is_done_when_it_may(
    gateway: LiveGateway, acme: Customer, monkeypatch: pytest.MonkeyPatch
):
    """Nothing else is written, and nobody looks by the clock alone."""
    runs: list[int] = []

    def work() -> Iterator[None]:
        kept_rows.response(acme.tenant)  # a write that comes at once
        runs.append(len(runs))
        yield

    job = Job("toy", timedelta(seconds=2), work, is_due=lambda: len(runs) < 2, at_once=2)
    monkeypatch.setattr(periodic_work, "JOBS", (job,))
    monkeypatch.setattr(periodic_work, "QUIET_LOOK_SECONDS", 10_000.0)
    running = gateway.call(lambda: started("embedded"))
    until(lambda: len(runs) == 2)
    gateway.run(running.stop())


def test_stopping_does_not_wait_for_a_receiver(
    acme: Customer, gateway: LiveGateway, periodic: Periodic
):
    with Receiver((0,)) as slow:
        endpoints.create(acme.tenant, slow.url, allow_private_network=True)
        events.enqueue(acme.tenant.pk, "resp_1", "completed")
        slow.wait_for(1)

        gateway.run(periodic.stop())

    row = WebhookDelivery.objects.get()
    assert (row.state, row.attempts, row.last_status) == ("pending", 1, None)
    assert row.next_attempt_at > clock.now()


def test_where_celery_does_it_the_gateway_does_nothing(gateway: LiveGateway):
    idle = gateway.call(lambda: started("celery"))

    assert not idle.is_running
    gateway.run(idle.stop())


@pytest.mark.django_db(transaction=True)
def test_of_several_processes_one_takes_each_turn():
    together = threading.Barrier(4)

    def ask() -> int:
        together.wait()
        try:
            return sum(take_turn("purge", HOUR) for _ in range(3))
        finally:
            connection.close()

    def turns() -> int:
        with ThreadPoolExecutor(4) as pool:
            return sum(future.result() for future in [pool.submit(ask) for _ in range(4)])

    assert turns() == 1
    assert turns() == 0
    PeriodicJob.objects.update(next_at=clock.now())
    assert turns() == 1
