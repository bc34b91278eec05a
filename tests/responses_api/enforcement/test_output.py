"""A model's words are looked at before a client sees them, by checks of ours and by checks outside."""

from __future__ import annotations

import pytest

from tests.plugins.cases import cases
from tests.support import guardrails, ledger
from tests.support.client import Json, ask
from tests.support.guardrails import Service, events
from tests.support.live import LiveGateway
from tests.support.rows import Customer

DOORS = ("chat", "responses")


@pytest.fixture(autouse=True)
def from_here(gateway: LiveGateway) -> None:
    ledger.begin_here(gateway)


@cases("stream", (False, True))
def test_a_blocked_answer_is_charged_as_the_provider_counted_it(
    gateway: LiveGateway, acme: Customer, stream: bool
):
    """The sandbox says back what it was told."""
    row = guardrails.guardrail(
        f"out-{stream}".lower(), stages=["output"], config={"terms": ["forbidden"]}
    )
    before = len(ledger.rows(gateway))
    for door in DOORS:
        answer = ask(gateway, door, acme, "sandbox-responses", "say forbidden now", stream=stream)
        assert answer.status_code == 200
        assert "forbidden" not in answer.text.replace("say forbidden now", "")
        assert "content_filter" in answer.text
    found = ledger.rows(gateway)[before:]
    assert [each.guardrail_outcome for each in found] == ["blocked", "blocked"]
    assert {(each.status, each.error_code) for each in found} == {("incomplete", "content_filter")}
    for each, call in zip(found, list(gateway.sandbox.calls)[-2:], strict=True):
        generated = call.generated[1]
        assert 0 < each.output_visible <= generated
        if each.usage_source == "provider":
            assert each.output_visible == generated
    row.delete()


@cases("stream", (False, True))
@cases("output", ("whole", "windows"))
def test_a_service_judges_an_answer_before_it_is_seen(
    gateway: LiveGateway, acme: Customer, stream: bool, output: str
):
    def judge(question: Json) -> Json:
        text = question["segments"][0]["text"]
        if "stopme" in text:
            return {"action": "block", "rule": "stop"}
        at = text.find("Bob")
        if at < 0:
            return {"action": "allow"}
        spans = [{"start": at, "end": at + 3, "replacement": "[NAME]"}]
        return {"action": "mask", "segments": [{"index": 0, "spans": spans}]}

    with Service(judge) as service:
        row = guardrails.outside(
            f"judge-{output}-{stream}".lower(),
            service,
            stages=["output"],
            config={"output": output},
        )
        for door in DOORS:
            masked = ask(gateway, door, acme, "sandbox-chat", "I am Bob indeed", stream=stream)
            assert "[NAME]" in masked.text
            blocked = ask(gateway, door, acme, "sandbox-chat", "please stopme", stream=stream)
            assert "content_filter" in blocked.text
        assert {question["stage"] for question in service.questions} == {"output"}
        row.delete()


def test_reversible_masks_hide_values_from_the_provider_and_come_back(
    gateway: LiveGateway, acme: Customer
):
    guardrails.guardrail("pii", "pii", action="mask", reversible=True, config={})
    for stream in (False, True):
        for door in DOORS:
            answer = ask(
                gateway, door, acme, "sandbox-chat", "mail bob@example.com please", stream=stream
            )
            sent = str(gateway.sandbox.calls[-1].body)
            assert "bob@example.com" not in sent
            assert "[EMAIL_1]" in sent
            assert "[EMAIL_1]" not in answer.text
    assert {each.action for each in events(gateway, 4)} == {"masked"}
