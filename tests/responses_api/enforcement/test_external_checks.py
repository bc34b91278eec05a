"""Checks that are asked outside: what they are told, what they may answer, and what happens without them."""

from __future__ import annotations

import base64
import hmac
import threading
from typing import Any

import pytest

from gateway_project.lib.secret import Secret
from responses_api.enforcement.external.breaker import FAILURES
from responses_api.models import Guardrail
from responses_api.webhooks import signing
from tenants import managed
from tenants.access.access import OPERATOR
from tests.plugins.cases import cases
from tests.support import guardrails, ledger
from tests.support.client import ask, error_of
from tests.support.guardrails import Json, Service, events
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer

SECRET = signing.new_secret()


@pytest.fixture(autouse=True)
def from_here(gateway: LiveGateway) -> None:
    ledger.begin_here(gateway)


def signature_of(signed: bytes) -> str:
    """Sign as the specification of Standard Webhooks says."""
    key = base64.b64decode(SECRET.reveal().removeprefix("whsec_"))
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def allow(question: Json) -> Json:
    return {"action": "allow"}


def test_our_webhook_is_signed_and_told_what_stands_where(gateway: LiveGateway, acme: Customer):
    with Service(allow) as service:
        guardrails.outside("judge", service, secret=Secret(SECRET.reveal()))
        answer = ask(gateway, "responses", acme, "sandbox-chat", "Hello", instructions="Be kind.")
    assert answer.status_code == 200, answer.text
    (question,) = service.questions
    assert question["version"] == 1
    assert (question["stage"], question["tenant"]) == ("input", "acme")
    assert (question["key"], question["alias"]) == (acme.key.public_id, "sandbox-chat")
    assert question["request_id"] == answer.headers["x-request-id"]
    found = {(each["surface"], each["role"], each["text"]) for each in question["segments"]}
    assert found == {("instructions", "system", "Be kind."), ("message", "user", "Hello")}
    headers, body = service.headers[0], service.bodies[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert headers["webhook-signature"] == f"v1,{signature_of(signed)}"
    (row,) = ledger.rows(gateway)
    assert row.guardrail_outcome == "passed"


def test_a_service_may_block_and_its_words_go_to_nobody(gateway: LiveGateway, acme: Customer):
    said = {"action": "block", "rule": "jailbreak", "message": "Hello is rude"}
    with Service(lambda question: said) as service:
        guardrails.outside("judge", service)
        answer = ask(gateway, "chat", acme, "sandbox-chat", "Hello")
    assert error_of(answer)[:2] == (400, "content_policy_violation")
    assert "rude" not in answer.text
    assert not gateway.sandbox.calls
    (event,) = events(gateway, 1)
    assert (event.action, event.rule, event.guardrail) == ("blocked", "jailbreak", "judge")


def test_a_service_masks_in_code_points(gateway: LiveGateway, acme: Customer):
    def mask(question: Json) -> Json:
        spans = [{"start": 2, "end": 5, "replacement": "[NAME]"}]
        return {"action": "mask", "segments": [{"index": 0, "spans": spans}]}

    with Service(mask) as service:
        guardrails.outside("judge", service, action="mask")
        answer = ask(gateway, "chat", acme, "sandbox-chat", "🙂 Bob!")
    assert answer.headers["x-tollgate-guardrails"] == "judge=masked"
    assert gateway.sandbox.calls[-1].body["messages"][0]["content"] == "🙂 [NAME]!"
    (event,) = events(gateway, 1)
    assert (event.offset, event.length, len(event.digest)) == (2, 3, 32)


MALFORMED: tuple[Any, ...] = (
    {"action": "perhaps"},
    {"action": "mask"},
    {"action": "mask", "segments": []},
    {"action": "mask", "segments": [{"index": 1, "spans": [{"start": 0, "end": 1}]}]},
    {"action": "mask", "segments": [{"index": 0, "spans": [{"start": 3, "end": 3}]}]},
    {"action": "mask", "segments": [{"index": 0, "spans": [{"start": 0, "end": 99}]}]},
    {"action": "mask", "segments": [{"index": 0, "spans": [{"start": True, "end": 2}]}]},
    {"action": "mask", "segments": [{"index": 0, "spans": [{"start": 0, "end": 3}, {"start": 2, "end": 4}]}]},
    [],
    b"no JSON",
    302,
    500,
)  # fmt: skip


def test_without_a_proper_answer_nothing_passes_or_as_the_row_says_everything(
    gateway: LiveGateway, acme: Customer
):
    said: list[Any] = [None]
    with Service(lambda question: said[0]) as service:
        row = guardrails.outside("judge", service, action="mask")
        for wrong in MALFORMED:
            said[0] = wrong
            refused = ask(gateway, "chat", acme, "sandbox-chat", "Hello")
            assert error_of(refused)[:2] == (503, "guardrail_unavailable"), wrong
            assert refused.headers["retry-after"]
        assert not gateway.sandbox.calls
        managed.change(OPERATOR, row, {"on_failure": "open"})
        gateway.call(gateway.worker.forget)
        answer = ask(gateway, "chat", acme, "sandbox-chat", "Hello")
        assert answer.status_code == 200
        assert answer.headers["x-tollgate-guardrails"] == "judge=skipped"
    found = events(gateway, len(MALFORMED) + 1)
    assert {each.action for each in found[:-1]} == {"unavailable"}
    assert found[-1].action == "skipped"
    assert all(each.failure for each in found)
    assert ledger.rows(gateway)[0].guardrail_outcome == "skipped"


def test_a_check_that_is_away_is_asked_no_more_for_a_while(gateway: LiveGateway, acme: Customer):
    with Service(lambda question: 500) as service:
        guardrails.outside("judge", service)
        for n in range(FAILURES + 3):
            ask(gateway, "chat", acme, "sandbox-chat", f"Hello {n}")
        assert len(service.questions) == FAILURES
    assert events(gateway, FAILURES + 3)[-1].failure == "breaker_open"


def test_a_check_that_is_slow_is_given_up(gateway: LiveGateway, acme: Customer):
    with Service(allow) as service:
        service.released.clear()
        guardrails.outside("judge", service, timeout_ms=50)
        answer = ask(gateway, "chat", acme, "sandbox-chat", "Hello")
    assert error_of(answer)[:2] == (503, "guardrail_unavailable")
    assert events(gateway, 1)[0].failure == "timeout"


def test_what_was_let_through_is_not_asked_and_paid_for_again(gateway: LiveGateway, acme: Customer):
    with Service(allow) as service:
        guardrails.outside("judge", service)
        first = ask(gateway, "responses", acme, "sandbox-chat", "First", store=True).json()
        ask(gateway, "responses", acme, "sandbox-chat", "Second", previous_response_id=first["id"])
        texts = [each["text"] for question in service.questions for each in question["segments"]]
    assert texts.count("First") == 1
    assert texts[-1] == "Second"


def test_a_moderation_service_is_judged_by_thresholds_and_flags(
    gateway: LiveGateway, acme: Customer
):
    def moderate(question: Json) -> Json:
        return {
            "results": [
                {
                    "flagged": "rude" in text,
                    "categories": {"harassment": "rude" in text, "violence": False},
                    "category_scores": {
                        "harassment": 0.9,
                        "violence": 0.3 if "hit" in text else 0.0,
                    },
                }
                for text in question["input"]
            ]
        }

    with Service(moderate) as service:
        guardrails.outside("mod", service, "moderation", config={"thresholds": {"violence": 0.2}})
        asked = [
            ask(gateway, "chat", acme, "sandbox-chat", text)
            for text in ("hello", "rude", "hit him")
        ]
    assert [each.status_code for each in asked] == [200, 400, 400]
    assert service.questions[0] == {"model": "omni-moderation-latest", "input": ["hello"]}
    assert [each.rule for each in events(gateway, 2)] == ["harassment", "violence"]


def test_litellms_dialect_is_spoken(gateway: LiveGateway, acme: Customer):
    def judge(question: Json) -> Json:
        texts = [text.replace("Bob", "<NAME>") for text in question["texts"]]
        if texts != question["texts"]:
            return {"action": "GUARDRAIL_INTERVENED", "texts": texts}
        return {"action": "BLOCKED" if "no" in texts[0] else "NONE", "blocked_reason": "no"}

    with Service(judge) as service:
        config = {"dialect": "litellm"}
        guardrails.outside("judge", service, config=config, secret=Secret("key-1"))
        asked = [
            ask(gateway, "chat", acme, "sandbox-chat", text) for text in ("Hi", "Hi Bob", "no")
        ]
    assert [each.status_code for each in asked] == [200, 200, 400]
    assert gateway.sandbox.calls[-1].body["messages"][0]["content"] == "Hi <NAME>"
    assert service.headers[0]["x-api-key"] == "key-1"
    assert service.questions[0]["input_type"] == "request"


@cases("stream", (False, True))
def test_a_check_beside_the_call_lets_nothing_out_before_its_verdict(
    gateway: LiveGateway, acme: Customer, stream: bool
):
    with Service(lambda question: {"action": "block", "rule": "bad"}) as service:
        service.released.clear()
        guardrails.outside(f"judge-{stream}".lower(), service, parallel=True, timeout_ms=20_000)
        before = len(gateway.sandbox.calls)

        def release() -> None:
            until(lambda: len(gateway.sandbox.calls) > before)
            service.released.set()

        threading.Thread(target=release, daemon=True).start()
        answer = ask(gateway, "responses", acme, "sandbox-chat", "Hello", stream=stream)
    assert error_of(answer)[:2] == (400, "content_policy_violation")
    row = ledger.rows(gateway)[-1]
    assert (row.guardrail_outcome, row.status, row.error_code) == (
        "blocked", "failed", "content_policy_violation",
    )  # fmt: skip
    Guardrail.objects.all().delete()
