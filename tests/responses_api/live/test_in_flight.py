"""Running calls, and stopping them: over the management API of a gateway that is making calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from gateway_project.sandbox.faults import PREFIX
from responses_api.live import answering, in_flight
from responses_api.live.messages import read_answer, read_question
from responses_api.models import StoredResponse
from tenants.access.access import OPERATOR, access_of
from tenants.keys import api_tokens
from tenants.models import AuditEvent, Membership, Tenant
from tests.plugins.cases import cases
from tests.support import ledger, rows, wire
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.patience import GIVE_UP_SECONDS, until
from tests.support.rows import Customer
from tests.support.wire import Wire

Json = dict[str, Any]
# Long enough for any test; what a test stops it ends.
LONG = "[chunks=100000] [pace=10]"


@pytest.fixture(autouse=True)
def a_busy_machine_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "END_SECONDS", GIVE_UP_SECONDS)
    monkeypatch.setattr(in_flight, "SHARED_SECONDS", -1.0)


@pytest.fixture
def customer(gateway: LiveGateway) -> Customer:
    customer = rows.customer("acme")
    provider = rows.provider("responses", gateway.sandbox.base_url)
    rows.alias("good-responses", (provider, "good"))
    rows.alias("silent-responses", (provider, PREFIX + "silence"))
    ledger.begin_here(gateway)
    return customer


class Api:
    """Somebody with a token of the management API."""

    def __init__(self, gateway: LiveGateway, secret: str) -> None:
        self._root = f"{gateway.root_url}/api/v1/"
        self._headers = {"authorization": f"Bearer {secret}"}

    def ask(self, method: str, path: str, **asked: Any) -> httpx.Response:
        with httpx.Client(headers=self._headers, timeout=GIVE_UP_SECONDS, trust_env=False) as http:
            return http.request(method, self._root + path, **asked)

    def running(self, **query: Any) -> Json:
        return self._listed("in-flight", query)

    def background(self, **query: Any) -> Json:
        return self._listed("background", query)

    def _listed(self, path: str, query: Json) -> Json:
        answer = self.ask("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def cancel(self, response_id: str) -> httpx.Response:
        return self.ask("POST", f"background/{response_id}/cancel")

    def stop(self, request_id: str) -> httpx.Response:
        return self.ask("POST", f"in-flight/{request_id}/stop")


def begin_in_background(gateway: LiveGateway, customer: Customer) -> str:
    with client_of(gateway, customer) as http:
        body = {"model": "good-responses", "input": LONG, "background": True}
        return str(http.post("/responses", json=body).json()["id"])


def of_operator(gateway: LiveGateway) -> Api:
    return Api(gateway, api_tokens.create(OPERATOR, "ops", ["*"])[1].reveal())


def of_member(gateway: LiveGateway, role: str, tenant: Tenant) -> Api:
    user = User.objects.create_user(f"{role}-of-{tenant.slug}")
    Membership.objects.create(user=user, tenant=tenant, role=role)
    made = api_tokens.create(access_of(user), role, ["*"], tenant=tenant, maker_id=user.pk)
    return Api(gateway, made[1].reveal())


@pytest.fixture
def api(gateway: LiveGateway, customer: Customer) -> Api:
    return of_operator(gateway)


@pytest.fixture
def streaming(gateway: LiveGateway, customer: Customer) -> Iterator[Wire]:
    """A client in the middle of its stream."""
    with wire.started(
        gateway.root_url, "responses", customer, "good-responses", LONG, True
    ) as client:
        client.wait_for(b"response.output_text.delta")
        yield client


def test_a_stream_is_told_with_what_it_is_and_what_it_has_cost_so_far(
    gateway: LiveGateway, customer: Customer, api: Api, streaming: Wire
) -> None:
    until(lambda: api.running()["data"][0]["tokens"] > 0)
    found = api.running()
    (row,) = found["data"]
    assert (found["total"], found["workers_asked"], found["workers_answered"]) == (1, 1, 1)
    assert row["request_id"].startswith("req_")
    assert (row["tenant"], row["key"]) == (customer.tenant.pk, customer.key.public_id)
    assert (row["route"], row["alias"]) == ("responses", "good-responses")
    assert row["target"].endswith("/good")
    assert (row["attempt"], row["phase"], row["channel"]) == (1, "streaming", "stream")
    assert row["held_nano"] is None  # no budget limits it
    worker = gateway.worker.live_answers.worker
    assert (row["host"], row["pid"]) == (worker.host, worker.pid)
    streaming.socket.close()
    until(lambda: api.running()["data"] == [])


def test_a_call_whose_provider_says_nothing_waits(
    gateway: LiveGateway, customer: Customer, api: Api
) -> None:
    with wire.started(gateway.root_url, "responses", customer, "silent-responses", "Hi", False):
        until(lambda: len(gateway.sandbox.calls) == 1)
        (row,) = api.running()["data"]
        assert (row["phase"], row["channel"], row["tokens"]) == ("waiting", "request", 0)


def test_a_stopped_stream_ends_at_the_provider_and_its_charge_is_the_ledgers(
    gateway: LiveGateway, customer: Customer, api: Api, streaming: Wire
) -> None:
    (row,) = api.running()["data"]
    told = api.stop(row["request_id"]).json()
    assert told["is_stopped"] is True
    until(lambda: gateway.sandbox.calls[0].ended == "client_closed")
    answer = streaming.answer()
    assert answer.events[-1]["type"] == "response.failed"
    assert answer.events[-1]["response"]["error"]["message"].startswith("This request was stopped")

    (booked,) = ledger.rows(gateway)
    assert (booked.status, booked.error_code) == ("cancelled", "request_stopped")
    assert told["tokens"] == booked.input_fresh + booked.output_visible > 0
    assert told["charge_nano"] == booked.charge_nano
    event = AuditEvent.objects.get(action="request.stopped")
    assert (event.tenant_id, event.object_id) == (customer.tenant.pk, row["request_id"])
    assert (event.actor_kind, event.object_name) == ("token", "good-responses")


def test_a_client_of_a_call_that_is_stopped_before_its_answer_is_told_not_to_try_again(
    gateway: LiveGateway, customer: Customer, api: Api
) -> None:
    with wire.started(
        gateway.root_url, "responses", customer, "silent-responses", "Hi", False
    ) as client:
        until(lambda: len(gateway.sandbox.calls) == 1)
        (row,) = api.running()["data"]
        assert api.stop(row["request_id"]).json()["charge_nano"] == 0
        answer = client.answer()
    assert answer.status == 503
    assert answer.headers["x-should-retry"] == "false"
    assert b'"request_stopped"' in answer.body


def test_a_response_in_the_background_is_cancelled_and_says_so(
    gateway: LiveGateway, customer: Customer, api: Api
) -> None:
    response_id = begin_in_background(gateway, customer)
    until(lambda: api.running()["total"] == 1)
    (row,) = api.running()["data"]
    assert row["channel"] == "background"
    assert api.stop(row["request_id"]).json()["is_stopped"] is True
    assert StoredResponse.objects.get(pk=response_id).status == "cancelled"
    until(lambda: gateway.sandbox.calls[0].ended == "client_closed")


def test_what_does_not_run_cannot_be_stopped(api: Api) -> None:
    answer = api.stop("req_" + "0" * 32)
    assert answer.status_code == 404
    assert not AuditEvent.objects.filter(action="request.stopped").exists()


@cases(("role", "sees", "stops"), [
    ("owner", True, 200), ("admin", True, 200), ("developer", True, 200),
    ("billing", True, 403), ("viewer", True, 403),
])  # fmt: skip
def test_people_of_a_tenant_see_its_calls_and_whoever_may_change_keys_stops_them(
    gateway: LiveGateway, customer: Customer, role: str, sees: bool, stops: int
) -> None:
    with wire.started(
        gateway.root_url, "responses", customer, "good-responses", LONG, True
    ) as client:
        client.wait_for(b"response.output_text.delta")
        api = of_member(gateway, role, customer.tenant)
        rows_seen = api.running()["data"]
        assert bool(rows_seen) is sees
        assert (rows_seen[0]["host"], rows_seen[0]["pid"]) == (
            None,
            None,
        )  # the platform's machines
        assert api.stop(rows_seen[0]["request_id"]).status_code == stops


def test_another_tenants_calls_are_neither_seen_nor_found(
    gateway: LiveGateway, customer: Customer, api: Api, streaming: Wire
) -> None:
    (row,) = api.running()["data"]
    other = rows.customer("bob").tenant
    stranger = of_member(gateway, "owner", other)
    nothing = {"data": [], "total": 0, "workers_asked": 1, "workers_answered": 1}
    assert stranger.running() == nothing
    for tenant in (customer.tenant.pk, 987654321):
        assert stranger.ask("GET", "in-flight", params={"tenant": tenant}).status_code == 404
    assert api.running(tenant=other.pk) == nothing
    told, unknown = (stranger.stop(each) for each in (row["request_id"], "req_" + "0" * 32))
    assert (told.status_code, told.json()) == (unknown.status_code, unknown.json())
    assert api.running()["total"] == 1


def test_what_is_in_the_background_is_listed_and_cancelled(
    gateway: LiveGateway, customer: Customer, api: Api
) -> None:
    response_id = begin_in_background(gateway, customer)
    until(lambda: api.background()["data"][0]["status"] == "in_progress")
    (row,) = api.background(tenant=customer.tenant.pk)["data"]
    assert (row["response_id"], row["alias"]) == (response_id, "good-responses")
    assert (row["key"], row["attempts"]) == (customer.key.public_id, 1)
    other = of_member(gateway, "owner", rows.customer("bob").tenant)
    assert other.background() == {"data": [], "has_more": False}
    told, unknown = (other.cancel(each) for each in (response_id, "resp_none"))
    assert (told.status_code, told.json()) == (unknown.status_code, unknown.json())
    viewer = of_member(gateway, "viewer", customer.tenant)
    assert viewer.background()["data"] != []
    assert viewer.cancel(response_id).status_code == 403
    assert of_member(gateway, "developer", customer.tenant).cancel(response_id).json() == {
        "response_id": response_id,
        "status": "cancelled",
    }
    assert api.background()["data"] == []
    assert api.cancel(response_id).status_code == 404
    event = AuditEvent.objects.get(action="response.cancelled")
    assert (event.object_id, event.tenant_id) == (response_id, customer.tenant.pk)


def test_tenants_that_are_shown_aliases_only_do_not_see_what_answers(
    gateway: LiveGateway, customer: Customer, streaming: Wire
) -> None:
    Tenant.objects.filter(pk=customer.tenant.pk).update(shows_upstreams=False)
    (row,) = of_member(gateway, "owner", customer.tenant).running()["data"]
    assert (row["target"], row["alias"]) == ("", "good-responses")


def test_only_the_oldest_calls_are_described_and_all_are_counted(
    gateway: LiveGateway, customer: Customer, streaming: Wire
) -> None:
    with wire.started(gateway.root_url, "responses", customer, "silent-responses", "Hi", False):
        registry = gateway.worker.services.registry
        until(lambda: len(registry) == 2)
        calls, count = gateway.call(lambda: registry.describe(None, 1))
        assert ([call.alias for call in calls], count) == (["good-responses"], 2)


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"kind": "shutdown"}', b"\xff", b"null"])
def test_what_is_no_question_and_no_answer_is_ignored(junk: bytes) -> None:
    assert read_question(junk) is None
    assert read_answer(junk) is None
