"""With TOLLGATE_TASKS=celery: real worker and beat processes, a real Redis, and what reaches them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from celery import Celery

from gateway_project.celery import configuration
from gateway_project.lib.secret import Secret
from tests.processes.conftest import Prepared
from tests.processes.served import Program, environment, eventually, shell
from tests.support.receiver import Receiver

pytestmark = pytest.mark.redis

ROWS = """
import json
from datetime import timedelta
from gateway_project.lib import clock
from tenants.models import Tenant
from tests.support import kept_rows
tenant = Tenant.objects.get(slug="acme")
kept_rows.response(tenant, expires_at=clock.now() - timedelta(hours=1))
living = kept_rows.response(tenant)
print(json.dumps(living.pk))
"""
ROLES = ["beat", "worker:tollgate", "worker:tollgate.background"]
WEBHOOK = """
from tenants.models import Tenant
from responses_api.webhooks import endpoints, events
tenant = Tenant.objects.get(slug="acme")
endpoints.create(tenant, {url!r}, allow_private_network=True)
events.enqueue(tenant.pk, "resp_1", "completed")
print("null")
"""


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A database of the server that nobody else uses, empty."""
    parts = urlsplit(os.environ["REDIS_URL"])
    url = parts._replace(path="/13").geturl()
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture
def variables(prepared: Prepared, redis_url: str) -> dict[str, str]:
    return environment(
        prepared.data_dir,
        TOLLGATE_TASKS="celery",
        REDIS_URL=redis_url,
        TOLLGATE_LOG_LEVEL="DEBUG",
    )


@pytest.fixture
def run(variables: dict[str, str]) -> Iterator[Any]:
    with ExitStack() as running:

        def start(*arguments: str) -> Program:
            return running.enter_context(Program(variables, *arguments))

        yield start


def send(redis_url: str, task: str) -> None:
    app = Celery("sender", set_as_current=False)
    app.conf.update(configuration(Secret(redis_url)))
    app.send_task(task)
    app.close()


def rows(prepared: Prepared, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(prepared.data_dir / "tollgate.sqlite3")) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.some_of("Celery workers", keep=2)
def test_a_task_reaches_a_worker(
    prepared: Prepared, variables: dict[str, str], redis_url: str, run: Any
) -> None:
    living = shell(variables, ROWS)
    send(redis_url, "responses_api.tasks.purge_expired")
    worker = run("background_worker", "--queues", "tollgate,tollgate.background")

    eventually(lambda: rows(prepared, "SELECT id FROM responses_api_storedresponse") == [(living,)])
    eventually(lambda: " ready." in worker.stderr)
    assert worker.stop() == 0

    password = urlsplit(redis_url).password
    assert password
    assert password not in worker.stderr + worker.stdout
    assert '"level":"error"' not in worker.stderr


@pytest.mark.some_of("Celery workers", keep=2)
def test_a_worker_takes_only_from_its_queues(redis_url: str, run: Any) -> None:
    send(redis_url, "responses_api.tasks.purge_expired")
    worker = run("background_worker", "--queues", "tollgate.background", "--concurrency", "2")

    eventually(lambda: " ready." in worker.stderr)
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("tollgate") == 1
    assert worker.stop() == 0


@pytest.mark.some_of("Celery workers", keep=2)
def test_beat_and_a_worker_deliver_webhooks(
    prepared: Prepared, variables: dict[str, str], redis_url: str, run: Any
) -> None:
    with Receiver() as receiver:
        shell(variables, WEBHOOK.format(url=receiver.url))
        beat = run("beat")
        worker = run("background_worker", "--concurrency", "4")

        receiver.wait_for(1)
        log = "SELECT state, attempts FROM responses_api_webhookdelivery"
        eventually(lambda: rows(prepared, log) == [("delivered", 1)])
        alive = "SELECT role FROM tenants_heartbeat ORDER BY role"
        eventually(lambda: [role for (role,) in rows(prepared, alive)] == ROLES)
        assert (beat.stop(), worker.stop()) == (0, 0)

    assert len(receiver.received) == 1
    password = urlsplit(redis_url).password or ""
    assert password not in beat.stderr + beat.stdout
