"""find_request tells what became of a request, answered or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenants.ledger import row_ids
from tenants.models import Tenant
from tests.commands import running
from tests.support import logged

pytestmark = pytest.mark.django_db

AT = datetime(2026, 10, 15, 12, 30, tzinfo=UTC)


def test_an_answered_and_a_refused_request_are_told_in_words_and_as_an_object() -> None:
    acme = Tenant.objects.create(slug="acme", name="Acme")
    request = logged.request_id(AT)
    failed = {"status": "failed", "error_code": "upstream_overloaded", "absorbed": True}
    logged.call(acme, AT, request, 0, provider="first", **failed)
    logged.call(acme, AT + timedelta(seconds=1), request, 1, duration_ms=500)
    refused = logged.refusal(acme, AT, message="The model 'x' does not exist.")

    told = running.text("find_request", request)
    assert "Answered by openai/gpt-5 on attempt 2, after 1.5 s" in told
    assert "1. first/gpt-5: failed upstream_overloaded, opened after 0 ms" in told
    found = running.answer("find_request", request)
    assert [each["provider"] for each in found["attempts"]] == ["first", "openai"]
    assert found["summary"]["id"] == request
    other = running.text("find_request", row_ids.request_id_of(refused.pk))
    assert "Refused: The model 'x' does not exist." in other
    assert "HTTP 404 model_not_found" in other


def test_what_is_no_request_is_named() -> None:
    for odd in ("req_1", "x", "req_" + "0" * 32):
        assert running.refusal("find_request", odd).startswith("id: There is no such request.")


def test_what_a_client_wrote_tells_the_operator_s_terminal_nothing() -> None:
    acme = Tenant.objects.create(slug="acme", name="Acme")
    message = "\x1b]0;owned\x07\x9b2J\u202eThe model does\tnot exist.\rRefused"
    refused = logged.refusal(acme, AT, message=message)
    told = running.text("find_request", row_ids.request_id_of(refused.pk))
    assert r"\u001b]0;owned\u0007\u009b2J\u202eThe model does" in told
    assert not set(told) & set("\x1b\x07\x9b\u202e\r")
