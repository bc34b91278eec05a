"""A test event goes to a real receiver at once and once, and everybody can tell that it is a test."""

from __future__ import annotations

import json

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gateway_project.lib import ids
from responses_api.models import WebhookDelivery, WebhookEndpoint
from responses_api.webhooks import delivery, endpoints, events, trying
from responses_api.webhooks.sending import DeliveryResult
from routing import testing
from tenants.models import AuditEvent
from tests.api.callers import of_member
from tests.console import world as worlds
from tests.console.pages import do, text, url
from tests.console.world import World
from tests.responses_api.webhooks.test_webhooks import unwrapped
from tests.support.receiver import Receiver

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    return worlds.make()


def endpoint_at(world: World, receiver: Receiver) -> tuple[WebhookEndpoint, str]:
    made, secret = endpoints.create(
        world.ours.tenant, receiver.url, events=["response.failed"], allow_private_network=True
    )
    return made, secret.reveal()


def test_a_button_sends_an_event_that_says_it_is_a_test_and_is_signed(world: World):
    developer = worlds.staff("developer", world.ours.tenant)
    with Receiver(statuses=(204,)) as receiver:
        row, secret = endpoint_at(world, receiver)
        answer = do(developer, row, "send_test")

    [received] = receiver.received
    event = unwrapped(received, secret)
    assert (event.type, event.data.test) == ("webhook.test", True)
    assert json.loads(received.body)["data"]["endpoint"] == str(row.pk)
    sent = WebhookDelivery.objects.get(endpoint=row)
    assert (sent.state, sent.attempts, sent.last_status) == ("delivered", 1, 204)
    assert answer.status_code == 302
    page = text(developer.get(url(row, "change")))
    assert "it answered 204" in page
    assert "delivered, attempts: 1, HTTP 204" in page
    told = AuditEvent.objects.get(action="webhook_endpoint.tested")
    assert (told.tenant_id, told.object_id) == (world.ours.tenant.pk, str(row.pk))


def test_a_test_that_fails_is_not_repeated_and_alarms_nobody(world: World):
    with Receiver(statuses=(500,)) as receiver:
        row, _ = endpoint_at(world, receiver)
        sent = trying.try_endpoint(row)

    assert (sent.state, sent.attempts) == ("given_up", 1)
    assert sent.last_error == "The endpoint answered 500."
    assert len(receiver.received) == 1
    operator = worlds.operator()
    assert "was given up" not in text(operator.get("/console/"))


def test_a_test_whose_process_died_is_sent_by_the_next_round_once(world: World):
    row = world.ours.endpoint
    events.enqueue_test(row, ids.uuid7())
    [claim] = [each for each in delivery.claim_due(50) if each.is_once]

    delivery.record_result(claim, DeliveryResult(503, "The endpoint answered 503."))

    assert WebhookDelivery.objects.get(pk=claim.delivery_id).state == "given_up"


def test_a_disabled_endpoint_is_not_tested(world: World):
    row = world.ours.endpoint
    WebhookEndpoint.objects.filter(pk=row.pk).update(enabled=False)
    row.refresh_from_db()

    with pytest.raises(ValidationError, match="enable it"):
        trying.try_endpoint(row)


def test_tests_of_a_tenant_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(testing, "MOST_PER_MINUTE", 0)
    developer = worlds.staff("developer", world.ours.tenant)

    answer = do(developer, world.ours.endpoint, "send_test")

    assert "wait a minute" in text(developer.get(answer["location"]))
    assert not WebhookDelivery.objects.filter(event_type="webhook.test").exists()


def test_the_management_api_answers_with_the_outcome(world: World):
    token = of_member("developer", world.ours.tenant)
    with Receiver() as receiver:
        row, _ = endpoint_at(world, receiver)
        answer = token.post(f"webhooks/{row.pk}/test")

    assert (answer.status_code, len(receiver.received)) == (200, 1)
    told = answer.json()
    assert (told["event_type"], told["state"], told["last_status"]) == (
        "webhook.test",
        "delivered",
        200,
    )


def test_an_endpoints_page_shows_its_last_twenty_deliveries_in_one_query(world: World):
    viewer = worlds.staff("viewer", world.ours.tenant)
    for number in range(25):
        events.enqueue(world.ours.tenant.pk, f"resp_{number}", "completed")
    WebhookDelivery.objects.filter(response_id="resp_24").update(state="given_up", last_status=500)

    with CaptureQueriesContext(connection) as captured:
        page = text(viewer.get(url(world.ours.endpoint, "change")))

    assert page.count('class="tg-dot ') == 20
    assert "given up, attempts: 0, HTTP 500" in page
    asked = [q["sql"] for q in captured if "responses_api_webhookdelivery" in q["sql"]]
    assert len(asked) == 1
    assert "payload" not in asked[0]
    assert "Send test event" not in page
