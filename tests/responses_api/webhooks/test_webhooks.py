"""Webhooks: one event for each end, signed as the official SDK wants it, sent until it is accepted."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import openai
import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from gateway_project.lib import clock, sealing
from gateway_project.lib.secret import Secret
from responses_api.models import WebhookDelivery, WebhookEndpoint
from responses_api.webhooks import delivery, endpoints, events, signing
from responses_api.webhooks.delivery import AT_ONCE_PER_ENDPOINT, LEASE, PAUSES
from responses_api.webhooks.sending import DeliveryResult
from routing.credentials import keyring
from routing.upstream import checked_transport
from tenants.models import Tenant
from tests.plugins.cases import cases
from tests.support import certificates
from tests.support.receiver import Received, Receiver

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("database_threads"),
]

PENDING, DELIVERED, GIVEN_UP = "pending", "delivered", "given_up"


@pytest.fixture
def tenant() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def endpoint(tenant: Tenant, url: str, *wanted: str) -> tuple[WebhookEndpoint, str]:
    """An endpoint on this machine, and its secret's text."""
    made, secret = endpoints.create(tenant, url, events=wanted, allow_private_network=True)
    return made, secret.reveal()


def completed(tenant: Tenant, response_id: str = "resp_1") -> WebhookDelivery:
    """The delivery of an event to the tenant's one endpoint."""
    events.enqueue(tenant.pk, response_id, "completed")
    return WebhookDelivery.objects.get(response_id=response_id)


def deliver(limit: int = 50, timeout_seconds: float = 10) -> int:
    return asyncio.run(delivery.deliver_due(limit, timeout_seconds))


def make_due() -> None:
    """End the pause after the last attempt."""
    WebhookDelivery.objects.update(next_attempt_at=clock.now())


def unwrapped(received: Received, secret: str) -> Any:
    client = openai.OpenAI(api_key="unused", webhook_secret=secret)
    with client:
        return client.webhooks.unwrap(received.body, received.headers)


def at(monkeypatch: pytest.MonkeyPatch, later: timedelta) -> None:
    """Set the clock forward."""
    moment = clock.timestamp() + later.total_seconds()
    monkeypatch.setattr(clock, "timestamp", lambda: moment)


# Events


@pytest.mark.persistence
def test_each_endpoint_that_wants_an_event_gets_it(tenant: Tenant):
    stranger = Tenant.objects.create(slug="other", name="Other")
    everything, _ = endpoint(tenant, "http://a.example/")
    failures, _ = endpoint(tenant, "http://b.example/", "response.failed", "response.incomplete")
    disabled, _ = endpoint(tenant, "http://c.example/")
    WebhookEndpoint.objects.filter(pk=disabled.pk).update(enabled=False)
    endpoint(stranger, "http://d.example/")

    events.enqueue(tenant.pk, "resp_1", "completed")
    events.enqueue(tenant.pk, "resp_2", "failed")

    made = WebhookDelivery.objects.values_list("endpoint", "event_type", "tenant")
    assert set(made) == {
        (everything.pk, "response.completed", tenant.pk),
        (everything.pk, "response.failed", tenant.pk),
        (failures.pk, "response.failed", tenant.pk),
    }


@pytest.mark.persistence
def test_telling_the_same_end_twice_makes_one_event(tenant: Tenant):
    endpoint(tenant, "http://a.example/")

    for _ in range(2):
        with transaction.atomic():
            events.enqueue(tenant.pk, "resp_1", "completed")

    assert WebhookDelivery.objects.count() == 1


@pytest.mark.persistence
def test_there_is_no_event_if_the_end_is_rolled_back(tenant: Tenant):
    endpoint(tenant, "http://a.example/")

    with transaction.atomic():
        events.enqueue(tenant.pk, "resp_1", "completed")
        transaction.set_rollback(True)

    assert not WebhookDelivery.objects.exists()


@pytest.mark.persistence
def test_without_an_endpoint_an_end_costs_one_query(tenant: Tenant):
    with CaptureQueriesContext(connection) as captured:
        events.enqueue(tenant.pk, "resp_1", "completed")

    assert len(captured) == 1


@cases("status", ["queued", "in_progress", "", "done"])
def test_only_ends_are_events(status: str, tenant: Tenant):
    with pytest.raises(ValueError, match="does not end"):
        events.enqueue(tenant.pk, "resp_1", status)


# The request


