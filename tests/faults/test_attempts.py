"""Test which lanes a call is sent to, how often, and what its client is told of that."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from gateway_project.sandbox.faults import PREFIX
from gateway_project.sandbox.reply import Scripted
from routing.models import ProviderModel
from tenants.models import Tenant, UsageRow
from tests.plugins.cases import cases
from tests.support import ledger, rows
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer
from tests.support.sockets import opened

ATTEMPTS, TARGET, ROUTING = "x-tollgate-attempts", "x-tollgate-target", "x-tollgate-routing"
streamed_or_not = cases("stream", [False, True], ids=["json", "stream"])
DEBUG = {"x-tollgate-debug": "routing"}


@pytest.fixture
def customer(gateway: LiveGateway) -> Customer:
    return rows.customer("acme", shows_upstreams=True)


def lanes(gateway: LiveGateway, *models: str, **fields: Any) -> str:
    """Make an alias over models, each of a provider of its own: a, b, c …"""
    places = [
        (rows.provider("chat", gateway.sandbox.base_url, name), model)
        for name, model in zip("abcdef", models, strict=False)
    ]
    rows.alias("many", *places, **fields)
    return "many"


class Told:
    """An answer: its status, its headers, and whether it came whole."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status, self.headers, self.text = answer.status_code, answer.headers, answer.text

    @property
    def error_code(self) -> str:
        return str(orjson.loads(self.text)["error"]["code"])


def ask(gateway: LiveGateway, customer: Customer, stream: bool = False, **headers: str) -> Told:
    said = [{"role": "user", "content": "Hi"}]
    body = {"model": "many", "messages": said, "stream": stream}
    with client_of(gateway, customer) as http:
        return Told(http.post("/chat/completions", json=body, headers=headers))


def asked(gateway: LiveGateway) -> list[str | None]:
    return [call.model for call in gateway.sandbox.calls]


def refusing(gateway: LiveGateway, model: str, status: int, code: str) -> str:
    """Have the sandbox refuse a model's calls with this status and code."""
    body = b'{"error": {"message": "no", "type": "invalid_request_error", "code": "%s"}}'
    reply = Scripted(status=status, content_type="application/json", chunks=(body % code.encode(),))
    gateway.call(lambda: gateway.sandbox.script(model, reply))
    return model


@streamed_or_not
def test_the_client_is_told_how_its_call_fared(
    gateway: LiveGateway, customer: Customer, stream: bool
) -> None:
    lanes(gateway, PREFIX + "429", PREFIX + "500", "good")
    answer = ask(gateway, customer, stream, **DEBUG)
    assert (answer.status, answer.headers[ATTEMPTS]) == (200, "3")
    assert answer.headers[TARGET] == "c/good"
    assert answer.headers[ROUTING] == (
        f"a/{PREFIX}429=rate_limit_exceeded, b/{PREFIX}500=upstream_error, c/good=ok"
    )


@streamed_or_not
def test_a_tenant_that_is_shown_aliases_only_is_told_the_number_alone(
    gateway: LiveGateway, customer: Customer, stream: bool
) -> None:
    Tenant.objects.filter(pk=customer.tenant.pk).update(shows_upstreams=False)
    lanes(gateway, PREFIX + "500", "good")
    answer = ask(gateway, customer, stream, **DEBUG)
    assert answer.headers[ATTEMPTS] == "2"
    assert TARGET not in answer.headers
    assert ROUTING not in answer.headers


def test_an_error_tells_it_too(gateway: LiveGateway, customer: Customer) -> None:
    lanes(gateway, PREFIX + "500", PREFIX + "500")
    answer = ask(gateway, customer, False, **DEBUG)
    assert (answer.status, answer.headers[ATTEMPTS]) == (502, "2")
    assert answer.headers[ROUTING].count("=upstream_error") == 2


def test_an_error_frame_of_a_websocket_tells_it_too(
    gateway: LiveGateway, customer: Customer
) -> None:
    lanes(gateway, refusing(gateway, "m1", 400, "bad"), "m2")
    with opened(gateway, customer.headers) as ws:
        ws.create("many")
        told = ws.error()["error"]["headers"]
    assert (told[ATTEMPTS], told[TARGET]) == ("1", "a/m1")


def test_a_repeated_key_gets_the_same_headers(gateway: LiveGateway, customer: Customer) -> None:
    lanes(gateway, PREFIX + "500", "good")
    key = {"idempotency-key": "k1"}
    first = ask(gateway, customer, False, **key, **DEBUG)
    again = ask(gateway, customer, False, **key)
    assert again.headers["idempotent-replayed"] == "true"
    for name in (ATTEMPTS, TARGET, ROUTING):
        assert again.headers[name] == first.headers[name]


