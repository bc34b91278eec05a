"""A request that is refused before any call is found by its id, with the sentence its client got."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest
from django.conf import settings
from django.db import transaction

from gateway_project.lib import clock
from responses_api.models import Run, StoredResponse
from routing.models import Provider
from tenants.keys import keys
from tenants.ledger.ingest import ingest_all
from tenants.ledger.records import Refused
from tenants.models import Budget, PriceLine, PriceVersion, RateLimit, RefusedRequest, UsageRow
from tests.responses_api.background.conftest import ended, queued
from tests.support import ledger, rows
from tests.support.client import client_of
from tests.support.live import LiveGateway
from tests.support.rows import Customer
from tests.support.sockets import opened

CHAT = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(autouse=True)
def from_here(gateway: LiveGateway) -> None:
    ledger.begin_here(gateway)


def booked(gateway: LiveGateway) -> list[RefusedRequest]:
    gateway.idle()
    ingest_all(settings.SPOOL_DIR)
    return list(RefusedRequest.objects.order_by("pk"))


def only(gateway: LiveGateway) -> RefusedRequest:
    (row,) = booked(gateway)
    return row


def same(row: RefusedRequest, answer: httpx.Response) -> bool:
    """Tell whether the row says what this answer said, under the id that it gave."""
    error = answer.json()["error"]
    told = (answer.headers["x-request-id"], answer.status_code, error["code"], error["message"])
    return told == (f"req_{row.pk.hex}", row.http_status, row.code, row.message)


def configure(gateway: LiveGateway) -> None:
    gateway.call(gateway.worker.forget)


def post(gateway: LiveGateway, who: Customer | None, body: Any = CHAT, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    with client_of(gateway, who, **headers) as http:
        return http.post("/chat/completions", content=content)


@pytest.mark.persistence
def test_each_way_to_be_refused_has_its_row(gateway: LiveGateway, acme: Customer) -> None:
    """400, 403, 404, 413, 429 of a limit and of a budget, and what has no price."""
    limited, poor, narrow, unscoped = (keys.create(acme.tenant, name) for name in "abcd")

    def holder(made: Any) -> Customer:
        return Customer(acme.tenant, made[0], made[1].reveal())

    with transaction.atomic():
        RateLimit.objects.create(
            tenant=acme.tenant, api_key=limited[0], metric="requests", window="day", amount=1
        )
        Budget.objects.create(
            tenant=acme.tenant, api_key=poor[0], name="tiny", amount_nano=1, period="total"
        )
        narrow[0].all_aliases = False
        narrow[0].save()
        unscoped[0].scopes = ["read"]
        unscoped[0].save()
        version = PriceVersion.objects.create(
            book="cost", provider="sandbox-chat", model="sandbox-1", effective_from=clock.now()
        )
        for name in ("input_fresh", "output_visible"):
            PriceLine.objects.create(version=version, token_class=name, pico_per_token=10**6)
        PriceVersion.objects.update(published_at=clock.now())
        rows.alias("unpriced", (Provider.objects.get(name="sandbox-chat"), "new"))
    configure(gateway)
    gateway.change(max_body_bytes=1_000)
    assert post(gateway, holder(limited)).status_code == 200
    asked = [
        (acme, b"{", 400, "invalid_json"),
        (holder(unscoped), CHAT, 403, "insufficient_scope"),
        (holder(narrow), CHAT, 404, "model_not_found"),
        (acme, {**CHAT, "model": "no-such"}, 404, "model_not_found"),
        (acme, b" " * 1_001, 413, "request_too_large"),
        (holder(limited), CHAT, 429, "rate_limit_exceeded"),
        (holder(poor), CHAT, 429, "insufficient_quota"),
        (holder(poor), {**CHAT, "model": "unpriced"}, 400, "model_not_priced"),
    ]
    for who, body, status, code in asked:
        answer = post(gateway, who, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        row = booked(gateway)[-1]
        assert same(row, answer), code
        assert (row.tenant_id, row.key_public_id) == (acme.tenant.pk, who.key.public_id)
        assert (row.key_id, row.is_claimed, row.route) == (who.key.pk, status == 403, "chat")
    models = [row.model for row in booked(gateway)]
    assert models[2:4] == ["sandbox-chat", "no-such"]
    assert models[-2:] == ["sandbox-chat", "unpriced"]
    assert UsageRow.objects.count() == 1


def test_a_wrong_secret_names_the_key_and_nothing_that_was_sent(
    gateway: LiveGateway, acme: Customer
) -> None:
    wrong = acme.secret[:-8] + ("a" * 8 if not acme.secret.endswith("a" * 8) else "b" * 8)
    answer = post(gateway, Customer(acme.tenant, acme.key, wrong))
    row = only(gateway)
    assert same(row, answer)
    assert (row.http_status, row.is_claimed) == (401, True)
    assert (row.tenant_id, row.key_id) == (acme.tenant.pk, acme.key.pk)
    written = [record for record in ledger.records(gateway) if isinstance(record, Refused)][-1]
    assert wrong[-30:] not in repr(written)


def test_a_revoked_key_is_found_and_a_stranger_is_nobodys(
    gateway: LiveGateway, acme: Customer
) -> None:
    keys.revoke(acme.key)
    configure(gateway)
    revoked, stranger = post(gateway, acme), post(gateway, None)
    of_key, of_nobody = booked(gateway)
    assert same(of_key, revoked)
    assert same(of_nobody, stranger)
    assert (of_key.tenant_id, of_key.is_claimed) == (acme.tenant.pk, True)
    assert (of_nobody.tenant_id, of_nobody.key_public_id) == (None, "")


def test_what_looks_like_a_secret_is_scrubbed(gateway: LiveGateway, acme: Customer) -> None:
    post(gateway, acme, {**CHAT, "model": f"x\0{acme.secret}é"})
    row = only(gateway)
    assert acme.secret not in row.message + row.model
    assert row.model.startswith("x")


@pytest.mark.persistence
def test_turns_and_handshakes_of_sockets_are_rows_too(gateway: LiveGateway, acme: Customer) -> None:
    with opened(gateway, acme.headers) as socket:
        socket.create("no-such")
        frame = socket.error()
    with pytest.raises(Exception, match="401"), opened(gateway, {}):
        pass
    turn, handshake = booked(gateway)
    assert (turn.code, turn.websocket, turn.model) == ("model_not_found", True, "no-such")
    assert turn.message == frame["error"]["message"]
    assert (handshake.code, handshake.websocket) == ("invalid_api_key", True)


@pytest.mark.persistence
def test_a_background_response_that_may_not_run_any_more_has_a_row(
    gateway: LiveGateway, acme: Customer
) -> None:
    request_id = "req_0199c2d4f5a07abc8def0123456a0000"
    fields = {"model": "sandbox-chat", "input": "Hi", "background": True, "store": True}
    packet = {
        "request_id": request_id,
        "body": {**fields, "stream": True},
        "size": 1,
        "headers": {},
    }
    order = queued(acme.tenant.pk, model="sandbox-chat")
    StoredResponse.objects.update(key_public_id=acme.key.public_id)
    Run.objects.update(request=orjson.dumps(packet), lease_until="2020-01-01T00:00Z")
    keys.revoke(acme.key)
    gateway.run(gateway.worker.runs.look())
    ended(order.response_id)
    row = only(gateway)
    assert (f"req_{row.pk.hex}", row.background, row.route) == (request_id, True, "responses")
    assert "no longer valid" in row.message
    assert (row.tenant_id, row.key_id) == (acme.tenant.pk, acme.key.pk)


@pytest.mark.persistence
def test_an_answered_call_writes_nothing_more_than_before(
    gateway: LiveGateway, acme: Customer
) -> None:
    before = len(ledger.records(gateway))
    assert post(gateway, acme).status_code == 200
    gateway.idle()
    written = ledger.records(gateway)[before:]
    assert [type(record).__name__ for record in written] == ["Opened", "Settled"]


def test_a_call_that_was_made_and_failed_is_no_refusal(
    gateway: LiveGateway, acme: Customer
) -> None:
    rows.alias("broken", (Provider.objects.get(name="sandbox-chat"), "sandbox-fault-500"))
    configure(gateway)
    post(gateway, acme, {**CHAT, "model": "broken"})
    assert booked(gateway) == []
    assert UsageRow.objects.get().leg == 0