@pytest.mark.parametrize("status", ["completed", "failed", "incomplete", "cancelled"])
def test_the_official_sdk_accepts_what_is_sent(status: str, tenant: Tenant, receiver: Receiver):
    _, secret = endpoint(tenant, receiver.url)
    events.enqueue(tenant.pk, "resp_abc", status)

    assert deliver() == 1

    [received] = receiver.received
    event = unwrapped(received, secret)
    assert (event.type, event.data.id) == (f"response.{status}", "resp_abc")
    assert type(event).__name__ == f"Response{status.title()}WebhookEvent"
    assert abs(event.created_at - clock.timestamp()) < 60
    body = json.loads(received.body)
    assert set(body) == {"id", "object", "created_at", "type", "data"}
    assert body["object"] == "event"
    assert body["id"] == received.headers["webhook-id"]
    assert body["id"].startswith("evt_")
    assert received.headers["content-type"] == "application/json"
    assert received.path == "/hook?token=1"


def test_the_official_sdk_refuses_another_body_secret_or_time(tenant: Tenant, receiver: Receiver):
    _, secret = endpoint(tenant, receiver.url)
    completed(tenant)
    deliver()
    [received] = receiver.received

    forged = Received("", received.headers, received.body.replace(b"resp_1", b"resp_2"))
    late = Received("", {**received.headers, "webhook-timestamp": "1"}, received.body)

    for attempt, key in (
        (forged, secret),
        (late, secret),
        (received, signing.new_secret().reveal()),
    ):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            unwrapped(attempt, key)


def test_after_a_rotation_both_secrets_sign_for_a_day(
    tenant: Tenant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    row, old = endpoint(tenant, receiver.url)
    new = endpoints.rotate(row).reveal()
    completed(tenant, "resp_1")
    deliver()

    at(monkeypatch, timedelta(hours=24, minutes=1))
    completed(tenant, "resp_2")
    deliver()

    first, second = (received.headers["webhook-signature"] for received in receiver.received)
    assert len({old, new}) == 2
    assert len(first.split(" ")) == 2
    assert len(second.split(" ")) == 1
    for secret in (old, new):
        unwrapped(receiver.received[0], secret)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        base64.b64encode(b"x" * 32).decode(),
        "whsec_%%%%",
    ],
)
def test_an_empty_or_weak_secret_signs_nothing(secret: str, tenant: Tenant, receiver: Receiver):
    row, _ = endpoint(tenant, receiver.url)
    row.sealed_secret = sealing.seal(
        Secret(secret),
        f"responses_api_webhookendpoint|sealed_secret|{tenant.pk}|{row.pk}",
        keyring(),
    )
    row.save()
    made = completed(tenant)

    with pytest.raises(signing.UnusableSecret):
        signing.headers("evt_1", b"{}", [Secret(secret)])
    deliver()

    made.refresh_from_db()
    assert receiver.received == []
    assert (made.state, made.attempts, made.last_status) == (PENDING, 1, None)
    assert made.last_error.startswith("The secret is not ")


def test_without_any_secret_nothing_is_signed():
    with pytest.raises(signing.UnusableSecret):
        signing.headers("evt_1", b"{}", [])


def test_a_secret_copied_from_another_endpoint_signs_nothing(tenant: Tenant, receiver: Receiver):
    other, _ = endpoint(tenant, "http://other.example/", "response.failed")
    row, _ = endpoint(tenant, receiver.url)
    WebhookEndpoint.objects.filter(pk=row.pk).update(sealed_secret=other.sealed_secret)
    made = completed(tenant)

    deliver()

    made.refresh_from_db()
    assert receiver.received == []
    assert made.last_error == "The endpoint's secret cannot be opened; rotate it."


# Attempts


@pytest.mark.persistence
def test_an_event_is_sent_until_it_is_accepted(tenant: Tenant):
    with Receiver((500, 503, 204)) as receiver:
        _, secret = endpoint(tenant, receiver.url)
        made = completed(tenant)
        log = []
        for _ in range(3):
            assert deliver() == 1
            assert deliver() == 0
            made.refresh_from_db()
            log.append((made.state, made.attempts, made.last_status, made.last_error))
            make_due()
        assert deliver() == 0

        assert log == [
            (PENDING, 1, 500, "The endpoint answered 500."),
            (PENDING, 2, 503, "The endpoint answered 503."),
            (DELIVERED, 3, 204, ""),
        ]
        assert made.ended_at is not None
        assert len({received.body for received in receiver.received}) == 1
        for received in receiver.received:
            unwrapped(received, secret)


@pytest.mark.parametrize("failed", range(1, len(PAUSES) + 1))
def test_the_pauses_grow(failed: int, tenant: Tenant):
    with Receiver((500,)) as receiver:
        endpoint(tenant, receiver.url)
        made = completed(tenant)
        WebhookDelivery.objects.update(attempts=failed - 1)
        before = clock.now()

        deliver()

        made.refresh_from_db()
        pause = made.next_attempt_at - before
        assert made.state == PENDING
        assert PAUSES[failed - 1] * 0.9 <= pause <= PAUSES[failed - 1] * 1.1 + timedelta(seconds=5)