@streamed_or_not
@cases("most", [1, 2, 3])
def test_no_more_lanes_are_asked_than_the_alias_allows(
    gateway: LiveGateway, customer: Customer, stream: bool, most: int
) -> None:
    lanes(gateway, *[PREFIX + "500"] * 5, max_attempts=most)
    answer = ask(gateway, customer, stream)
    assert (answer.status, answer.headers[ATTEMPTS]) == (502, str(most))
    assert len(asked(gateway)) == most


@cases(
    ("status", "code", "kind"),
    [
        (500, "server_error", "unavailable"),
        (429, "rate_limit_exceeded", "rate_limit"),
        (429, "insufficient_quota", "quota"),
        (401, "invalid_api_key", "auth"),
        (400, "context_length_exceeded", "context_length"),
        (400, "content_policy_violation", "content_policy"),
    ],
)
def test_another_lane_is_asked_after_the_kinds_of_failure_that_the_alias_names(
    gateway: LiveGateway, customer: Customer, status: int, code: str, kind: str
) -> None:
    for named in ([kind], []):
        gateway.between_cases()
        lanes(gateway, refusing(gateway, "bad", status, code), "good", fall_back_on=named)
        answer = ask(gateway, customer)
        assert (answer.status == 200) is bool(named)
        assert asked(gateway) == (["bad", "good"] if named else ["bad"])


def test_what_is_too_long_goes_one_step_to_a_larger_window(
    gateway: LiveGateway, customer: Customer
) -> None:
    for model in ("small", "medium", "large"):
        refusing(gateway, model, 400, "context_length_exceeded")
    lanes(gateway, "medium", "small", "large", "other")
    for model, window in (("small", 1000), ("medium", 2000), ("large", 3000), ("other", 4000)):
        ProviderModel.objects.filter(upstream_id=model).update(context_window=window)
    gateway.catch_up()
    answer = ask(gateway, customer)
    assert answer.status == 400
    assert asked(gateway) == ["medium", "large"]


def test_a_lane_that_is_alone_is_asked_again_if_it_is_busy(
    gateway: LiveGateway, customer: Customer
) -> None:
    lanes(gateway, PREFIX + "503")
    answer = ask(gateway, customer)
    assert (answer.status, answer.headers[ATTEMPTS]) == (503, "3")
    lanes(gateway, PREFIX + "500")
    assert ask(gateway, customer).headers[ATTEMPTS] == "1"


def test_each_attempt_is_a_row_and_those_before_the_last_are_absorbed(
    gateway: LiveGateway, customer: Customer
) -> None:
    ledger.begin_here(gateway)
    lanes(gateway, PREFIX + "429", PREFIX + "500", "good")
    ask(gateway, customer)
    found: list[UsageRow] = sorted(ledger.rows(gateway), key=lambda row: row.leg)
    assert [(row.leg, row.status, row.absorbed) for row in found] == [
        (0, "failed", True), (1, "failed", True), (2, "completed", False),
    ]  # fmt: skip


def test_a_lane_that_asked_to_be_left_alone_is_passed_over(
    gateway: LiveGateway, customer: Customer
) -> None:
    lanes(gateway, PREFIX + "429", "good")
    assert [ask(gateway, customer).headers[ATTEMPTS] for _ in range(3)] == ["2", "1", "1"]
    assert asked(gateway) == [PREFIX + "429", "good", "good", "good"]


def test_where_nothing_else_is_left_the_client_is_told_when_to_come_back(
    gateway: LiveGateway, customer: Customer
) -> None:
    lanes(gateway, PREFIX + "429-retry-after", PREFIX + "429", wait_seconds=0)
    assert ask(gateway, customer).headers[ATTEMPTS] == "2"
    answer = ask(gateway, customer)
    assert (answer.status, answer.headers[ATTEMPTS]) == (429, "0")
    assert answer.error_code == "rate_limit_exceeded"
    assert 1 <= int(answer.headers["retry-after"]) <= 2
    assert len(asked(gateway)) == 2


