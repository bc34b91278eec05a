"""The pages on webhook endpoints and their deliveries."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from gateway_project.lib import clock
from responses_api.models import WebhookDelivery, WebhookEndpoint
from responses_api.webhooks import endpoints
from tests.console import world as worlds
from tests.console.pages import act, action_address, assert_clean, do, endpoint_form, text, url
from tests.console.world import World
from tests.plugins.cases import cases

pytestmark = pytest.mark.django_db

SECRET = re.compile(r"whsec_[0-9A-Za-z+/=]+")


def secret_on(answer: Any) -> str:
    [found] = SECRET.findall(text(answer))
    return str(found)


def secrets_of(endpoint: WebhookEndpoint) -> list[str]:
    return [secret.reveal() for secret in endpoints.signing_secrets(endpoint)]


# Endpoints


def test_a_developer_makes_an_endpoint_and_sees_its_secret_once(world: World, developer: Client):
    form = endpoint_form(events=["response.failed", "response.completed"])

    answer = developer.post(url(WebhookEndpoint, "add"), form)

    row = WebhookEndpoint.objects.get(url="https://new.example/hook")
    assert secrets_of(row) == [secret_on(answer)]
    assert "no-store" in answer["Cache-Control"]
    assert row.tenant == world.ours.tenant
    assert set(row.events) == {"response.completed", "response.failed"}
    for page in (url(row, "change"), url(WebhookEndpoint, "changelist"), url(row, "history")):
        assert not SECRET.search(text(developer.get(page)))


def test_an_operator_makes_an_endpoint_for_a_tenant(world: World, operator: Client):
    form = endpoint_form(url="http://10.0.0.5:9000/", allow_private_network="on")

    refused = operator.post(url(WebhookEndpoint, "add"), form)
    answer = operator.post(url(WebhookEndpoint, "add"), {**form, "tenant": world.ours.tenant.pk})

    assert "This field is required" in text(refused)
    row = WebhookEndpoint.objects.get(url="http://10.0.0.5:9000/")
    assert secrets_of(row) == [secret_on(answer)]
    assert row.allow_private_network


def test_only_operators_let_an_endpoint_into_the_private_network(world: World, admin: Client):
    form = endpoint_form(allow_private_network="on")

    admin.post(url(WebhookEndpoint, "add"), form)
    refused = admin.post(url(WebhookEndpoint, "add"), {**form, "url": "http://10.0.0.5/"})
    admin.post(url(world.ours.endpoint, "change"), form)

    assert "must begin with https://" in text(refused)
    assert not WebhookEndpoint.objects.filter(allow_private_network=True).exists()


def test_an_address_operators_let_in_is_not_changed_by_tenant_staff(world: World, admin: Client):
    row = world.ours.endpoint
    WebhookEndpoint.objects.filter(pk=row.pk).update(
        url="http://10.0.0.5/", allow_private_network=True
    )

    answer = admin.post(url(row, "change"), endpoint_form(url="http://10.0.0.6/", enabled=""))

    row.refresh_from_db()
    assert answer.status_code == 302
    assert (row.url, row.enabled) == ("http://10.0.0.5/", False)


@cases(
    ("form", "message"),
    [
        (endpoint_form(url="http://plain.example/"), "must begin with https://"),
        (endpoint_form(url="https://user:pw@a.example/"), "a user, password or fragment"),
        (endpoint_form(url=""), "This field is required"),
        (endpoint_form(events=["response.created"]), "Select a valid choice"),
    ],
)
def test_a_form_says_what_is_wrong(
    form: dict[str, Any], message: str, world: World, developer: Client
):
    before = WebhookEndpoint.objects.count()

    answer = developer.post(url(WebhookEndpoint, "add"), form)

    assert message in text(answer)
    assert not SECRET.search(text(answer))
    assert WebhookEndpoint.objects.count() == before


def test_the_page_of_a_new_endpoint_offers_no_button_that_would_pass_by_its_secret(
    world: World, developer: Client
):
    page = text(developer.get(url(WebhookEndpoint, "add")))

    assert 'name="_save"' in page
    assert "_addanother" not in page
    assert "_continue" not in page


def test_changing_an_endpoint_keeps_its_secret(world: World, developer: Client):
    row = world.ours.endpoint
    before = secrets_of(row)

    answer = developer.post(
        url(row, "change"), endpoint_form(events=["response.failed"]), follow=True
    )

    row.refresh_from_db()
    assert not SECRET.search(text(answer))
    assert (row.events, secrets_of(row)) == (["response.failed"], before)


def test_rotating_asks_first(world: World, developer: Client):
    before = secrets_of(world.ours.endpoint)

    answer = developer.get(action_address(world.ours.endpoint, "rotate"))

    world.ours.endpoint.refresh_from_db()
    assert "24 hours" in text(answer)
    assert secrets_of(world.ours.endpoint) == before


def test_rotating_shows_the_new_secret_and_lets_the_old_one_sign_on(
    world: World, developer: Client
):
    row = world.ours.endpoint
    old = secrets_of(row)

    new = secret_on(do(developer, row, "rotate"))

    row.refresh_from_db()
    assert secrets_of(row) == [new, *old]
    assert row.old_secret_until is not None
    assert timedelta(hours=23) < row.old_secret_until - clock.now() <= timedelta(hours=24)
    assert "Secret rotated." in text(developer.get(url(row, "history")))


def test_a_secret_is_kept_in_no_message_cookie_session_or_log_entry(world: World, operator: Client):
    made = operator.post(url(WebhookEndpoint, "add"), endpoint_form(tenant=world.ours.tenant.pk))
    rotated = do(operator, world.ours.endpoint, "rotate")

    kept = [
        *(str(cookie) for cookie in operator.cookies.values()),
        repr(dict(operator.session)),
        *LogEntry.objects.values_list("object_repr", flat=True),
        *LogEntry.objects.values_list("change_message", flat=True),
    ]
    for secret in (secret_on(made), secret_on(rotated)):
        assert not any(secret in told for told in kept)


def test_several_webhooks_are_sent_again_after_it_was_asked(world: World, operator: Client):
    WebhookDelivery.objects.update(state="given_up")
    both = world.ours.delivery, world.theirs.delivery

    asked = text(act(operator, WebhookDelivery, "send_again", *both))
    assert "Send 2 webhook deliveries again" in asked
    assert not WebhookDelivery.objects.filter(state="pending").exists()

    act(operator, WebhookDelivery, "send_again", *both, post="yes")
    assert WebhookDelivery.objects.filter(state="pending").count() == 2


@pytest.mark.parametrize("role", ["viewer", "billing"])
def test_readers_neither_rotate_nor_send(role: str, world: World):
    client = worlds.staff(role, world.ours.tenant)
    before = secrets_of(world.ours.endpoint)
    WebhookDelivery.objects.update(state="given_up")

    do(client, world.ours.endpoint, "rotate")
    act(client, WebhookDelivery, "send_again", world.ours.delivery)

    world.ours.endpoint.refresh_from_db()
    assert secrets_of(world.ours.endpoint) == before
    assert not WebhookDelivery.objects.filter(state="pending").exists()


def test_a_strangers_endpoint_is_not_rotated(world: World, admin: Client):
    before = secrets_of(world.theirs.endpoint)

    for action in ("rotate", "send_test"):
        answer = do(admin, world.theirs.endpoint, action)
        assert_clean(answer)
        assert answer.status_code == 404

    assert not WebhookDelivery.objects.filter(event_type="webhook.test").exists()
    world.theirs.endpoint.refresh_from_db()
    assert secrets_of(world.theirs.endpoint) == before


def test_removing_an_endpoint_takes_its_log_along(world: World, developer: Client):
    row = world.ours.endpoint

    answer = developer.post(url(row, "delete"), {"post": "yes"})

    assert answer.status_code == 302
    assert list(WebhookDelivery.objects.values_list("pk", flat=True)) == [world.theirs.delivery.pk]


# Deliveries


def test_a_delivery_shows_what_became_of_it(world: World, viewer: Client):
    WebhookDelivery.objects.update(
        state="given_up", attempts=10, last_status=503, last_error="The endpoint answered 503."
    )

    listed = text(viewer.get(url(WebhookDelivery, "changelist")))
    page = text(viewer.get(url(world.ours.delivery, "change")))

    assert "Given up" in listed
    assert "503" in listed
    assert "The endpoint answered 503." in page
    assert "&quot;type&quot;: &quot;response.completed&quot;" in page


@cases(
    ("question", "count"),
    [
        ("state__exact=given_up", 1),
        ("state__exact=pending", 0),
        ("event_type__exact=response.completed", 1),
        ("q=resp_ours", 1),
        ("q=resp_zzcanary", 0),
        ("q=resp", 0),
    ],
)
def test_deliveries_are_filtered(question: str, count: int, world: World, viewer: Client):
    WebhookDelivery.objects.update(state="given_up")

    answer = viewer.get(f"{url(WebhookDelivery, 'changelist')}?{question}")

    assert len(answer.context["cl"].result_list) == count


def test_a_developer_sends_what_has_ended_again(world: World, developer: Client):
    row = world.ours.delivery
    WebhookDelivery.objects.update(state="given_up", attempts=10, ended_at=clock.now())

    answer = act(developer, WebhookDelivery, "send_again", row)

    row.refresh_from_db()
    assert answer.status_code == 302
    assert (row.state, row.attempts, row.ended_at) == ("pending", 0, None)
    assert row.next_attempt_at <= clock.now()
    assert "1 of the chosen deliveries" in text(developer.get(url(WebhookDelivery, "changelist")))
    assert "Sent again." in text(developer.get(url(row, "history")))


def test_a_strangers_delivery_is_not_sent_again(world: World, admin: Client):
    WebhookDelivery.objects.update(state="given_up")

    for more in ({}, {"select_across": "1"}):
        assert_clean(act(admin, WebhookDelivery, "send_again", world.theirs.delivery, **more))

    world.theirs.delivery.refresh_from_db()
    assert world.theirs.delivery.state == "given_up"


def test_nobody_writes_the_log(world: World, operator: Client):
    row = world.ours.delivery

    assert operator.post(url(row, "change"), {"state": "delivered"}).status_code == 403
    assert operator.post(url(row, "delete"), {"post": "yes"}).status_code == 403
    assert operator.post(url(WebhookDelivery, "add"), {}).status_code == 403