def test_an_event_is_given_up_after_the_last_attempt(tenant: Tenant):
    with Receiver((500,)) as receiver:
        endpoint(tenant, receiver.url)
        made = completed(tenant)
        WebhookDelivery.objects.update(attempts=len(PAUSES))

        deliver()

        made.refresh_from_db()
        assert (made.state, made.attempts) == (GIVEN_UP, len(PAUSES) + 1)
        assert made.ended_at is not None
        assert timedelta(days=2.5) < sum(PAUSES, timedelta()) < timedelta(days=3)


def test_what_was_given_up_can_be_sent_again(tenant: Tenant):
    with Receiver((500, 200)) as receiver:
        endpoint(tenant, receiver.url)
        made = completed(tenant)
        WebhookDelivery.objects.update(attempts=len(PAUSES))
        deliver()

        assert delivery.send_again(WebhookDelivery.objects.all()) == 1
        assert delivery.send_again(WebhookDelivery.objects.all()) == 0
        deliver()

        made.refresh_from_db()
        assert (made.state, made.attempts) == (DELIVERED, 1)
        first, second = (received.headers["webhook-id"] for received in receiver.received)
        assert first == second


def test_a_redirect_is_not_followed(tenant: Tenant, receiver: Receiver):
    with Receiver((307,), location=receiver.url) as redirecting:
        endpoint(tenant, redirecting.url)
        made = completed(tenant)

        deliver()

        made.refresh_from_db()
        assert len(redirecting.received) == 1
        assert receiver.received == []
        assert (made.state, made.last_status) == (PENDING, 307)
        assert made.last_error == "The endpoint answered with a redirect, which is not followed."


def test_an_endpoint_that_does_not_answer_is_not_waited_for(tenant: Tenant):
    with Receiver((0,)) as silent:
        endpoint(tenant, silent.url)
        made = completed(tenant)

        deliver(timeout_seconds=0.2)

        made.refresh_from_db()
        assert (made.state, made.last_status) == (PENDING, None)
        assert made.last_error == "No answer within 0.2 seconds."


def test_an_endpoint_that_answers_for_ever_is_not_waited_for(tenant: Tenant):
    """The deadline is for the whole call, not for each byte."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not ended.wait(0.02):
                try:
                    connection.sendall(b"x-more: 1\r\n")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    endpoint(tenant, f"http://127.0.0.1:{listener.getsockname()[1]}/")
    made = completed(tenant)

    deliver(timeout_seconds=0.3)
    ended.set()
    thread.join()
    listener.close()

    made.refresh_from_db()
    assert made.last_error == "No answer within 0.3 seconds."


def test_an_endpoint_that_cannot_be_reached_is_tried_again(tenant: Tenant):
    endpoint(tenant, "http://127.0.0.1:9/")
    made = completed(tenant)

    deliver()

    made.refresh_from_db()
    assert (made.state, made.attempts, made.last_status) == (PENDING, 1, None)
    assert made.last_error.startswith("ConnectError")


def test_what_looks_like_a_secret_is_not_logged(tenant: Tenant):
    endpoint(tenant, "http://sk-abcdefghijklmnop0123456789.invalid/")
    made = completed(tenant)

    deliver()

    made.refresh_from_db()
    assert "cannot be resolved" in made.last_error
    assert "abcdefghijklmnop" not in made.last_error


def test_an_endpoint_that_is_gone_is_disabled(tenant: Tenant):
    with Receiver((410,)) as gone:
        row, _ = endpoint(tenant, gone.url)
        made = completed(tenant, "resp_1")
        deliver()
        events.enqueue(tenant.pk, "resp_2", "completed")

        row.refresh_from_db()
        made.refresh_from_db()
        assert not row.enabled
        assert (made.state, made.last_status) == (GIVEN_UP, 410)
        assert WebhookDelivery.objects.count() == 1


def test_what_waits_for_a_disabled_endpoint_is_given_up(tenant: Tenant, receiver: Receiver):
    row, _ = endpoint(tenant, receiver.url)
    made = completed(tenant)
    WebhookEndpoint.objects.filter(pk=row.pk).update(enabled=False)

    deliver()

    made.refresh_from_db()
    assert receiver.received == []
    assert (made.state, made.last_error) == (GIVEN_UP, "The endpoint is disabled.")


# Where events may be sent


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"])
def test_private_addresses_are_not_called_unless_allowed(host: str, tenant: Tenant):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    endpoints.create(tenant, f"https://{host}:{listener.getsockname()[1]}/")
    made = completed(tenant)

    deliver()

    made.refresh_from_db()
    assert (made.state, made.last_status) == (PENDING, None)
    assert made.last_error == (
        "The endpoint's host has a private or loopback address, which is not allowed."
    )
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.close()


@pytest.mark.parametrize(
    ("name", "state", "error"),
    [("localhost", DELIVERED, ""), ("hooks.example", PENDING, "CERTIFICATE_VERIFY_FAILED")],
)
def test_the_certificate_must_be_that_of_the_host(
    name: str,
    state: str,
    error: str,
    tenant: Tenant,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Although the connection goes to the address that was checked, not to the name."""
    server, client = certificates.contexts(name, tmp_path)
    monkeypatch.setattr(checked_transport, "_certificates", lambda: client)
    with Receiver(tls=server) as receiver:
        endpoint(tenant, f"https://localhost:{receiver.port}/")
        made = completed(tenant)

        deliver()

    made.refresh_from_db()
    assert made.state == state
    assert error in made.last_error