@streamed_or_not
def test_a_short_hold_is_waited_for(gateway: LiveGateway, customer: Customer, stream: bool) -> None:
    gateway.limit(commit=60.0, first_byte=60.0)
    body = b'{"error": {"message": "no", "code": "rate_limit_exceeded"}}'
    busy = Scripted(
        status=429, content_type="application/json", chunks=(body,), headers={"retry-after": "1"}
    )
    gateway.call(lambda: gateway.sandbox.script("later", busy))
    lanes(gateway, "later", wait_seconds=30)
    assert ask(gateway, customer, stream).status == 429
    gateway.call(gateway.sandbox.forget)
    answer = ask(gateway, customer, stream)
    assert (answer.status, answer.headers[ATTEMPTS]) == (200, "1")


def busy_lane(gateway: LiveGateway, customer: Customer) -> None:
    """Have the only lane of an alias ask to be left alone for a second, and work again."""
    body = b'{"error": {"message": "no", "code": "rate_limit_exceeded"}}'
    busy = Scripted(
        status=429, content_type="application/json", chunks=(body,), headers={"retry-after": "1"}
    )
    gateway.call(lambda: gateway.sandbox.script("later", busy))
    lanes(gateway, "later", wait_seconds=30)
    assert ask(gateway, customer).status == 429
    gateway.call(gateway.sandbox.forget)


def test_a_client_of_a_stream_sees_signs_of_life_while_its_call_waits_for_a_lane(
    gateway: LiveGateway, customer: Customer
) -> None:
    gateway.limit(commit=0.1, keepalive=0.1, total_stream=60.0)
    busy_lane(gateway, customer)
    answer = ask(gateway, customer, True)
    begun, _, said = answer.text.partition("data: ")
    assert answer.status == 200
    assert begun.count(":") >= 1
    assert "[DONE]" in said


def test_a_turn_of_a_websocket_waits_for_a_lane(gateway: LiveGateway, customer: Customer) -> None:
    gateway.limit(commit=60.0, first_byte=60.0)
    busy_lane(gateway, customer)
    with opened(gateway, customer.headers) as ws:
        assert ws.turn(model="many")["status"] == "completed"


def test_a_response_in_the_background_waits_for_a_lane(
    gateway: LiveGateway, customer: Customer
) -> None:
    busy_lane(gateway, customer)
    with client_of(gateway, customer) as http:
        asked_for = {"model": "many", "input": "Hi", "background": True}
        made = http.post("/responses", json=asked_for).json()
        until(lambda: http.get(f"/responses/{made['id']}").json()["status"] == "completed")


def test_the_last_lane_answers_although_its_circuit_is_open(
    gateway: LiveGateway, customer: Customer
) -> None:
    lanes(gateway, refusing(gateway, "good", 500, "server_error"), wait_seconds=0)
    for _ in range(6):
        assert ask(gateway, customer).status == 502
    (open_circuit,) = gateway.worker.services.lane_health.open_circuits()
    assert open_circuit.opened_by == "failures"
    gateway.call(gateway.sandbox.forget)
    answer = ask(gateway, customer)
    assert (answer.status, answer.headers[ATTEMPTS]) == (200, "1")
    assert gateway.worker.services.lane_health.open_circuits() == []


def test_a_storm_of_bad_requests_changes_nothing_for_others(
    gateway: LiveGateway, customer: Customer
) -> None:
    lanes(gateway, refusing(gateway, "picky", 400, "invalid_prompt"), "good")
    for _ in range(30):
        assert ask(gateway, customer).status == 400
    assert gateway.worker.services.lane_health.open_circuits() == []
    gateway.call(gateway.sandbox.forget)
    assert ask(gateway, rows.customer("bob")).headers[ATTEMPTS] == "1"
    assert asked(gateway) == ["picky"]


def test_sealed_reasoning_that_the_upstream_cannot_open_is_left_out(
    gateway: LiveGateway, customer: Customer
) -> None:
    provider = rows.provider("responses", gateway.sandbox.base_url, "a")
    rows.alias("many", (provider, "good"))
    reply = Scripted(
        status=400,
        content_type="application/json",
        chunks=(b'{"error": {"message": "no", "code": "invalid_encrypted_content"}}',),
    )
    gateway.call(lambda: gateway.sandbox.script("good", reply))
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    said = {"type": "message", "role": "user", "content": "Hi"}
    body = {"model": "many", "input": [thought, said], "store": False}
    with client_of(gateway, customer) as http:
        first = http.post("/responses", json=body)
    assert (first.status_code, first.headers[ATTEMPTS]) == (400, "2")
    assert first.json()["error"]["code"] == "invalid_encrypted_content"
    kinds = [[item.get("type") for item in call.body["input"]] for call in gateway.sandbox.calls]
    assert kinds == [["reasoning", "message"], ["message"]]
