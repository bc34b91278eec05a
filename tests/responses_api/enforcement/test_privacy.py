"""Nothing of a text stands in what guardrails leave behind, and no tenant sees another's."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs

from gateway_project.lib import clock
from responses_api.enforcement import recording
from responses_api.enforcement.retention import purge_guardrail_events
from responses_api.models import GuardrailEvent
from tenants.models import RefusedRequest
from tests.support import guardrails, ledger
from tests.support.client import ask
from tests.support.guardrails import Service, events
from tests.support.live import LiveGateway
from tests.support.outcomes import Outcomes
from tests.support.patience import until
from tests.support.rows import Customer

SECRET = "bob.the.secret@example.com"


@pytest.fixture(autouse=True)
def from_here(gateway: LiveGateway) -> None:
    ledger.begin_here(gateway)


def test_no_text_is_in_events_rows_errors_or_logs(
    gateway: LiveGateway, acme: Customer, outcomes: Outcomes, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    said = {"action": "block", "rule": f"because of {SECRET}", "message": SECRET}
    text = f"write to {SECRET} now"
    with Service(lambda question: said if "block me" in str(question) else 500) as service:
        guardrails.guardrail("pii", "pii", action="mask", config={})
        guardrails.outside("judge", service, action="monitor")
        guardrails.outside("strict", service, stages=["tools"])
        tool = {"type": "function", "name": "f", "description": f"block me {SECRET}"}
        answers = [
            ask(gateway, "responses", acme, "sandbox-responses", text),
            ask(gateway, "responses", acme, "sandbox-responses", text, tools=[tool]),
        ]
    assert [answer.status_code for answer in answers] == [200, 400]
    found = events(gateway, 3)
    rows = ledger.rows(gateway)
    written = "".join(
        str([getattr(row, field.attname) for field in row._meta.concrete_fields])
        for row in (*found, *rows, *RefusedRequest.objects.all())
    )
    logged = caplog.text + str(outcomes())
    for place in (written, logged, answers[1].text, str(answers[0].headers)):
        assert SECRET not in place
        assert "bob.the" not in place
    first = next(each for each in found if each.guardrail == "pii")
    assert (first.rule, first.offset, first.length) == ("email", len("write to "), len(SECRET))


def test_equal_values_have_equal_digests_within_a_tenant_alone():
    assert recording.digest(1, "a") == recording.digest(1, "a")
    assert len({recording.digest(1, "a"), recording.digest(2, "a"), recording.digest(1, "b")}) == 3


def test_a_flood_of_findings_is_bounded(gateway: LiveGateway, acme: Customer):
    guardrails.guardrail(action="monitor")
    ask(gateway, "chat", acme, "sandbox-chat", "forbidden")
    (event,) = events(gateway, 1)
    record = recording.EventRecord(
        **{
            name: getattr(event, name)
            for name in recording.EventRecord.__struct_fields__
            if name != "id"
        },
        id=event.pk,
    )
    services = gateway.worker.services
    writer = recording.EventWriter(services.writer, services.metrics)

    def flood() -> None:
        for _ in range(recording.SINGLY_A_MINUTE * 2):
            made, at = recording.new_id()
            writer.write(structs.replace(record, id=made, at=at))

    gateway.call(flood)
    until(lambda: GuardrailEvent.objects.count() > recording.SINGLY_A_MINUTE)
    assert GuardrailEvent.objects.count() == recording.SINGLY_A_MINUTE + 1


def test_old_events_are_deleted(gateway: LiveGateway, acme: Customer, settings: Any):
    settings.GUARDRAIL_EVENT_DAYS = 30
    guardrails.guardrail(action="monitor")
    for _ in range(2):
        ask(gateway, "chat", acme, "sandbox-chat", "forbidden")
    first, second = events(gateway, 2)
    GuardrailEvent.objects.filter(pk=first.pk).update(at=clock.now() - timedelta(days=31))
    assert len(list(purge_guardrail_events())) == 1
    assert list(GuardrailEvent.objects.all()) == [second]
