"""Policies tell what they did alike at each door: whole, streamed, in an error, and from the cache."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway_project.sandbox.faults import PREFIX
from gateway_project.sandbox.reply import Scripted
from tenants.models import Tenant
from tests.api.callers import of_operator
from tests.plugins.cases import cases, each_pair
from tests.support import guardrails, ledger, rows
from tests.support.client import PATHS, client_of, question
from tests.support.live import LiveGateway
from tests.support.patience import until
from tests.support.rows import Customer
from tests.support.sockets import opened

ATTEMPTS, TARGET, ROUTING = "x-tollgate-attempts", "x-tollgate-target", "x-tollgate-routing"
GUARDRAILS, CACHE, AGE = "x-tollgate-guardrails", "x-tollgate-cache", "age"
ALL = {ATTEMPTS, TARGET, ROUTING, GUARDRAILS, CACHE, AGE}
DEBUG = {"x-tollgate-debug": "routing"}
FORMS = ("json", "sse", "error")


@pytest.fixture
def customer(gateway: LiveGateway) -> Customer:
    guardrails.guardrail("words", action="mask")
    return rows.customer("acme")


def lanes(gateway: LiveGateway) -> None:
    """Make `good` and `bad`, aliases that keep answers: the first lane fails, and the second answers or
    refuses."""
    refusal = b'{"error": {"message": "no", "type": "invalid_request_error", "code": "odd"}}'
    reply = Scripted(status=400, content_type="application/json", chunks=(refusal,))
    gateway.call(lambda: gateway.sandbox.script("refuses", reply))
    first = rows.provider("chat", gateway.sandbox.base_url, "a")
    second = rows.provider("chat", gateway.sandbox.base_url, "b")
    for name, model in (("good", "answers"), ("bad", "refuses")):
        rows.alias(name, (first, f"{PREFIX}500"), (second, model), cache_seconds=600)


def policy_headers(headers: Any) -> dict[str, str]:
    found = {name: headers[name] for name in ALL if name in headers}
    if AGE in found:
        assert int(found.pop(AGE)) >= 0
        found[AGE] = "some"
    return found


def expected(form: str, *, is_hit: bool, shows: bool, asks: bool = True) -> dict[str, str]:
    """Return what docs/routing.md, docs/guardrails.md and docs/cache.md say."""
    told = {GUARDRAILS: "words=masked"}
    if is_hit:
        return {**told, CACHE: "hit", AGE: "some"}
    told[ATTEMPTS] = "2"
    if form != "error":
        told[CACHE] = "miss"
    if shows:
        model, how = ("refuses", "upstream_rejected") if form == "error" else ("answers", "ok")
        told[TARGET] = f"b/{model}"
        if asks:
            told[ROUTING] = f"a/{PREFIX}500=upstream_error, b/{model}={how}"
    return told


def show_upstreams(customer: Customer, *, shows: bool) -> None:
    Tenant.objects.filter(pk=customer.tenant.pk).update(shows_upstreams=shows)


@each_pair
@cases("shows", [True, False], ids=["shown", "hidden"])
@cases("door", list(PATHS))
@cases("form", FORMS)
def test_an_answer_tells_what_policies_did(
    gateway: LiveGateway, customer: Customer, door: str, form: str, shows: bool
) -> None:
    lanes(gateway)
    show_upstreams(customer, shows=shows)
    gateway.catch_up()
    said = f"forbidden {door} {form}"
    body = question(door, "bad" if form == "error" else "good", said, form == "sse", temperature=0)

    def ask(**headers: str) -> httpx.Response:
        with client_of(gateway, customer) as http:
            return http.post(PATHS[door], json=body, headers=headers)

    first = ask(**DEBUG)
    gateway.call(gateway.worker.services.lane_health.clear)
    again = ask()

    is_error = form == "error"
    assert (first.status_code, again.status_code) == ((400, 400) if is_error else (200, 200))
    assert policy_headers(first.headers) == expected(form, is_hit=False, shows=shows)
    # An error is never kept, so that it is asked anew; this time nobody asks for the routing.
    assert policy_headers(again.headers) == expected(
        form, is_hit=not is_error, shows=shows, asks=False
    )


@cases("shows", [True, False], ids=["shown", "hidden"])
def test_an_error_over_a_websocket_tells_it_in_its_frame(
    gateway: LiveGateway, customer: Customer, shows: bool
) -> None:
    lanes(gateway)
    show_upstreams(customer, shows=shows)
    gateway.catch_up()
    with opened(gateway, {**customer.headers, **DEBUG}) as ws:
        ws.create("bad", input="forbidden")
        frame = ws.error()
        assert not ALL & set(ws.handshake)
    assert policy_headers(frame["error"]["headers"]) == expected("error", is_hit=False, shows=shows)


def test_turns_of_a_websocket_and_background_responses_tell_it_in_the_log(
    gateway: LiveGateway, customer: Customer
) -> None:
    ledger.begin_here(gateway)
    lanes(gateway)
    show_upstreams(customer, shows=True)
    gateway.catch_up()
    with opened(gateway, customer.headers) as ws:
        assert ws.turn("good", input="forbidden", store=False)["status"] == "completed"
    gateway.call(gateway.worker.services.lane_health.clear)
    with client_of(gateway, customer) as http:
        asked = {"model": "good", "input": "forbidden", "background": True, "temperature": 0}
        made = http.post("/responses", json=asked)
        address = f"/responses/{made.json()['id']}"
        until(lambda: http.get(address).json()["status"] == "completed")
        told = policy_headers(http.get(address).headers)

    assert not told
    # It was not sent yet.
    assert policy_headers(made.headers) == {GUARDRAILS: "words=masked"}
    assert {row.guardrail_outcome for row in ledger.rows(gateway) if not row.absorbed} == {"masked"}
    operator = of_operator()
    logged = operator.get("requests").json()["data"]
    assert [(each["websocket"], each["background"]) for each in reversed(logged)] == [
        (True, False), (False, True),
    ]  # fmt: skip
    for each in logged:
        whole = operator.get(f"requests/{each['id']}").json()
        assert (each["attempts"], each["guardrail"], each["cache_outcome"]) == (2, "masked", "")
        lanes_told = [(one["provider"], one["upstream_model"]) for one in whole["attempts"]]
        assert sorted(lanes_told) == [("a", f"{PREFIX}500"), ("b", "answers")]