def test_cloud_metadata_is_never_called(tenant: Tenant):
    endpoint(tenant, "http://169.254.169.254/latest/meta-data")
    made = completed(tenant)

    deliver()

    made.refresh_from_db()
    assert "is not allowed" in made.last_error


@cases(
    ("url", "message"),
    [
        ("http://hooks.example/", "must begin with https://"),
        ("ftp://hooks.example/", "is not an http(s) address"),
        ("https://", "is not an http(s) address"),
        ("hooks.example", "is not an http(s) address"),
        ("https://hooks.example:99999/", "is not an address"),
        ("https://[::1/", "is not an address"),
        ("https://user:pw@hooks.example/", "a user, password or fragment"),
        ("https://hooks.example/#part", "a user, password or fragment"),
        ("https://hooks.example\\@other.example/", "backslashes"),
        ("https://hooks.example/a b", "backslashes, spaces"),
        ("", "This field cannot be blank"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url: str, message: str, tenant: Tenant):
    with pytest.raises(ValidationError) as refused:
        endpoints.create(tenant, url)

    assert message in str(refused.value)


@cases(
    ("wanted", "message"),
    [
        (["response.created"], "Unknown event 'response.created'"),
        ([1], "Events must be a list of names"),
    ],
)
def test_an_event_that_does_not_exist_is_refused(wanted: list[Any], message: str, tenant: Tenant):
    with pytest.raises(ValidationError) as refused:
        endpoints.create(tenant, "https://hooks.example/", events=wanted)

    assert message in str(refused.value)


# Several at the same time


@pytest.mark.persistence
def test_of_two_deliverers_one_sends_each_event(tenant: Tenant, receiver: Receiver):
    for _ in range(5):
        endpoint(tenant, receiver.url)
    for number in range(6):
        events.enqueue(tenant.pk, f"resp_{number}", "completed")
    together = threading.Barrier(2)

    def race() -> int:
        together.wait()
        return sum(deliver(limit=4) for _ in range(12))

    with ThreadPoolExecutor(2) as pool:
        counts = [future.result() for future in [pool.submit(race) for _ in range(2)]]

    sent = [
        (received.headers["webhook-id"], received.headers["webhook-signature"])
        for received in receiver.received
    ]
    assert sum(counts) == len(sent) == len(set(sent)) == 30
    assert set(WebhookDelivery.objects.values_list("state", "attempts")) == {(DELIVERED, 1)}


@pytest.mark.persistence
def test_an_attempt_whose_process_died_is_made_again(
    tenant: Tenant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    endpoint(tenant, receiver.url)
    made = completed(tenant)
    [lost] = delivery.claim_due(10)
    assert deliver() == 0

    at(monkeypatch, LEASE + timedelta(seconds=1))
    assert deliver() == 1
    delivery.record_result(lost, DeliveryResult(500, "too late"))

    made.refresh_from_db()
    assert (made.state, made.attempts, made.last_status) == (DELIVERED, 2, 200)


@pytest.mark.persistence
def test_an_endpoint_that_is_slow_leaves_room_for_others(tenant: Tenant, receiver: Receiver):
    other = Tenant.objects.create(slug="other", name="Other")
    with Receiver((0,)) as slow:
        endpoint(tenant, slow.url)
        endpoint(other, receiver.url)
        for number in range(20):
            events.enqueue(tenant.pk, f"resp_{number}", "completed")
        events.enqueue(other.pk, "resp_other", "completed")

        assert deliver(timeout_seconds=1.5) == AT_ONCE_PER_ENDPOINT + 1

        assert len(receiver.received) == 1


@pytest.mark.persistence
def test_looking_for_work_is_one_query_into_an_index(tenant: Tenant):
    with CaptureQueriesContext(connection) as captured:
        assert not delivery.is_any_due()

    [query] = captured
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET enable_seqscan = off")
        prefix = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{prefix} {query['sql']}")
        assert "webhook_pending" in str(cursor.fetchall())
        if connection.vendor == "postgresql":
            cursor.execute("SET enable_seqscan = on")
