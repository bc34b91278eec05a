"""The audit log is handed on to the operator's webhook, signed, at least once and in order."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from gateway_project.lib.secret import Secret
from responses_api.webhooks import audit_delivery, signing
from tenants.audit import events
from tenants.models import AuditPosition, Tenant
from tests.support.receiver import Receiver

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("database_threads"),
]


def deliver() -> None:
    asyncio.run(audit_delivery.send())


def test_the_webhook_gets_every_event_signed_and_again_until_it_accepts(settings):
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    events.record("usage.exported", tenant_id=tenant.pk)
    settings.AUDIT_WEBHOOK_SECRET = signing.new_secret()

    with Receiver(statuses=(500, 200)) as receiver:
        settings.AUDIT_WEBHOOK = Secret(receiver.url)
        deliver()
        assert AuditPosition.objects.get().sequence == 0
        assert audit_delivery.is_behind()
        deliver()
        assert not audit_delivery.is_behind()
        events.record("audit.exported", tenant_id=tenant.pk)
        deliver()

    refused, taken, last = receiver.received
    assert refused.headers["webhook-id"] == taken.headers["webhook-id"]
    client = openai.OpenAI(api_key="x", webhook_secret=settings.AUDIT_WEBHOOK_SECRET.reveal())
    for each in receiver.received:
        client.webhooks.verify_signature(each.body, each.headers)
    sent = [json.loads(each.body)["data"] for each in (taken, last)]
    assert [data["chain"] for data in sent] == [tenant.pk] * 2
    told = [event for data in sent for event in data["events"]]
    assert [event["action"] for event in told] == [
        *("tenant.created", "usage.exported", "audit.exported")
    ]
    assert [event["sequence"] for event in told] == [1, 2, 3]
    assert told[1]["previous_hash"] == told[0]["hash"]


def test_a_secret_that_cannot_sign_sends_nothing(settings, caplog):
    Tenant.objects.create(slug="acme", name="Acme")
    settings.AUDIT_WEBHOOK_SECRET = Secret("whsec_short")
    with Receiver() as receiver:
        settings.AUDIT_WEBHOOK = Secret(receiver.url)
        deliver()
    assert receiver.received == []
    assert "TOLLGATE_AUDIT_WEBHOOK_SECRET" in caplog.text
    assert "short" not in caplog.text
