"""Nothing that may not pass reaches a provider, wherever it stands in a request."""

from __future__ import annotations

import pytest

from tests.support import guardrails, ledger
from tests.support.client import ask, error_of
from tests.support.guardrails import events
from tests.support.live import LiveGateway
from tests.support.rows import Customer


@pytest.fixture(autouse=True)
def from_here(gateway: LiveGateway) -> None:
    ledger.begin_here(gateway)


def test_a_blocked_request_is_refused_by_name_and_costs_nothing(
    gateway: LiveGateway, acme: Customer
):
    guardrails.guardrail("no-words", tenant=acme.tenant)
    for door in ("chat", "responses"):
        answer = ask(gateway, door, acme, "sandbox-chat", "this is forbidden here")
        status, code, param = error_of(answer)
        assert (status, code) == (400, "content_policy_violation")
        assert param == {"chat": "messages[0].content", "responses": "input"}[door]
        assert answer.headers["x-should-retry"] == "false"
        assert "no-words" in answer.text
        assert "forbidden" not in answer.text
    assert ledger.rows(gateway) == []
    assert not gateway.sandbox.calls
    first, _ = events(gateway, 2)
    assert (first.guardrail, first.action, first.stage, first.rule) == (
        "no-words",
        "blocked",
        "input",
        "terms",
    )


def test_masks_change_what_is_sent(gateway: LiveGateway, acme: Customer):
    guardrails.guardrail("pii", "pii", action="mask", config={}, tenant=acme.tenant)
    answer = ask(gateway, "chat", acme, "sandbox-chat", "mail bob@example.com now")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tollgate-guardrails"] == "pii=masked"
    (call,) = gateway.sandbox.calls
    assert call.body["messages"][0]["content"] == "mail [EMAIL] now"
    (row,) = ledger.rows(gateway)
    assert row.guardrail_outcome == "masked"
